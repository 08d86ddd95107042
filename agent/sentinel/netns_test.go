package sentinel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// space is a network namespace of its own, held by a helper, with lo up and a bridge without ports: what is sent into that
// is never answered.
func space(t *testing.T) *helper {
	t.Helper()
	rig.Require(t, "root")
	h := start(t, "sit", unix.CLONE_NEWNET)
	must(t, InNetns(h.pid(), func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		lo, err := nl.LinkByName("lo")
		if err != nil {
			return err
		}
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "void"}}
		return errors.Join(nl.LinkSetUp(lo), nl.LinkAdd(br), nl.LinkSetUp(br), addAddr(nl, br, "192.0.2.1/24"), addAddr(nl, br, "fe80::2/64"))
	}))
	return h
}

func addAddr(nl *netlink.Handle, l netlink.Link, cidr string) error {
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	a.Flags = unix.IFA_F_NODAD
	return nl.AddrAdd(l, a)
}

// serve echoes one line per connection or packet on an address of the namespace, and gives where.
func serve(t *testing.T, pid int, network, addr string) string {
	t.Helper()
	var where string
	must(t, InNetns(pid, func() error {
		if strings.HasPrefix(network, "udp") {
			pc, err := net.ListenPacket(network, addr)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = pc.Close() })
			where = pc.LocalAddr().String()
			go func() {
				buf := make([]byte, 100)
				for n, from, err := pc.ReadFrom(buf); err == nil; n, from, err = pc.ReadFrom(buf) {
					_, _ = pc.WriteTo(buf[:n], from)
				}
			}()
			return nil
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		where = l.Addr().String()
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		return nil
	}))
	return where
}

func within5s(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestDialerReachesTheInside(t *testing.T) {
	h := space(t)
	dial := Dialer(h.process())
	for _, c := range []struct{ network, addr string }{
		{"tcp", "127.0.0.1:0"}, {"tcp4", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp6", "[::1]:0"}, {"udp", "127.0.0.1:0"},
		{"udp6", "[::1]:0"}, {"tcp", "192.0.2.1:0"},
	} {
		t.Run(c.network+" "+c.addr, func(t *testing.T) {
			where := serve(t, h.pid(), c.network, c.addr)
			conn, err := dial(within5s(t), c.network, where)
			must(t, err)
			defer func() { _ = conn.Close() }()
			if got := socketNetns(t, conn); got != inode(t, fmt.Sprintf("/proc/%d/ns/net", h.pid())) {
				t.Errorf("the socket is in namespace %d", got)
			}
			if conn.RemoteAddr().String() != where {
				t.Errorf("connected to %v, want %v", conn.RemoteAddr(), where)
			}
			must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			_, err = conn.Write([]byte("hello"))
			must(t, err)
			buf := make([]byte, 5)
			_, err = io.ReadFull(conn, buf)
			must(t, err)
			if string(buf) != "hello" {
				t.Errorf("echo of %q", buf)
			}
		})
	}
	t.Run("not from outside", func(t *testing.T) {
		if c, err := net.DialTimeout("tcp", serve(t, h.pid(), "tcp", "127.0.0.1:0"), time.Second); err == nil {
			_ = c.Close()
			t.Error("the server inside is reached from outside: the test does not test what it says")
		}
	})
}

// socketNetns asks the kernel in which network namespace a socket is.
func socketNetns(t *testing.T, conn net.Conn) uint64 {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	must(t, err)
	var st unix.Stat_t
	must(t, raw.Control(func(fd uintptr) {
		ns, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SIOCGSKNS, 0)
		if errno != 0 {
			err = errno
			return
		}
		defer func() { _ = unix.Close(int(ns)) }()
		err = unix.Fstat(int(ns), &st)
	}))
	must(t, err)
	return st.Ino
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Ino
}

func TestDialerErrors(t *testing.T) {
	h := space(t)
	dial := Dialer(h.process())
	t.Run("refused", func(t *testing.T) {
		_, err := dial(within5s(t), "tcp", "127.0.0.1:1")
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("got %v", err)
		}
		wantText(t, err, "dial tcp 127.0.0.1:1: connect: connection refused")
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := dial(ctx, "tcp", "192.0.2.9:80") // nobody answers ARP there for three seconds
		var timeout net.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := dial(ctx, "tcp", "192.0.2.9:80"); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if _, err := dial(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
			t.Fatalf("before it began: got %v", err)
		}
	})
	t.Run("not a literal address", func(t *testing.T) {
		_, err := dial(within5s(t), "tcp", "localhost:80")
		wantText(t, err, "only literal addresses")
		_, err = dial(within5s(t), "tcp6", "127.0.0.1:80")
		wantText(t, err, "no suitable address for tcp6")
		_, err = dial(within5s(t), "unix", "/run/x")
		wantText(t, err, "unknown network unix")
		_, err = dial(within5s(t), "tcp", "[fe80::1%nosuch]:80")
		wantText(t, err, "no such device")
	})
	t.Run("link-local", func(t *testing.T) {
		_, err := dial(within5s(t), "udp", "[fe80::1%void]:80")
		must(t, err)
	})
	t.Run("dead", func(t *testing.T) {
		p := h.process()
		p.Start--
		_, err := Dialer(p)(within5s(t), "tcp", "127.0.0.1:1")
		wantDead(t, err)
		p = h.process()
		h.kill()
		_, err = Dialer(p)(within5s(t), "tcp", "127.0.0.1:1")
		wantDead(t, err)
	})
}

// TestThreadsStayHome dials inside while others look where they are.
func TestThreadsStayHome(t *testing.T) {
	h := space(t)
	dial := Dialer(h.process())
	where := serve(t, h.pid(), "tcp", "127.0.0.1:0")
	home := inode(t, "/proc/self/ns/net")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				conn, err := dial(within5s(t), "tcp", where)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
				if err := InNetns(h.pid(), notTheFirstThread); err != nil {
					t.Error(err)
				}
				var st unix.Stat_t
				if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil || st.Ino != home {
					t.Errorf("a goroutine found itself in namespace %d: %v", st.Ino, err)
				}
			}
		})
	}
	all.Wait()
}

// notTheFirstThread: /proc/self speaks of it, and should it be unable to return, it could not be thrown away.
func notTheFirstThread() error {
	if unix.Gettid() == unix.Getpid() {
		return errors.New("the first thread of the process was taken into the namespace")
	}
	return nil
}

// TestAThreadThatCannotReturnIsThrownAway has f give up the right to go back, on its thread alone.
func TestAThreadThatCannotReturnIsThrownAway(t *testing.T) {
	h := space(t)
	var tid int
	err := InNetns(h.pid(), func() error {
		tid = unix.Gettid()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		return unix.Capset(&header, &none[0])
	})
	wantText(t, err, "leave the network namespace of the container")
	eventually(t, "the thread is gone", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
		return errors.Is(err, os.ErrNotExist)
	})
	home := inode(t, "/proc/self/ns/net")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var st unix.Stat_t
			if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil || st.Ino != home {
				t.Errorf("a thread is in namespace %d: %v", st.Ino, err)
			}
		})
	}
	all.Wait()
}

func TestInNetnsGivesTheErrorOfItsFunction(t *testing.T) {
	h := space(t)
	want := errors.New("x")
	if err := InNetns(h.pid(), func() error { return want }); !errors.Is(err, want) {
		t.Fatalf("got %v", err)
	}
	h.kill()
	wantDead(t, InNetns(h.pid(), func() error { t.Error("called"); return nil }))
}

func TestAddressesAreGlobalOnes(t *testing.T) {
	h := space(t)
	must(t, inside(h.process(), func(nl *netlink.Handle) error {
		void, err := nl.LinkByName("void")
		if err != nil {
			return err
		}
		return errors.Join(addAddr(nl, void, "2001:db8::1/64"), addAddr(nl, void, "169.254.7.7/16"))
	}))
	got, err := Addresses(h.process())
	must(t, err)
	var text []string
	for _, a := range got {
		text = append(text, a.Prefix.String()+" "+a.Iface)
		if len(a.MAC) != len("00:00:00:00:00:00") {
			t.Errorf("MAC %q", a.MAC)
		}
	}
	if want := "192.0.2.1/24 void, 2001:db8::1/64 void"; strings.Join(text, ", ") != want {
		t.Fatalf("got %q, want %q", text, want)
	}
	h2 := start(t, "sit", 0) // shares ours
	if dropped, err := DropStaleNeighbours(h2.process()); err != nil || dropped != nil {
		t.Errorf("a container in our own namespace: %v, %v", dropped, err)
	}
	must(t, Announce(h2.process()))
	p := h.process()
	h.kill()
	for _, err := range []error{second(Addresses(p)), second(DropStaleNeighbours(p)), Announce(p)} {
		wantDead(t, err)
	}
}

func second[T any](_ T, err error) error { return err }

// host is the namespace that plays the neighbour in tests of announcements.
func neighbour(t *testing.T, pid int, ip netip.Addr) (mac string) {
	t.Helper()
	must(t, inside(health.Process{PID: pid}, func(nl *netlink.Handle) error {
		entries, err := nl.NeighList(0, netlink.FAMILY_ALL)
		for _, e := range entries {
			if a, _ := netip.AddrFromSlice(e.IP); a.Unmap() == ip {
				mac = e.HardwareAddr.String()
			}
		}
		return err
	}))
	return mac
}

// TestAnnounce lets a neighbour, in a namespace of its own at the other end of a veth, hold stale entries.
func TestAnnounce(t *testing.T) {
	here, there := space(t), space(t)
	const stale, mac = "02:00:00:00:00:99", "02:00:00:00:00:01"
	must(t, inside(there.process(), func(nl *netlink.Handle) error {
		addr, err := net.ParseMAC(mac)
		must(t, err)
		v := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0", HardwareAddr: addr},
			PeerName:  "peer", PeerNamespace: netlink.NsPid(here.pid()),
		}
		return errors.Join(nl.LinkAdd(v), nl.LinkSetUp(v), addAddr(nl, v, "198.51.100.2/24"), addAddr(nl, v, "2001:db8:5::2/64"))
	}))
	v4, v6 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8:5::2")
	must(t, inside(here.process(), func(nl *netlink.Handle) error {
		peer, err := nl.LinkByName("peer")
		must(t, err)
		old, err := net.ParseMAC(stale)
		must(t, err)
		err = errors.Join(nl.LinkSetUp(peer), addAddr(nl, peer, "198.51.100.1/24"), addAddr(nl, peer, "2001:db8:5::1/64"))
		for _, ip := range []netip.Addr{v4, v6} {
			err = errors.Join(err, nl.NeighSet(&netlink.Neigh{
				LinkIndex: peer.Attrs().Index, State: netlink.NUD_REACHABLE, IP: ip.AsSlice(), HardwareAddr: old,
			}))
		}
		return err
	}))
	for _, ip := range []netip.Addr{v4, v6} {
		if got := neighbour(t, here.pid(), ip); got != stale {
			t.Fatalf("before: %v is at %q", ip, got)
		}
	}
	for _, ip := range []netip.Addr{v4, v6} {
		eventually(t, "the neighbour knows the MAC of "+ip.String(), func() bool {
			must(t, Announce(there.process()))
			return neighbour(t, here.pid(), ip) == mac
		})
	}
}

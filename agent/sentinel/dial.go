package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Dialer dials from inside the network namespace of p, which must still live at each dial. It takes the networks tcp and
// udp (with 4 or 6) and literal addresses only: a name would be resolved by whom, and where?
//
// A socket belongs for ever to the namespace it was made in. So only socket(2) runs on a thread that is in there; the
// connection is then made like any other, without holding a thread, and ends early with ctx. net.Dialer is of no use: where
// it creates its sockets is its own affair.
func Dialer(p health.Process) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialWithin(ctx, p, network, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: text{network, addr}, Err: err}
		}
		return conn, nil
	}
}

func dialWithin(ctx context.Context, p health.Process, network, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	to, kind, err := target(network, addr)
	if err != nil {
		return nil, err
	}
	fd, err := socketWithin(p, to.Addr(), kind)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), network+" "+addr) // non-blocking: known to the runtime's poller
	defer func() { _ = f.Close() }()
	if err := connect(ctx, f, to); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(f) // a duplicate
	if err != nil {
		return nil, fmt.Errorf("take over a connected socket: %w", err)
	}
	return conn, nil
}

// target takes a network and an address apart.
func target(network, addr string) (netip.AddrPort, int, error) {
	kind, ok := map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM}[strings.TrimRight(network, "46")]
	if !ok {
		return netip.AddrPort{}, 0, net.UnknownNetworkError(network)
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return to, 0, fmt.Errorf("inside a container only literal addresses are dialled, like 10.0.0.1:80 or [::1]:80: %w", err)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if strings.HasSuffix(network, "4") && !to.Addr().Is4() || strings.HasSuffix(network, "6") && to.Addr().Is4() {
		return to, 0, &net.AddrError{Err: "no suitable address for " + network, Addr: addr}
	}
	return to, kind, nil
}

// socketWithin makes a socket in the network namespace of p.
func socketWithin(p health.Process, to netip.Addr, kind int) (fd int, err error) {
	ns, err := openNetns(p)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(ns) }()
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	err = within(ns, func() (err error) {
		fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket", err)
	})
	return fd, err
}

// connect connects f, and gives up at the deadline of ctx or at its end.
func connect(ctx context.Context, f *os.File, to netip.AddrPort) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) }) // wakes the wait below
	defer stop()
	started := false
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		if !started {
			started = true
			failed = begin(int(fd), to)
		} else {
			failed = outcome(int(fd))
		}
		return !errors.Is(failed, unix.EINPROGRESS)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", failed)
}

// begin starts to connect; EINPROGRESS means that it goes on by itself.
func begin(fd int, to netip.AddrPort) error {
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if to.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		zone, err := zoneOf(fd, to.Addr().Zone())
		if err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: zone}
	}
	if err := unix.Connect(fd, sa); err != unix.EINTR {
		return err
	}
	return unix.EINPROGRESS // interrupted, it goes on all the same
}

// zoneOf gives the index of an interface of the socket's own namespace, which is asked through the socket.
func zoneOf(fd int, name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return req.Uint32(), nil
}

// outcome tells what became of a connect that was in progress.
func outcome(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return unix.Errno(code)
	}
	if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
		return unix.EINPROGRESS // woken for nothing
	}
	return nil
}

// text is an address as the caller wrote it.
type text struct{ network, addr string }

func (t text) Network() string { return t.network }
func (t text) String() string  { return t.addr }

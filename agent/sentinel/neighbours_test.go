package sentinel

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// TestStaleNeighbours restarts a real container that gets another MAC at every start: it serves, and the host does not
// reach it, until its stale neighbour entry is dropped (trap 22 of the rigs).
func TestStaleNeighbours(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 2, RandomMAC: true})
	// A bridge forgets its neighbours when it loses its last port, or its own MAC, which is the lowest of its ports' unless
	// it was given one. Bridges of real hosts keep both: a physical port is in them.
	l.Start(l.Name(1))
	br, err := netlink.LinkByName(l.Bridge())
	must(t, err)
	must(t, netlink.LinkSetHardwareAddr(br, net.HardwareAddr{2, 0, 0, 0, 0, 1}))
	name := l.Name(0)
	ip := l.Addr(name)
	l.Start(name)
	l.WaitHTTP(name, 20*time.Second)
	before := entry(t, ip)
	if before == nil || before.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) == 0 {
		t.Fatalf("the host has no valid entry of %v: %+v", ip, before)
	}

	l.Kill9(name)
	l.WaitState(name, "STOPPED", 20*time.Second)
	l.Start(name)
	p := health.Process{PID: l.InitPID(name)}
	inside := Dialer(p)
	eventually(t, "it serves inside", func() bool {
		conn, err := inside(within5s(t), "tcp", netip.AddrPortFrom(ip, 80).String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if err := get(l.URL(name)); err == nil {
		t.Fatal("the host reaches it with a stale entry: the test does not test what it says")
	}

	dropped, err := DropStaleNeighbours(p)
	must(t, err)
	if !slices.Equal(dropped, []netip.Addr{ip}) {
		t.Fatalf("dropped %v, want %v", dropped, ip)
	}
	must(t, get(l.URL(name)))
	if after := entry(t, ip); after == nil || after.HardwareAddr.String() == before.HardwareAddr.String() {
		t.Fatalf("the entry of %v is %+v", ip, after)
	}
	if dropped, err := DropStaleNeighbours(p); err != nil || len(dropped) != 0 {
		t.Fatalf("a true entry was dropped: %v, %v", dropped, err)
	}

	t.Run("a permanent entry stays", func(t *testing.T) {
		e := entry(t, ip)
		e.State, e.HardwareAddr = netlink.NUD_PERMANENT, net.HardwareAddr{2, 0, 0, 0, 0, 9}
		must(t, netlink.NeighSet(e))
		if dropped, err := DropStaleNeighbours(p); err != nil || len(dropped) != 0 {
			t.Fatalf("dropped %v, %v", dropped, err)
		}
	})
}

func get(url string) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// entry gives the host's neighbour entry of an address.
func entry(t *testing.T, ip netip.Addr) *netlink.Neigh {
	t.Helper()
	all, err := netlink.NeighList(0, netlink.FAMILY_V4)
	must(t, err)
	for _, e := range all {
		if a, _ := netip.AddrFromSlice(e.IP); a.Unmap() == ip {
			return &e
		}
	}
	return nil
}

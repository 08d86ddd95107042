package host

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// inNetns runs f in a network namespace of its own, which ends with its thread.
func inNetns(t *testing.T, f func()) {
	t.Helper()
	rig.Require(t, "root")
	done := make(chan error)
	go func() { // never unlocked: the thread is not used again
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A host whose gateway answers, then does not, whose uplink loses its carrier, goes down and away: what lies behind it says
// nothing any more, and what is on a link of the host is judged as ever.
func TestCutOff(t *testing.T) {
	t.Parallel()
	inNetns(t, func() {
		must := func(err error) {
			if err != nil {
				t.Errorf("set up: %v", err)
				runtime.Goexit()
			}
		}
		up := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "isp0"}
		must(netlink.LinkAdd(up))
		isp, err := netlink.LinkByName("isp0")
		must(err)
		addr, err := netlink.ParseAddr("198.51.100.2/24")
		must(err)
		must(netlink.AddrAdd(up, addr))
		must(netlink.LinkSetUp(up))
		must(netlink.LinkSetUp(isp))
		gateway := net.IPv4(198, 51, 100, 1)
		must(netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Gw: gateway}))
		neighbour := func(state int) {
			must(netlink.NeighSet(&netlink.Neigh{LinkIndex: up.Index, Family: unix.AF_INET, IP: gateway, State: state,
				HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}))
		}
		w := New(Options{})
		world, local := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("198.51.100.77")
		gauged := func() string {
			w.gauge.take(context.Background(), time.Now())
			return strings.Join(w.Strain().Faults, "; ")
		}
		check := func(what, want, fault string) {
			if got := w.CutOff(context.Background(), world); !strings.Contains(got, want) || (want == "") != (got == "") {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
			if got := w.CutOff(context.Background(), local); got != "" && fault == "" {
				t.Errorf("%s: what is on a link of this host: %q", what, got)
			}
			if got := gauged(); !strings.Contains(got, fault) || fault == "" && strings.Contains(got, "cut off") {
				t.Errorf("%s: faults %q, want %q", what, got, fault)
			}
		}
		neighbour(netlink.NUD_REACHABLE)
		check("well", "", "")
		neighbour(netlink.NUD_FAILED)
		check("the gateway is silent", "its gateway 198.51.100.1 does not answer", "")
		neighbour(netlink.NUD_REACHABLE)
		must(netlink.LinkSetDown(isp))
		check("no carrier", "this host itself is cut off: the uplink up0 has no carrier", "the uplink up0 has no carrier")
		must(netlink.LinkSetDown(up))
		check("down", "this host itself has no route there", "its default route is gone")
	})
}

// Canaries are asked only after a failure behind a gateway; one that answers, or refuses, is enough, and an answer holds for
// some seconds.
func TestCanaries(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if (&canaries{}).silent(context.Background()) {
		t.Error("none were named")
	}
	if (&canaries{all: []string{"127.0.0.1:1", "192.0.2.1:9"}}).silent(context.Background()) {
		t.Error("one that refuses is there")
	}
	c := &canaries{all: []string{l.Addr().String()}}
	if c.silent(context.Background()) {
		t.Error("it answers")
	}
	_ = l.Close()
	if c.silent(context.Background()) {
		t.Error("the answer holds for some seconds")
	}
	dark := &canaries{all: []string{"nosuch.invalid:9"}}
	if !dark.silent(context.Background()) {
		t.Error("nobody is there")
	}
}

package sentinel

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// A table of neighbours that changes all the time can be read. In a network namespace of its own, on a thread that ends
// with the test.
func TestReadingWhatChanges(t *testing.T) {
	rig.Require(t, "root")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.LockOSThread()
	must(unix.Unshare(unix.CLONE_NEWNET))
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(err)
	defer h.Close()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(h.LinkAdd(br))
	must(h.LinkSetUp(br))
	entry := func(n int) *netlink.Neigh {
		return &netlink.Neigh{LinkIndex: br.Index, Family: netlink.FAMILY_V4, State: netlink.NUD_REACHABLE, IP: net.IPv4(10, 0, byte(n>>8), byte(n)), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	}
	must(h.AddrAdd(br, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 8, 0, 1), Mask: net.CIDRMask(24, 32)}})) // with the last one neighbours go
	for n := range 400 {
		must(h.NeighAdd(entry(n)))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = h.NeighAdd(entry(1000))
				_ = h.NeighDel(entry(1000))
				a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 0, 1), Mask: net.CIDRMask(24, 32)}}
				_ = h.AddrAdd(br, a)
				_ = h.AddrDel(br, a)
				d := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "comes"}}
				_ = h.LinkAdd(d)
				_ = h.LinkDel(d)
			}
		}
	}()
	for range 50 {
		links, err := whole(netlink.LinkList)
		neighbours, err2 := whole(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, netlink.FAMILY_V4) })
		_, err3 := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
		if err != nil || err2 != nil || err3 != nil || len(links) < 2 || len(neighbours) < 400 {
			t.Error(fmt.Sprint(err, err2, err3, len(links), len(neighbours)))
			break
		}
	}
	close(stop)
	<-done
}

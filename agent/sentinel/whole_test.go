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

// Tables that change while they are read can be read, where interfaces come and go all the time. In a network namespace
// of its own, on a thread that ends with the test.
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
	for n := range 60 { // more than one message holds, so that there is a between
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("br%d", n)}}
		must(h.LinkAdd(br))
		must(h.AddrAdd(br, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 8, byte(n), 1), Mask: net.CIDRMask(24, 32)}}))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				d := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "comes"}}
				_ = h.LinkAdd(d)
				_ = h.LinkDel(d)
			}
		}
	}()
	for range 50 {
		links, err := whole(netlink.LinkList)
		addrs, err2 := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
		if err != nil || err2 != nil || len(links) < 60 || len(addrs) < 60 {
			t.Errorf("%d links, %v; %d addresses, %v", len(links), err, len(addrs), err2)
			break
		}
	}
	close(stop)
	<-done
}

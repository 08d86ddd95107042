package host

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// TestReadingWhileInterfacesComeAndGo: the kernel then says that what it gave may be inconsistent. In a network namespace
// of its own, on a thread that ends with the test.
func TestReadingWhileInterfacesComeAndGo(t *testing.T) {
	rig.Require(t, "root")
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	defer h.Close()
	for n := range 60 { // more than one message holds, so that there is a between
		must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("br%d", n)}}))
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
		w := New(Options{})
		if got := w.Missing([]string{"br1", "br59", "gone0"}); fmt.Sprint(got) != "[bridge br1 is down bridge br59 is down bridge gone0 is missing]" {
			t.Errorf("got %q", got)
			break
		}
	}
	close(stop)
	<-done
}

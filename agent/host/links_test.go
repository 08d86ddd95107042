package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/vishvananda/netlink"

	"atalaya/cmd/atalaya-lab/rig"
)

// running is a Watcher that runs until the test ends.
func running(t *testing.T) *Watcher {
	t.Helper()
	w := New(Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func bridge(t *testing.T, name string) netlink.Link {
	t.Helper()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	must(t, netlink.LinkAdd(br))
	t.Cleanup(func() { _ = netlink.LinkDel(br) })
	must(t, netlink.LinkSetUp(br))
	return br
}

// told waits for a change after which Missing says this.
func told(t *testing.T, w *Watcher, names []string, want ...string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case <-w.Changes():
			if got := w.Missing(names); slices.Equal(got, want) {
				return
			}
		case <-deadline:
			t.Fatalf("not told within 10 s of %q, it is %q", want, w.Missing(names))
		}
	}
}

// TestABridgeGoesAndReturns on this machine's own network, with a bridge that nothing uses.
func TestABridgeGoesAndReturns(t *testing.T) {
	rig.Require(t, "root")
	name := fmt.Sprintf("ath%d", os.Getpid()%1e6)
	w := running(t)
	br := bridge(t, name)
	names := []string{name, "lo", "nosuch0", "nosuch0"}
	if !poll(func() bool { return slices.Equal(w.Missing(names), []string{"bridge nosuch0 is missing"}) }) {
		t.Fatalf("got %q", w.Missing(names))
	}
	must(t, netlink.LinkSetDown(br))
	told(t, w, names[:1], "bridge "+name+" is down")
	must(t, netlink.LinkSetUp(br))
	told(t, w, names[:1])
	must(t, netlink.LinkDel(br))
	told(t, w, names[:1], "bridge "+name+" is missing")
	began := time.Now()
	bridge(t, name)
	told(t, w, names[:1])
	t.Logf("a returning bridge was told of after %v", time.Since(began).Round(100*time.Microsecond))
}

// TestAPortThatLeavesItsBridgeIsNotGone: the kernel tells of that with the message of a deletion.
func TestAPortThatLeavesItsBridgeIsNotGone(t *testing.T) {
	rig.Require(t, "root")
	n := os.Getpid() % 1e6
	port := fmt.Sprintf("atp%d", n)
	w := running(t)
	br := bridge(t, fmt.Sprintf("atb%d", n))
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: fmt.Sprintf("atq%d", n)}
	must(t, netlink.LinkAdd(veth))
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	must(t, netlink.LinkSetUp(veth))
	must(t, netlink.LinkSetMaster(veth, br))
	if !poll(func() bool { return w.Missing([]string{port}) == nil && w.Missing([]string{br.Attrs().Name}) == nil }) {
		t.Fatalf("got %q", w.Missing([]string{port}))
	}
	told0 := testutil.ToFloat64(w.metrics.changes.WithLabelValues(fromLinks))
	must(t, netlink.LinkSetNoMaster(veth))
	must(t, netlink.LinkSetDown(br)) // told after the port's leaving, in order
	told(t, w, []string{port, br.Attrs().Name}, "bridge "+br.Attrs().Name+" is down")
	if n := testutil.ToFloat64(w.metrics.changes.WithLabelValues(fromLinks)) - told0; n != 1 {
		t.Errorf("told %v times of one bridge that is down", n)
	}
	must(t, netlink.LinkDel(veth))
	told(t, w, []string{port}, "interface "+port+" is missing")
}

// TestMissingWithoutRun reads anew each time.
func TestMissingWithoutRun(t *testing.T) {
	rig.Require(t, "root")
	name := fmt.Sprintf("atw%d", os.Getpid()%1e6)
	w := New(Options{})
	if got := w.Missing([]string{name}); len(got) != 1 {
		t.Fatalf("got %q", got)
	}
	bridge(t, name)
	if got := w.Missing([]string{name}); len(got) != 0 {
		t.Fatalf("got %q", got)
	}
}

// poll waits until ok, for a minute at most.
func poll(ok func() bool) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

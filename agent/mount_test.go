package agent_test

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// An lxcpath whose file system is not mounted is an empty folder. Nobody is taken for removed by that: not what is known
// of a container that is down, nor what people said about it.
func TestAnLxcpathThatIsNotMounted(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root")
	l := newRig(t, rig.LXCOptions{N: 2})
	r := planFor(t, l).start(t)
	r.up("lxc/web1", "lxc/web2")
	r.order("lxc/web2", health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), By: "root", Reason: "moving"})
	kill9(t, l, "web2")
	r.phase("lxc/web2", health.Deferred)
	if err := syscall.Mount("tmpfs", l.Path(), "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	unmount := func() { _ = exec.Command("umount", l.Path()).Run() } // it may be done already
	t.Cleanup(unmount)
	r.until("web2 is missing", func(v health.View) bool { return of(v, "lxc/web2").State == health.Missing })
	r.lists()
	if c := of(r.view(), "lxc/web2"); c.Hold == nil {
		t.Errorf("the hold is forgotten: %+v", c)
	}
	unmount()
	c := r.until("web2 is listed again", func(v health.View) bool { return of(v, "lxc/web2").State == health.Stopped })
	if w := of(c, "lxc/web2"); w.Phase != health.Deferred || w.Hold == nil {
		t.Errorf("after the mount it is %s, hold %v", w.Phase, w.Hold)
	}
	if n := r.log.count("a container was removed"); n != 0 {
		t.Errorf("%d containers were taken for removed", n)
	}
}

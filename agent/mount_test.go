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

// The same where the agent finds it so: what lies below the mount may hold containers too, and the first list of an agent
// must not take their folder for home.
func TestAnLxcpathThatIsNotMountedAtTheStart(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root")
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1")
	r.order("lxc/web1", health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), By: "root", Reason: "moving"})
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Deferred)
	r.stop()
	if err := syscall.Mount("tmpfs", l.Path(), "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	unmount := func() { _ = exec.Command("umount", l.Path()).Run() }
	t.Cleanup(unmount)
	l.Add("below") // a definition in the folder that is there now
	r = p.start(t)
	r.until("what lies below is listed, and web1 is missing", func(v health.View) bool {
		return of(v, "lxc/below").Name != "" && of(v, "lxc/web1").State == health.Missing
	})
	r.lists()
	r.lists()
	if c := of(r.view(), "lxc/web1"); c.Hold == nil || c.State != health.Missing {
		t.Errorf("after two more lists: %+v", c)
	}
	if n := r.log.count("a container was removed"); n != 0 {
		t.Errorf("%d containers were taken for removed", n)
	}
}

package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// absent waits until a container is not known any more.
func (r *running) absent(ref string) {
	r.t.Helper()
	r.until(ref+" is forgotten", func(v health.View) bool { return of(v, ref).Ref.ID == "" })
}

// stopUnderHold stops a container as somebody does who tells the agent first.
func (r *running) stopUnderHold(l *rig.LXC, name string) {
	r.t.Helper()
	r.order("lxc/"+name, health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), Reason: "to be deleted"})
	l.Stop(name)
	r.phase("lxc/"+name, health.Deferred)
}

// A container that is deleted is recorded and forgotten, also when it dies in the same moment.
func TestRemoved(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 3})
	r := planFor(t, l).start(t)
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	r.stopUnderHold(l, "web1")
	l.Remove("web1")
	r.absent("lxc/web1")

	l.Remove("web2") // its folder goes first, then it dies: nothing is left that could be started
	kill9(t, l, "web2")
	r.absent("lxc/web2")
	r.alerted("lxc/web2")
	r.up("lxc/web3")
	r.stop()
	r = r.plan.start(t)
	r.up("lxc/web3")
	if v := r.view(); len(v.Containers) != 1 {
		t.Errorf("a successor knows %+v", v.Containers)
	}
}

// An open incident of what is deleted is over.
func TestRemovedWithAnIncident(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Policy.Attempts = 1
	p.Policy.RetryMin = time.Hour
	r := p.start(t)
	r.up("lxc/web1")
	l.DeleteBridge()
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Exhausted)
	l.Remove("web1")
	r.absent("lxc/web1")
	if in := r.resolved("lxc/web1", 1)[0]; in.How != "its definition was removed" {
		t.Errorf("incident: %+v", in)
	}
}

// A renamed container is another one, which was not seen running under its new name.
func TestRenamed(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	r.stopUnderHold(l, "web1")
	if err := os.Rename(l.Dir("web1"), filepath.Join(l.Path(), "new1")); err != nil {
		t.Fatal(err)
	}
	r.absent("lxc/web1")
	if c := r.phase("lxc/new1", health.New); c.State != health.Stopped {
		t.Errorf("%+v", c)
	}
	r.untouched("lxc/web1")
	r.untouched("lxc/new1")
}

// Another container under an old id is not the old one: what was known of that is not held against it.
func TestCreatedAnewUnderAnOldID(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	p.Poll = 2 * time.Second // so that both happen between two lists
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	r.stopUnderHold(l, "web1")
	r.lists()
	l.Remove("web1")
	l.Add("web1", "# another one")
	r.order("web1", health.Order{Kind: health.OrderRelease}) // orders are for the name, and stay
	c := r.phase("lxc/web1", health.New)
	if c.State != health.Stopped {
		t.Errorf("%+v", c)
	}
	r.lists()
	if s := l.State("web1"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
	l.Start("web1")
	r.up("lxc/web1")
	kill9(t, l, "web1")
	r.resolved("lxc/web1", 1)
}

// What is still being created is nobody's failure, and is known when it is ready.
func TestHalfCreated(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	dir := filepath.Join(l.Path(), "half")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.lists() // a folder without a config
	l.Add("half")
	partial := filepath.Join(dir, "partial") // as lxc-create marks what it is at
	made, err := os.Create(partial)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	if err := unix.FcntlFlock(made.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	r.until("it is seen being created", func(v health.View) bool { return of(v, "lxc/half").State == health.Busy })
	r.lists()
	if err := os.Remove(partial); err != nil {
		t.Fatal(err)
	}
	r.until("it is stopped", func(v health.View) bool { return of(v, "lxc/half").State == health.Stopped })
	l.Start("half")
	r.up("lxc/half")
	r.untouched("lxc/half")
}

// Two lxcpaths may hold the same names; both are watched, and each by its own name.
func TestTwoPaths(t *testing.T) {
	t.Parallel()
	l, m := newRig(t, rig.LXCOptions{N: 1}), newRig(t, rig.LXCOptions{N: 1})
	r := planFor(t, l, m).start(t)
	r.up("lxc/web1", "lxc:path2/web1")
	_, err := r.agent.Order(context.Background(), "web1", false, health.Order{Kind: health.OrderUnwant})
	want := `"web1" fits several containers: lxc/web1, lxc:path2/web1; name one of them in full`
	if refused := new(agent.OrderError); !errors.As(err, &refused) || err.Error() != want {
		t.Errorf("an order to an ambiguous name: %v", err)
	}
	kill9(t, m, "web1")
	r.resolved("lxc:path2/web1", 1)
	if in := r.incidents("lxc/web1"); len(in) != 0 {
		t.Errorf("incidents of the other: %+v", in)
	}
	kill9(t, l, "web1")
	r.resolved("lxc/web1", 1)
	m.WaitHTTP("web1", patience)
	l.WaitHTTP("web1", patience)
}

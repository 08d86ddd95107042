package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What is down when first seen is shown, opens nothing and is left down, until a person says otherwise.
func TestDownWhenFirstSeen(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2, NoStart: true})
	l.Start("web1")
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	r.lists()
	c := of(r.view(), "lxc/web2")
	if c.Phase != health.New || c.State != health.Stopped || l.State("web2") != "STOPPED" {
		t.Errorf("%s, %s, %s", c.Phase, c.State, l.State("web2"))
	}
	r.alerted("lxc/web2")
	r.order("web2", health.Order{Kind: health.OrderWant})
	r.up("lxc/web2")
	l.WaitHTTP("web2", patience)
	kill9(t, l, "web2") // and from now on it is looked after
	r.phase("lxc/web2", health.Starting, health.Settling, health.Up)
	r.up("lxc/web2")
}

// An agent without its store is one that was just installed: it has seen nothing running, so it starts nothing.
func TestALostStoreIsAFirstInstall(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	r.stop()
	kill9(t, l, "web1")
	for _, f := range []string{"atalaya.db", "atalaya.db-wal", "atalaya.db-shm"} {
		_ = os.Remove(filepath.Join(p.state(), f))
	}
	r = p.start(t)
	if !r.opened.Fresh {
		t.Errorf("opened: %+v", r.opened)
	}
	r.up("lxc/web2")
	r.lists()
	if c := of(r.view(), "lxc/web1"); c.Phase != health.New || l.State("web1") != "STOPPED" {
		t.Errorf("%+v", c)
	}
	r.alerted("lxc/web1")
}

// What a person does not want is not started, also not when it was wanted by its engine; and that is remembered.
func TestUnwanted(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1")
	r.order("lxc/web1", health.Order{Kind: health.OrderUnwant})
	r.stop()
	r = p.start(t)
	r.up("lxc/web1")
	kill9(t, l, "web1")
	if c := r.phase("lxc/web1", health.Off); c.Why != "not wanted: atalaya unwant, by the test" {
		t.Errorf("why: %q", c.Why)
	}
	r.lists()
	r.alerted("lxc/web1")
	if s := l.State("web1"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
}

package agent_test

import (
	"strings"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What docker knows counts: that a person stopped a container, that its own health check fails, and, at once, that
// something happened at all.
func TestWhatTheEngineKnowsCounts(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "/usr/bin/docker", "busybox")
	d := rig.NewDocker(t)
	d.Make("web1")
	d.Make("web2", "--health-cmd", "test ! -e /sick", "--health-interval", "1s", "--health-retries", "2")
	for _, name := range []string{"web1", "web2"} {
		d.Start(name)
	}
	p := planFor(t)
	p.Specs = []engine.Spec{{Engine: "docker", Bin: d.Bin(), Args: d.Args(), Env: d.Env(), Timeout: 10 * time.Second}}
	p.Poll = 20 * time.Second // what is noticed sooner, events or the kernel told
	p.Policy.Want = health.Yes
	r := p.start(t)
	web1, web2 := "docker/"+d.ID("web1"), "docker/"+d.ID("web2")
	r.up(web1, web2)

	d.Run("stop", "--time", "5", "web1")
	if v := r.phase(web1, health.Off); !strings.Contains(v.Why, "stopped on purpose") {
		t.Errorf("why it is off: %q", v.Why)
	}
	d.Run("start", "web1")
	began := time.Now()
	r.up(web1)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a start was noticed after %v: no event brought the list forward", took)
	}
	if n := len(r.incidents(web1)); n != 0 {
		t.Errorf("%d incidents of what a person stopped", n)
	}

	r.until("the engine's own check passes", func(v health.View) bool {
		for _, s := range of(v, web2).Signals {
			if s.Outcome == health.Pass {
				return true
			}
		}
		return false
	})
	r.agent.Swap(p.settings()) // a reload is no reason to stop listening to it
	d.Run("exec", "web2", "touch", "/sick")
	r.until("it is found sick, and restarted", func(v health.View) bool { return of(v, web2).Attempts > 0 || len(r.incidents(web2)) > 0 })
	r.until("it is cured", func(health.View) bool { // not while it is just being stopped
		_, err := d.Try("exec", "web2", "rm", "-f", "/sick")
		return err == nil
	})
	if in := r.resolved(web2, 1)[0]; !strings.Contains(in.Reason, "engine:health") {
		t.Errorf("incident: %+v", in)
	}
}

// A container that two engines show is watched once, by the one that stands higher.
func TestVisibleThroughTwoEngines(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	p.Specs = append(p.Specs, engine.Spec{Engine: "custom", Custom: &engine.CustomSpec{
		List:   []string{"lxc-ls", "-P", l.Path(), "-f", "-F", "NAME,STATE,PID"},
		Line:   `^(?P<id>\S+) +(?P<state>[A-Z]+) +(?P<pid>\d+|-) *$`,
		States: map[string]health.RunState{"RUNNING": health.Running, "STOPPED": health.Stopped},
		Start:  []string{"lxc-start", "-P", l.Path(), "--name={{.ID}}"},
	}})
	p.Edit = func(_ health.Sighting, s *agent.Setup) { s.Policy.Want = health.Yes }
	r := p.start(t)
	r.up("custom/web1", "custom/web2")
	r.until("only one of the two has them", func(v health.View) bool { return len(v.Containers) == 2 })
	kill9(t, l, "web1")
	r.resolved("custom/web1", 1)
	r.always("and it stays so", time.Second, func(v health.View) bool {
		return len(v.Containers) == 2 && of(v, "lxc/web1").Name == ""
	})
}

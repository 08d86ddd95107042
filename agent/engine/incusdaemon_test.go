package engine_test

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *incusTest) daemonStopped() {
	before := v.see().Init
	v.Fault(scripted.Fault{On: "incus", Do: scripted.Answer, Reply: "no-daemon"})
	if l, err := v.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "unix.socket") {
		v.Errorf("%+v %v", l, err)
	}
	if s, err := v.i.Look(context.Background(), "web1", before); err == nil {
		v.Errorf("%+v", s)
	}
	v.Heal()
	if s := v.listed(); s.State != health.Running || s.Init != before {
		v.Errorf("%+v", s)
	}
}

func (v *incusTest) daemonHung() {
	before := v.see().Init
	i := v.by(runnerOf(v.T), time.Second)
	v.Fault(scripted.Fault{On: "incus", Do: scripted.Hang})
	var wg sync.WaitGroup
	wg.Go(func() {
		if s, err := i.Look(context.Background(), "web1", before); err == nil || !strings.Contains(err.Error(), "within") {
			v.Errorf("%+v %v", s, err)
		}
	})
	if l, err := i.List(context.Background(), nil); err == nil {
		v.Errorf("%+v", l)
	}
	wg.Wait()
	v.Heal()
	if s := find(v.T, list(v.T, i), "web1"); s.State != health.Running || s.Init != before {
		v.Errorf("%+v", s)
	}
}

// The stream of events ends with the daemon, and is followed again.
func (v *incusTest) daemonAnew() {
	before := v.see().Init
	v.Fault(scripted.Fault{On: "incus", Do: scripted.Answer, Reply: "no-daemon"})
	if err := v.i.Events(context.Background(), func(string) {}); err == nil || !strings.Contains(err.Error(), "unix.socket") {
		v.Errorf("%v", err)
	}
	v.Heal()
	v.follow()
	for what, i := range map[string]*engine.Instance{"the same": v.i, "a new one": v.Open(v.T)} {
		if s := find(v.T, list(v.T, i), "web1"); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
			v.Errorf("%s: %+v", what, s)
		}
	}
}

// An instance that hangs the list leaves the others watched.
func (v *incusTest) hangs() {
	v.Make("web2", made{})
	v.incusYard.Run("web2")
	v.Freeze("web2")
	v.Make("web3", made{})
	v.incusYard.Run("web3")
	v.Update("web3", func(c *scripted.Container) { c.Says = "ready" })
	v.AddIncus(scripted.Container{ID: "p1_web1", Name: "web1", Keys: map[string]string{"project": "p1"}})
	v.StartIncus("p1_web1")
	v.Make("odd", made{broken: true})
	was := list(v.T, v.i)
	i := v.by(runnerOf(v.T), 2*time.Second)
	v.Fault(scripted.Fault{On: "incus list", Do: scripted.Hang})
	for _, how := range []string{"one by one", "from the row"} { // once their inits are known
		l := list(v.T, i)
		odd := find(v.T, l, "odd")
		if !strings.Contains(l.Degraded, `because of "odd"`) || odd.State != health.Broken || len(l.Notes) != 0 {
			v.Errorf("%+v, degraded %q, %q", odd, l.Degraded, l.Notes)
		}
		for _, id := range []string{"web1", "web2", "web3", "p1_web1"} {
			full, s := find(v.T, was, id), find(v.T, l, id)
			if full.At, s.At = (time.Time{}), (time.Time{}); !reflect.DeepEqual(full, s) {
				v.Errorf("%s\n%+v\nwith states\n%+v", how, s, full)
			}
		}
	}
	v.Update("odd", func(c *scripted.Container) { c.Says = "" })
	v.Heal()
	if l := list(v.T, i); l.Degraded != "" {
		v.Errorf("it is over: %q", l.Degraded)
	}
	v.set("location", "node1")
	v.AddIncus(scripted.Container{ID: "far", Name: "far", State: "running", Keys: map[string]string{"location": "node2"}})
	v.set("origin", "node2")
	v.set("autorestart", "true")
	v.set("role", "web")
	v.Update("web1", func(c *scripted.Container) { c.UUID = "" })
	v.Fault(scripted.Fault{On: "incus list", Do: scripted.Hang})
	l := list(v.T, i)
	if peek(l, "far") != nil {
		v.Error("what is on another member is watched here")
	}
	if s := find(v.T, l, "web1"); s.Lock == nil || s.Supervisor == "" || s.Mark != "2026-11-25T09:51:21.515857411Z" || len(s.Tags) != 1 {
		v.Errorf("%+v", s)
	}
	v.StopIncus("web1", "alice")
	if s := look(v.T, i, "web1"); s.OnPurpose == "" {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	v.Kill9("web1")
	if s := find(v.T, list(v.T, i), "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it was started since: %+v", s)
	}
}

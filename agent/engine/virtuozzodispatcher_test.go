package engine_test

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *prlTest) withoutDispatcher() {
	vm := v.ID("vm1")
	v.AddVZ7(scripted.Container{ID: vm, Name: "vm1", Type: "VM"})
	v.Make("web2", made{})
	list(v.T, v.i)
	for _, reply := range []string{"list-nodispatcher", "list-frozen"} {
		v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: reply})
		l := list(v.T, v.i)
		if web1 := find(v.T, l, v.id); web1.State != health.Running || web1.Init.PID != v.InitPID("web1") || web1.Name != "web1" || len(web1.Addrs) != 2 {
			v.Errorf("%s: %+v", reply, web1)
		}
		if s := find(v.T, l, vm); s.State != health.Unknown || s.Name != "vm1" { // unknown is not missing
			v.Errorf("%s: %+v", reply, s)
		}
		if s := find(v.T, l, v.ID("web2")); s.State != health.Stopped || l.Degraded == "" {
			v.Errorf("%s: %+v, degraded %q", reply, s, l.Degraded)
		}
		if s := v.see(); s.State != health.Running {
			v.Errorf("%s: look: %+v", reply, s)
		}
		for word, want := range map[string]health.RunState{"paused": health.Paused, "suspended": health.Paused, "mounted": health.Stopped, "unknown": health.Unknown} {
			v.Update(v.id, func(c *scripted.Container) { c.Says = word })
			l := list(v.T, v.i)
			if s := find(v.T, l, v.id); s.State != want || !strings.Contains(s.Detail, word) || len(l.Notes) != 0 {
				v.Errorf("%s: %s: %+v, %q", reply, word, s, l.Notes)
			}
		}
		v.Update(v.id, func(c *scripted.Container) { c.Says = "" })
		if s := look(v.T, v.i, v.unknownID()); s.State != health.Removed {
			v.Errorf("%s: nobody: %+v", reply, s)
		}
		if _, err := v.i.Look(context.Background(), vm, health.Process{}); err == nil {
			v.Errorf("%s: a VM is known without a dispatcher", reply)
		}
		v.Kill9(v.id)
		if a := v.do(health.VerbStart); a.Err != "" || filepath.Base(a.Transcript.Argv[0]) != "vzctl" {
			v.Errorf("%s: healing: %+v", reply, a)
		}
		if a := v.do(health.VerbStop); a.Err != "" || filepath.Base(a.Transcript.Argv[0]) != "vzctl" {
			v.Errorf("%s: stop: %+v", reply, a)
		}
		if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
			v.Errorf("%s: we stopped it: %+v", reply, s)
		}
		if a := v.i.Do(context.Background(), health.VerbStop, vm, 0); a.Err == "" || !strings.Contains(a.Cause, "the dispatcher") {
			v.Errorf("%s: a VM: %+v", reply, a)
		}
		v.must(health.VerbStart)
		v.Heal()
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	// A new agent has never seen the dispatcher, and still does not miss VMs.
	if s := find(v.T, list(v.T, v.Open(v.T)), vm); s.State != health.Unknown {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Empty})
	if l, err := v.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "exit 253") {
		v.Errorf("neither answers: %+v, %v", l, err)
	}
}

func (v *prlTest) unknownID() string { return "00000000-0000-0000-0000-000000000000" }

// dispatcherHangs: containers are listed without it, VMs are not known, and where nothing answers nothing is observed.
func (v *prlTest) dispatcherHangs() {
	vm := v.ID("vm1")
	v.AddVZ7(scripted.Container{ID: vm, Name: "vm1", Type: "VM"})
	v.i = open(v.T, engine.Spec{Engine: "virtuozzo", Bin: v.Bin(), Root: v.Root(), Timeout: 500 * time.Millisecond})
	list(v.T, v.i)
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Hang})
	l := list(v.T, v.i)
	if s := find(v.T, l, v.id); s.State != health.Running || s.Init.PID != v.InitPID("web1") || l.Degraded == "" {
		v.Errorf("%+v, degraded %q", s, l.Degraded)
	}
	if s := find(v.T, l, vm); s.State != health.Unknown {
		v.Errorf("%+v", s)
	}
	if _, err := v.i.Look(context.Background(), vm, health.Process{}); err == nil {
		v.Error("a VM is known without a dispatcher")
	}
	v.Kill9(v.id)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died: %+v", s)
	}
	if a := v.do(health.VerbStart); a.Err != "" || filepath.Base(a.Transcript.Argv[0]) != "vzctl" {
		v.Errorf("healing: %+v", a)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Hang})
	if l, err := v.i.List(context.Background(), nil); err == nil || len(l.Containers) != 0 {
		v.Errorf("neither answers: %+v", l)
	}
	if s, err := v.i.Look(context.Background(), v.id, health.Process{}); err == nil {
		v.Errorf("neither answers: %+v", s)
	}
	v.Heal()
	if l := list(v.T, v.i); l.Degraded != "" || find(v.T, l, v.id).State != health.Running || find(v.T, l, vm).State != health.Stopped {
		v.Errorf("healed: %+v", l)
	}
}

// dispatcherAnew: what ran runs, by the same init, and the events are followed again.
func (v *prlTest) dispatcherAnew() {
	before := v.listed().Init
	for _, ends := range []bool{true, false} { // whether its monitor ends with it is not known
		got, ended := v.follow()
		v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
		if ends {
			v.Fault(scripted.Fault{On: "prlsrvctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
		}
		if s := v.listed(); s.State != health.Running || s.Init != before {
			v.Errorf("without it: %+v", s)
		}
		v.Heal()
		if s := v.listed(); s.State != health.Running || s.Init != before {
			v.Errorf("anew: %+v", s)
		}
		select {
		case err := <-ended:
			if err == nil {
				v.Error("the stream ended, and no error")
			}
		case <-time.After(scripted.Patience(20 * time.Second)):
			v.Fatalf("the stream goes on without its dispatcher, which ends it: %v", ends)
		}
		_ = got
	}
	got, _ := v.follow()
	v.Kill9(v.id)
	eventually(v.T, "events are followed again", func() bool {
		for len(got) > 0 {
			if <-got == v.id {
				return true
			}
		}
		return false
	})
}

// oneStalls: the private area of one lies on storage that does not answer.
func (v *prlTest) oneStalls() {
	v.i = open(v.T, engine.Spec{Engine: "virtuozzo", Bin: v.Bin(), Root: v.Root(), Timeout: time.Second})
	v.Make("web2", made{})
	v.Make("web3", made{})
	list(v.T, v.i)
	stalled, other := v.ID("web2"), v.ID("web3")
	mend := stall(v.T, v.File(scripted.VZPrivate(stalled)))
	l := list(v.T, v.i) // the dispatcher has it in memory
	if find(v.T, l, v.id).State != health.Running || find(v.T, l, stalled).State != health.Stopped || find(v.T, l, other).State != health.Stopped {
		v.Errorf("%+v", l)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	for range 2 {
		l := list(v.T, v.i)
		if s := find(v.T, l, v.id); s.State != health.Running || s.Init.PID != v.InitPID("web1") {
			v.Errorf("%+v", s)
		}
		if s := find(v.T, l, other); s.State != health.Stopped {
			v.Errorf("%+v", s)
		}
		if s := find(v.T, l, stalled); s.State != health.Unknown || !strings.Contains(l.Degraded, stalled) || !strings.Contains(l.Degraded, "dispatcher") {
			v.Errorf("%+v, %q", s, l.Degraded)
		}
	}
	v.Heal()
	mend()
	if l := list(v.T, v.i); l.Degraded != "" || find(v.T, l, stalled).State != health.Stopped {
		v.Errorf("mended: %+v", l)
	}
}

// follow begins to follow the events, and returns once they come.
func (v *prlTest) follow() (got chan string, ended chan error) {
	v.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v.Cleanup(cancel)
	got, ended = make(chan string, 1000), make(chan error, 1)
	go func() { ended <- v.i.Events(ctx, func(id string) { got <- id }) }()
	v.Make("canary", made{})
	eventually(v.T, "the monitor tells of a death", func() bool { // it may have begun to look after the first
		if c := v.Get(v.ID("canary")); c.Alive() {
			v.Kill9(c.ID)
		} else {
			v.StartVZ7(c.ID)
		}
		return len(got) > 0
	})
	for len(got) > 0 {
		<-got
	}
	return got, ended
}

// events: each is a reason to look, at one or at all; what has no word is passed over, and what has a strange one is told.
func (v *prlTest) events() {
	list(v.T, v.i)
	got, ended := v.follow()
	await := func(what, id string) {
		v.Helper()
		deadline := time.After(scripted.Patience(20 * time.Second))
		for {
			select {
			case have := <-got:
				if have == id {
					return
				}
			case err := <-ended:
				v.Fatalf("%s: the stream ended: %v", what, err)
			case <-deadline:
				v.Fatalf("%s: no event about %q", what, id)
			}
		}
	}
	v.Kill9(v.id)
	await("a death", v.id)
	v.Make("web3", made{})
	await("a new one", "")
	v.DestroyVZ7(v.ID("web3"))
	await("one less", v.ID("web3"))
	for _, kind := range []string{"VM_CONFIG_CHANGED", "VM_UNREGISTERED", "VM_DELETED"} {
		v.Update(v.id, func(c *scripted.Container) { c.Keys["event"] = kind })
		await(kind, v.id)
	}
	for _, kind := range []string{"VM_CREATED", "VM_ADDED", "VM_DREAMS"} {
		v.Update(v.id, func(c *scripted.Container) { c.Keys["event"] = kind })
		await(kind, "")
	}
	v.Update(v.id, func(c *scripted.Container) { c.Keys["event"] = "100103" })
	v.StartVZ7(v.id)
	await("a start, which comes behind a number", v.id)
	if l := list(v.T, v.i); len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "VM_DREAMS") {
		v.Errorf("%q", l.Notes)
	}
	if !v.i.HasEvents() {
		v.Error("it says that it has no events")
	}
}

package engine_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// What fits no trial.
func scriptedIncus(t *testing.T) {
	for name, run := range map[string]func(*incusTest){
		"every field": (*incusTest).fields, "states": (*incusTest).states, "projects": (*incusTest).projects, "faults": (*incusTest).faults,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newIncusTest(t))
		})
	}
}

// incusTest is one container, web1, that runs, on a scripted Incus of its own.
type incusTest struct {
	*testing.T
	*incusYard
	i *engine.Instance
}

func newIncusTest(t *testing.T) *incusTest {
	y := newIncusYard(t).(*incusYard)
	y.Make("web1", made{autostart: true})
	y.Run("web1")
	return &incusTest{t, y, y.Open(t)}
}

func (v *incusTest) see() health.Sighting    { v.Helper(); return look(v.T, v.i, "web1") }
func (v *incusTest) listed() health.Sighting { v.Helper(); return find(v.T, list(v.T, v.i), "web1") }
func (v *incusTest) set(key, value string) {
	v.Update("web1", func(c *scripted.Container) { c.Keys[key] = value })
}

// List and look tell the same, field by field, and nothing of it is strange.
func (v *incusTest) fields() {
	v.set("role", "web")
	l := list(v.T, v.i)
	a, b := find(v.T, l, "web1"), v.see()
	if len(l.Notes) != 0 || len(list(v.T, v.i).Notes) != 0 {
		v.Errorf("notes: %q", l.Notes)
	}
	for what, s := range map[string]*health.Sighting{"list": &a, "look": &b} {
		if s.Mark != "ef7270f3-be77-4f43-b33f-000000000001" || s.Init.PID != v.InitPID("web1") || s.Autostart != health.Yes || !slices.Equal(s.Tags, []string{"role=web"}) ||
			!slices.Equal(s.Links, []string{"incusbr0"}) || s.Supervisor != "" || s.Lock != nil || s.State != health.Running {
			v.Errorf("%s: %+v", what, *s)
		}
		if len(s.Addrs) != 1 || s.Addrs[0].Prefix.String() != "10.82.0.11/24" || s.Addrs[0].Iface != "eth0" || s.Addrs[0].MAC != "00:16:3e:9a:26:55" {
			v.Errorf("%s: %+v", what, s.Addrs)
		}
		s.At = time.Time{}
	}
	if !reflect.DeepEqual(a, b) {
		v.Errorf("list %+v\nlook %+v", a, b)
	}
	v.Update("web1", func(c *scripted.Container) { c.UUID = "" })
	for what, s := range map[string]health.Sighting{"list": v.listed(), "look": v.see()} {
		if s.Mark != "2026-11-25T09:51:21.515857411Z" {
			v.Errorf("%s: without a UUID: %+v", what, s)
		}
	}
}

func (v *incusTest) states() {
	for says, want := range map[string]health.RunState{"ready": health.Running, "frozen": health.Paused, "error": health.Unknown} {
		v.Update("web1", func(c *scripted.Container) { c.Says = says })
		if says == "error" { // its state could not be had, so nor its pid; that of the last list lives
			v.Update("web1", func(c *scripted.Container) { c.Keys["pid"] = "0" })
		}
		l := list(v.T, v.i)
		if s := find(v.T, l, "web1"); s.State != want && says != "error" || len(l.Notes) != 0 {
			v.Errorf("%s: %+v %q", says, s, l.Notes)
		}
		if s := v.see(); s.State != want && says != "error" {
			v.Errorf("%s: look %+v", says, s)
		}
	}
	v.Update("web1", func(c *scripted.Container) { c.Says = "" })
	v.Make("odd", made{broken: true})
	l := list(v.T, v.i)
	if s := look(v.T, v.i, "odd"); s.State != health.Broken || find(v.T, l, "odd").State != health.Broken {
		v.Errorf("%+v", s)
	}
}

func (v *incusTest) projects() {
	v.AddIncus(scripted.Container{ID: "p1_web1", Name: "web1", UUID: "other", Keys: map[string]string{"project": "p1"}})
	l := list(v.T, v.i)
	if s := find(v.T, l, "p1_web1"); s.State != health.Stopped || s.Autostart != health.Maybe || find(v.T, l, "web1").State != health.Running {
		v.Errorf("%+v", l)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "p1_web1", 0); a.Err != "" || a.Already {
		v.Fatalf("%+v", a)
	}
	if s := look(v.T, v.i, "p1_web1"); s.State != health.Running || s.Init.PID != v.Get("p1_web1").PID || s.Mark != "other" {
		v.Errorf("%+v", s)
	}
}

// A list that fails, is cut, lies or is senseless is an error, and never "nobody is there".
func (v *incusTest) faults() {
	v.see()
	for _, f := range []scripted.Fault{
		{Do: scripted.Empty}, {Do: scripted.Garble}, {Do: scripted.Flood}, {Do: scripted.Answer, Reply: "no-daemon"}, {Do: scripted.Answer, Reply: "server"},
	} {
		f.On = "incus"
		v.Heal()
		v.Fault(f)
		if l, err := v.i.List(context.Background(), nil); err == nil {
			v.Errorf("%s %s: %+v", f.Do, f.Reply, l)
		}
		if s, err := v.i.Look(context.Background(), "web1", health.Process{}); err == nil {
			v.Errorf("%s %s: %+v", f.Do, f.Reply, s)
		}
	}
	v.Heal()
	v.Fault(scripted.Fault{On: "incus --raw", Do: scripted.Empty})
	if s, err := v.i.Look(context.Background(), "web1", health.Process{}); err == nil {
		v.Errorf("what is at work on it was not told: %+v", s)
	}
	v.Heal()
	v.Fault(scripted.Fault{On: "incus stop", Do: scripted.Answer, Reply: "stop"})
	if a := v.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Err != "" || v.see().State != health.Running {
		v.Errorf("a stop that lies: %+v", a)
	}
}

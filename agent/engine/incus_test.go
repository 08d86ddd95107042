package engine_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func scriptedIncus(t *testing.T) {
	for name, run := range map[string]func(*incusTest){
		"every field": (*incusTest).fields, "states": (*incusTest).states, "projects": (*incusTest).projects, "cluster": (*incusTest).cluster,
		"who stopped it": (*incusTest).whoStopped, "a death": (*incusTest).dies, "events": (*incusTest).events, "causes": (*incusTest).causes,
		"a list that hangs": (*incusTest).hangs, "faults": (*incusTest).faults, "locks": (*incusTest).locks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newIncusYard(t).(*incusYard)
			y.Make("web1", made{autostart: true})
			y.Run("web1")
			run(&incusTest{t, y, y.Open(t)})
		})
	}
}

// incusTest is one container, web1, that runs, on a scripted Incus of its own.
type incusTest struct {
	*testing.T
	*incusYard
	i *engine.Instance
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
	for _, key := range []string{"autorestart", "origin"} {
		v.set(key, map[string]string{"autorestart": "true", "origin": "node2"}[key])
	}
	config := a.Config
	for what, s := range map[string]health.Sighting{"list": v.listed(), "look": v.see()} {
		if s.Supervisor != "incus (boot.autorestart)" || s.Lock == nil || s.Lock.Operation != "evacuation from cluster member node2" || s.Config == config {
			v.Errorf("%s: %+v %+v", what, s, s.Lock)
		}
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

// In a cluster each agent watches what is on its own member.
func (v *incusTest) cluster() {
	v.set("location", "node1")
	v.AddIncus(scripted.Container{ID: "far", Name: "far", State: "running", UUID: "f", Keys: map[string]string{"location": "node2"}})
	l := list(v.T, v.i)
	if len(l.Containers) != 1 || l.Containers[0].Ref.ID != "web1" || v.i.Defined("far") || !v.i.Defined("web1") {
		v.Errorf("%+v", l)
	}
	if s := look(v.T, v.i, "far"); s.State != health.Removed || s.Detail != `it is on cluster member "node2" now` {
		v.Errorf("%+v", s)
	}
	if s := v.see(); s.State != health.Running {
		v.Errorf("%+v", s)
	}
	other := v.Open(v.T)
	if s := look(v.T, other, "far"); s.State != health.Removed {
		v.Errorf("asked first: %+v", s)
	}
	v.Fault(scripted.Fault{On: "incus query local:/1.0", Do: scripted.Empty})
	if l, err := v.Open(v.T).List(context.Background(), nil); err == nil {
		v.Errorf("which member this is was not told: %+v", l)
	}
}

func (v *incusTest) whoStopped() {
	v.StopIncus("web1", "alice")
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != `its operation "Stopping instance"` || s.Lock != nil {
		v.Errorf("%+v", s)
	}
	if s := v.listed(); s.OnPurpose != `its operation "Stopping instance"` {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	before := v.see().Init
	v.Kill9("web1")
	if s, err := v.i.Look(context.Background(), "web1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died after it was started again: %+v %v", s, err)
	}
	if s := v.listed(); s.OnPurpose != "" {
		v.Errorf("it died after it was started again: %+v", s)
	}
	v.StartIncus("web1")
	for _, verb := range []health.Verb{health.VerbStop, health.VerbKill} {
		if a := v.i.Do(context.Background(), verb, "web1", 0); a.Err != "" {
			v.Fatalf("%s: %+v", verb, a)
		}
		if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
			v.Errorf("%s: it was us: %+v", verb, s)
		}
		v.StartIncus("web1")
	}
}

// The daemon is busy with a container that has died: the look lasts until it can be started.
func (v *incusTest) dies() {
	before := v.see().Init
	v.Kill9("web1")
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err == "" || a.Already || a.Cause != `Failed to create instance start operation: Instance is busy running a "stop" operation` {
		v.Errorf("%+v", a)
	}
	s, err := v.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Stopped {
		v.Errorf("%+v %v", s, err)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		v.Errorf("a start right after the look: %+v", a)
	}
}

func (v *incusTest) events() {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = v.i.Events(ctx, func(id string) { mu.Lock(); ids = append(ids, id); mu.Unlock() })
	})
	defer func() { cancel(); wg.Wait() }()
	told := func(id string) bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(ids, id) }
	v.AddIncus(scripted.Container{ID: "p1_db", Name: "db", Keys: map[string]string{"project": "p1"}})
	eventually(v.T, "events come", func() bool {
		v.StartIncus("p1_db")
		v.StopIncus("p1_db", "alice")
		return told("p1_db")
	})
	list(v.T, v.i)
	v.StopIncus("web1", "alice")
	eventually(v.T, "it is told", func() bool { return told("web1") })
	if s := v.listed(); s.OnPurpose != "instance-stopped by alice (unix)" {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	before := v.see().Init
	v.Kill9("web1")
	if s, err := v.i.Look(ctx, "web1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("nobody asked for it: %+v %v", s, err)
	}
}

func (v *incusTest) causes() {
	v.Make("bad", made{})
	for reply, want := range map[string]string{
		"start-bridge":    `Failed to start device "eth0": Parent device "incusbr9" doesn't exist`,
		"start-forkstart": `No such file or directory - Failed to exec "/nosuch"`,
		"no-daemon":       `Get "http://unix.socket/1.0": dial unix /var/lib/incus/unix.socket: connect: no such file or directory`,
	} {
		v.Update("bad", func(c *scripted.Container) { c.Keys["fails"] = reply })
		if a := v.i.Do(context.Background(), health.VerbStart, "bad", 0); a.Cause != want || a.Err == "" || a.Already || a.Transcript.Exit != 1 {
			v.Errorf("%s: %+v", reply, a)
		}
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); !a.Already || a.Err != "" {
		v.Errorf("%+v", a)
	}
	v.set("deaf", "yes")
	if a := v.i.Do(context.Background(), health.VerbStop, "web1", time.Second); a.Cause != `Failed shutting down instance, status is "Running": shutting down the container failed` || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Err != "" {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Cause != "The instance is already stopped" || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "nosuch", 0); a.Cause != "Instance not found" || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if out := v.i.Exec(context.Background(), "web1", []string{"true"}, 5*time.Second); out.OK() {
		v.Errorf("it does not run: %+v", out)
	}
}

// An instance that hangs the list leaves the others watched.
func (v *incusTest) hangs() {
	v.Make("web2", made{})
	v.incusYard.Run("web2")
	v.Make("odd", made{broken: true})
	was := list(v.T, v.i)
	i, err := engine.Open(engine.Spec{Engine: "incus", Bin: v.Bin(), Root: v.Root(), Timeout: 2 * time.Second, RunDir: v.TempDir()}, runnerOf(v.T), nil)
	if err != nil {
		v.Fatal(err)
	}
	v.Fault(scripted.Fault{On: "incus list", Do: scripted.Hang})
	l := list(v.T, i)
	a, b, odd := find(v.T, l, "web1"), find(v.T, l, "web2"), find(v.T, l, "odd")
	if !strings.Contains(l.Degraded, `because of "odd"`) || odd.State != health.Broken || len(l.Notes) != 0 {
		v.Errorf("%+v, degraded %q, %q", odd, l.Degraded, l.Notes)
	}
	for _, s := range []health.Sighting{a, b} {
		full := find(v.T, was, s.Ref.ID)
		full.At, s.At = time.Time{}, time.Time{}
		if !reflect.DeepEqual(full, s) {
			v.Errorf("without states\n%+v\nwith\n%+v", s, full)
		}
	}
	v.Update("odd", func(c *scripted.Container) { c.Says = "" })
	v.Heal()
	if l := list(v.T, i); l.Degraded != "" {
		v.Errorf("it is over: %q", l.Degraded)
	}
	v.set("location", "node1")
	v.set("origin", "node2")
	v.set("autorestart", "true")
	v.set("role", "web")
	v.Update("web1", func(c *scripted.Container) { c.UUID = "" })
	v.Fault(scripted.Fault{On: "incus list", Do: scripted.Hang})
	if s := find(v.T, list(v.T, i), "web1"); s.Lock == nil || s.Supervisor == "" || s.Mark != "2026-11-25T09:51:21.515857411Z" || len(s.Tags) != 1 {
		v.Errorf("%+v", s)
	}
	v.StopIncus("web1", "alice")
	if s := look(v.T, i, "web1"); s.OnPurpose == "" {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	v.Kill9("web1")
	time.Sleep(time.Millisecond)
	if s := find(v.T, list(v.T, i), "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it was started since: %+v", s)
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

// What is at work on an instance is a lock, but an open exec is none, nor what is at work on another.
func (v *incusTest) locks() {
	v.AddIncus(scripted.Container{ID: "p1_web1", Name: "web1", Keys: map[string]string{"project": "p1"}})
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	for _, tt := range []struct{ op, status, want string }{
		{"Backing up instance", "running", "Backing up instance"}, {"Migrating instance", "pending", "Migrating instance"},
		{"Executing command", "running", ""}, {"Showing console", "running", ""}, {"Backing up instance", "success", ""}, {"Stopping instance", "failure", ""},
	} {
		v.set("op", tt.op)
		v.set("opstatus", tt.status)
		v.set("opat", at.Format(time.RFC3339Nano))
		s := v.see()
		if (s.Lock == nil) != (tt.want == "") || s.Lock != nil && (s.Lock.Operation != tt.want || !s.Lock.Since.Equal(at)) {
			v.Errorf("%+v: %+v", tt, s.Lock)
		}
		if s := look(v.T, v.i, "p1_web1"); s.Lock != nil || s.OnPurpose != "" {
			v.Errorf("%+v is not about it: %+v", tt, s)
		}
	}
}

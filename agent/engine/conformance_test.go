package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// The conformance suite: what every engine must do. It runs on real containers wherever the engine itself runs here, and
// on a scripted tool where it does not. An engine adds a line to engines and a yard of its own in a file beside this one.

// A yard is where one engine's containers live. Its methods end the test on failure; none of them goes through the
// engine under test, so that the two check each other.
type yard interface {
	With(t *testing.T) yard // the same, ending another test
	Open(t *testing.T) *engine.Instance
	Make(name string, o made) // defines a container, which does not run
	Run(name string)          // starts it and returns when it runs
	ID(name string) string    // by which the engine knows it
	InitPID(name string) int  // on the host; of a VM, that of its process
	Addrs(name string) []string
	Freeze(name string)
	Thaw(name string)
	Await(name string) // until what runs inside has come so far that a request to stop is heard
	Die(name string)   // kill -9 of its init, or of its process
	Remove(name string)
}

// made is what kind of container a yard makes.
type made struct {
	autostart bool
	failing   bool // its start fails
	broken    bool // its definition cannot be read
}

// subject is one engine as the suite sees it. Its zero value is an engine that can and tells everything.
type subject struct {
	name      string
	yard      func(t *testing.T) yard
	broken    health.RunState       // how it shows a container whose configuration cannot be read; empty: cannot be staged
	gone      health.RunState       // how a look shows one that was deleted
	marks     bool                  // it tells a re-created container from its predecessor
	links     func(yard) []string   // the host interfaces that web1 hangs on; nil: it does not tell
	option    string                // a name that tries to be an option; empty: it allows none
	nobody    string                // an id of its form that no container has; empty: "nosuch"
	comm      string                // of process 1 inside; empty: "init"
	startExit int                   // of a start that fails; 0: 1
	killsDead bool                  // killing what does not run is no error for it
	away      func(*testing.T) bool // has its tests run on a host of their own, and tells so; nil: they run here
	cannot    cannot
}

// cannot is what an engine has no means for, each to be argued for in docs/engines.md.
type cannot struct{ pause, exec, autostart, already bool }

func engines() []subject {
	bridge := func(y yard) []string { return []string{y.(*lxcYard).Bridge()} }
	return []subject{
		{name: "lxc", yard: newLXCYard(openLXC), broken: health.Broken, gone: health.Removed, marks: true, links: bridge, option: "--help"},
		{name: "openvz", yard: newOpenVZYard, broken: health.Missing, gone: health.Removed, marks: true, nobody: "999",
			links: func(yard) []string { return []string{"vzbr0", "venet0"} }, comm: hostComm(), startExit: 47, killsDead: true},
		{name: "docker", yard: newOCIYard("docker", rig.NewDocker), gone: health.Removed, marks: true, nobody: strings.Repeat("0", 64), cannot: cannot{autostart: true}},
		{name: "podman", yard: newOCIYard("podman", rig.NewPodman), gone: health.Removed, marks: true, nobody: strings.Repeat("0", 64), startExit: 125, cannot: cannot{autostart: true}},
		{name: "virtuozzo", yard: newVirtuozzoYard, broken: health.Broken, gone: health.Removed, marks: true, nobody: "00000000-0000-0000-0000-000000000000",
			links: func(yard) []string { return []string{"vzbr0", "venet0"} }, comm: hostComm(), startExit: 255, killsDead: true},
		{name: "lxd", yard: newLXDYard, gone: health.Removed, marks: true, links: func(y yard) []string { return []string{y.(*lxdYard).Bridge()} }},
		{name: "incus", yard: newIncusYard, broken: health.Broken, gone: health.Removed, marks: true, comm: hostComm(), links: func(yard) []string { return []string{"incusbr0"} }},
		{name: "nspawn", away: nspawnAway, yard: newNspawnYard, broken: health.Broken, gone: health.Removed, marks: true, links: func(yard) []string { return []string{"br0"} }, killsDead: true},
		{name: "custom by lines", yard: newLXCYard(openLines), broken: health.Missing, gone: health.Missing, option: "--help"},
		{name: "custom by JSON", yard: newLXCYard(openJSON), broken: health.Broken, gone: health.Missing, marks: true, option: "--help"},
		{name: "libvirt lxc", yard: newLibvirtYard("lxc"), broken: health.Missing, gone: health.Removed, marks: true, option: "--help", comm: "web",
			links: func(y yard) []string { return []string{y.(*libvirtYard).Bridge()} }},
		{name: "libvirt qemu", yard: newLibvirtYard("qemu"), broken: health.Missing, gone: health.Removed, marks: true, option: "--help", cannot: cannot{exec: true},
			links: func(y yard) []string { return []string{y.(*libvirtYard).Bridge()} }},
		proxmoxCTs(),
		proxmoxVMs(),
	}
}

func open(t testing.TB, s engine.Spec) *engine.Instance {
	t.Helper()
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	s.RunDir = t.TempDir()
	i, err := engine.Open(s, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestConformance(t *testing.T) {
	for _, e := range slices.Concat(engines(), farEngines()) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if e.away != nil && e.away(t) {
				return
			}
			y := e.yard(t)
			conform(t, e, y.Open(t), y)
		})
	}
}

// A bench is one engine under test.
type bench struct {
	subject
	i      *engine.Instance
	y      yard
	events *followed
}

func conform(t *testing.T, e subject, i *engine.Instance, y yard) {
	b := &bench{subject: e, i: i, y: y, events: follow(t, i)}
	y.Make("web1", made{autostart: true})
	y.Run("web1")
	y.Make("web2", made{}) // defined and never started
	for _, c := range []struct {
		name string
		run  func(*bench, *testing.T)
		when bool
	}{
		{"list", (*bench).lists, true},
		{"look", (*bench).looks, true},
		{"start and stop", (*bench).startsAndStops, true},
		{"a name that tries to be an option", (*bench).takesOptionName, e.option != ""},
		{"paused", (*bench).showsPaused, !e.cannot.pause},
		{"exec", (*bench).executes, !e.cannot.exec},
		{"killed init", (*bench).outlivesKill, true},
		{"failing start", (*bench).tellsCause, true},
		{"broken", (*bench).showsBroken, e.broken != ""},
		{"deleted and made again", (*bench).tellsAgain, true},
		{"verbs", (*bench).knowsVerbs, true},
	} {
		if c.when {
			t.Run(c.name, func(t *testing.T) {
				here := *b
				here.y = y.With(t)
				c.run(&here, t)
			})
		}
	}
}

func (b *bench) must(t *testing.T, v health.Verb, id string, limit time.Duration) {
	t.Helper()
	if a := b.i.Do(context.Background(), v, id, limit); a.Err != "" {
		t.Fatalf("%s %s: %s (cause %q)", v, id, a.Err, a.Cause)
	}
}

func (b *bench) lists(t *testing.T) {
	id1, id2 := b.y.ID("web1"), b.y.ID("web2")
	l := list(t, b.i)
	web1, web2 := find(t, l, id1), find(t, l, id2)
	if web1.State != health.Running || web1.Init.PID != b.y.InitPID("web1") || (web1.Init.PID != 0) != (web1.Init.Start != 0) {
		t.Errorf("web1 runs with init %d: %+v", b.y.InitPID("web1"), web1)
	}
	if web1.Init.PID != 0 {
		inCgroup(t, web1.Init.PID)
	}
	if web1.Name != "web1" || web1.At.IsZero() || !b.cannot.autostart && web1.Autostart != health.Yes {
		t.Errorf("web1: %+v", web1)
	}
	for _, want := range b.y.Addrs("web1") {
		if !slices.ContainsFunc(web1.Addrs, func(a health.Addr) bool { return a.Prefix.Addr().String() == want }) {
			t.Errorf("web1 has %v, want %v", web1.Addrs, want)
		}
	}
	if web2.State != health.Stopped || web2.Init.PID != 0 || !b.cannot.autostart && web2.Autostart != health.No || len(web2.Addrs) != 0 {
		t.Errorf("web2 was never started: %+v", web2)
	}
	if b.links != nil && !slices.Equal(web1.Links, b.links(b.y)) {
		t.Errorf("web1 hangs on %q, want %q", web1.Links, b.links(b.y))
	}
	if web1.Ref.Engine != b.i.Spec().Engine || web1.Ref.Instance != b.i.Spec().Instance || !b.i.Defined(id1) || l.Degraded != "" {
		t.Errorf("ref %v of %+v, degraded %q", web1.Ref, b.i.Spec(), l.Degraded)
	}
}

func (b *bench) looks(t *testing.T) {
	if s := look(t, b.i, b.y.ID("web1")); s.State != health.Running || s.Init.PID != b.y.InitPID("web1") {
		t.Errorf("web1: %+v", s)
	}
	if s := look(t, b.i, b.y.ID("web2")); s.State != health.Stopped {
		t.Errorf("web2: %+v", s)
	}
	if s, err := b.i.Look(context.Background(), b.unknown(), health.Process{}); err == nil && s.State != b.gone {
		t.Errorf("what does not exist: %+v", s)
	}
	if _, err := b.i.Look(context.Background(), "../web1", health.Process{}); err == nil {
		t.Error("a path was looked at")
	}
}

// unknown is an id of the engine's own form that no container has.
func (b *bench) unknown() string {
	if b.nobody != "" {
		return b.nobody
	}
	return "nosuch"
}

func (b *bench) startsAndStops(t *testing.T) {
	id := b.y.ID("web2")
	b.must(t, health.VerbStart, id, 0)
	awaitState(t, b.i, id, health.Running)
	if a := b.i.Do(context.Background(), health.VerbStart, id, 0); !a.Already && !b.cannot.already || a.Err != "" {
		t.Errorf("start of what runs: %+v", a)
	}
	b.y.Await("web2")
	b.must(t, health.VerbStop, id, 30*time.Second)
	awaitState(t, b.i, id, health.Stopped)
	b.must(t, health.VerbStart, id, 0)
	awaitState(t, b.i, id, health.Running)
	b.must(t, health.VerbKill, id, 0)
	awaitState(t, b.i, id, health.Stopped)
	if a := b.i.Do(context.Background(), health.VerbKill, id, 0); a.Err == "" && !b.killsDead {
		t.Errorf("kill of what does not run: %+v", a)
	}
	if b.i.Can(health.VerbRestart) {
		b.must(t, health.VerbStart, id, 0)
		awaitState(t, b.i, id, health.Running)
		before := look(t, b.i, id).Init
		b.must(t, health.VerbRestart, id, 0)
		eventually(t, "it was restarted", func() bool {
			s, err := b.i.Look(context.Background(), id, health.Process{})
			return err == nil && s.State == health.Running && (s.Init != before || before.PID == 0)
		})
		b.must(t, health.VerbKill, id, 0)
		awaitState(t, b.i, id, health.Stopped)
	}
}

func (b *bench) takesOptionName(t *testing.T) {
	b.y.Make(b.option, made{})
	id := b.y.ID(b.option)
	if s := find(t, list(t, b.i), id); s.State != health.Stopped {
		t.Fatalf("%+v", s)
	}
	b.must(t, health.VerbStart, id, 0)
	awaitState(t, b.i, id, health.Running)
	b.must(t, health.VerbKill, id, 0)
}

func (b *bench) showsPaused(t *testing.T) {
	b.y.Freeze("web1")
	defer b.y.Thaw("web1")
	if s := find(t, list(t, b.i), b.y.ID("web1")); s.State != health.Paused {
		t.Errorf("list: %+v", s)
	}
	if s := look(t, b.i, b.y.ID("web1")); s.State != health.Paused {
		t.Errorf("look: %+v", s)
	}
}

func (b *bench) executes(t *testing.T) {
	out := b.i.Exec(context.Background(), b.y.ID("web1"), []string{"sh", "-c", "echo in $(cat /proc/1/comm); exit 7"}, 10*time.Second)
	if out.Exit != 7 || !strings.Contains(string(out.Stdout), "in "+cmp.Or(b.comm, "init")) {
		t.Errorf("exit %d, %q %q %s", out.Exit, out.Stdout, out.Stderr, out.Failure)
	}
}

func (b *bench) outlivesKill(t *testing.T) {
	id := b.y.ID("web1")
	before := find(t, list(t, b.i), id).Init
	b.noticed(t, before)
	s, err := b.i.Look(context.Background(), id, before)
	if err != nil || s.State != health.Stopped || s.Init.PID != 0 {
		t.Errorf("look at the dead: %+v, %v", s, err)
	}
	if s.OnPurpose != "" || s.Finished {
		t.Errorf("it was killed, and nobody stopped it: %+v", s)
	}
	b.must(t, health.VerbStart, id, 0)
	awaitState(t, b.i, id, health.Running)
	if s := look(t, b.i, id); s.Init == before && before.PID != 0 {
		t.Errorf("a new life has the init of the old one: %+v", s.Init)
	}
}

func (b *bench) tellsCause(t *testing.T) {
	b.y.Make("noinit", made{failing: true})
	id := b.y.ID("noinit")
	list(t, b.i)
	a := b.i.Do(context.Background(), health.VerbStart, id, 0)
	if a.Err == "" || a.Cause == "" || a.Already || a.Transcript.Exit != cmp.Or(b.startExit, 1) {
		t.Errorf("%+v", a)
	}
	awaitState(t, b.i, id, health.Stopped)
	b.y.Remove("noinit")
}

func (b *bench) showsBroken(t *testing.T) {
	b.y.Make("odd", made{broken: true})
	l := list(t, b.i)
	got := health.Missing
	if s := peek(l, b.y.ID("odd")); s != nil {
		got = s.State
	}
	if got != b.broken {
		t.Errorf("broken shows as %s, want %s", got, b.broken)
	}
	if find(t, l, b.y.ID("web1")).State != health.Running {
		t.Error("the others are no longer watched")
	}
	b.y.Remove("odd")
}

func (b *bench) tellsAgain(t *testing.T) {
	id := b.y.ID("web2")
	was := find(t, list(t, b.i), id)
	b.y.Remove("web2")
	if s := peek(list(t, b.i), id); s != nil {
		t.Errorf("deleted, and listed: %+v", s)
	}
	if s := look(t, b.i, id); s.State != b.gone {
		t.Errorf("deleted: %+v, want %s", s, b.gone)
	}
	b.y.Make("web2", made{})
	is := find(t, list(t, b.i), b.y.ID("web2"))
	if b.marks && (was.Mark == "" || was.Mark == is.Mark) {
		t.Errorf("the new container has the mark of the old one: %q, %q", was.Mark, is.Mark)
	}
}

func (b *bench) knowsVerbs(t *testing.T) {
	for _, v := range []health.Verb{health.VerbStart, health.VerbStop, health.VerbKill} {
		if !b.i.Can(v) || b.i.Limit(v) <= 0 {
			t.Errorf("%s: %v, limit %v", v, b.i.Can(v), b.i.Limit(v))
		}
	}
	if a := b.i.Do(context.Background(), health.VerbMove, b.y.ID("web1"), 0); b.i.Can(health.VerbMove) || a.Err == "" {
		t.Errorf("move: %+v", a)
	}
	if a := b.i.Do(context.Background(), health.VerbKill, "a/../web1", 0); a.Err == "" || a.Transcript.PID != 0 {
		t.Errorf("a path was killed: %+v", a)
	}
	if b.option == "" { // no container can be called so: it must not come as far as a command line
		for _, id := range []string{"--help", "-k"} {
			if a := b.i.Do(context.Background(), health.VerbStart, id, 0); a.Err == "" || a.Transcript.PID != 0 {
				t.Errorf("%q reached the tool: %+v", id, a)
			}
		}
	}
}

func list(t testing.TB, i *engine.Instance, live ...health.Ref) engine.Listing {
	t.Helper()
	l, err := i.List(context.Background(), live)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func look(t testing.TB, i *engine.Instance, id string) health.Sighting {
	t.Helper()
	s, err := i.Look(context.Background(), id, health.Process{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func peek(l engine.Listing, id string) *health.Sighting {
	for _, s := range l.Containers {
		if s.Ref.ID == id {
			return &s
		}
	}
	return nil
}

func find(t testing.TB, l engine.Listing, id string) health.Sighting {
	t.Helper()
	s := peek(l, id)
	if s == nil {
		t.Fatalf("%q is not listed among %s", id, fmt.Sprint(l.Containers))
	}
	return *s
}

func awaitState(t testing.TB, i *engine.Instance, id string, want health.RunState) {
	t.Helper()
	eventually(t, id+" is "+string(want), func() bool {
		s, err := i.Look(context.Background(), id, health.Process{})
		return err == nil && s.State == want
	})
}

// eventually polls, with a deadline that a busy machine keeps.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := scripted.Patience(20 * time.Second)
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", limit, what)
}

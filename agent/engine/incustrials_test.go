package engine_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// The trials of Incus, on a scripted client.
func incusTrials() stager {
	met := func(runs ...func(*incusTest)) stand[struct{}] {
		var s stand[struct{}]
		for _, run := range runs {
			s.by = append(s.by, alone[struct{}](func(t *testing.T) { run(newIncusTest(t)) }))
		}
		return s
	}
	type v = *incusTest
	missed := met(v.cluster)
	missed.never = lxdNeverMissing
	return stages("incus", func(*testing.T) struct{} { return struct{}{} }, nil, map[trial]stand[struct{}]{
		found:         met(v.found),
		missing:       missed,
		rebooted:      met(v.reboots),
		ignores:       met(v.ignores),
		failsToStart:  met(v.causes),
		startLies:     met(v.startLies, v.startsLate),
		locked:        met(v.locks),
		staleLock:     {never: lxdNoStaleLock},
		daemonStopped: met(v.daemonStopped),
		daemonHung:    met(v.daemonHung),
		daemonAnew:    met(v.daemonAnew),
		oneHangs:      met(v.hangs),
		renamed:       met(v.renamed),
		halfMade:      met(v.halfMade),
		breaks:        met(v.breaks),
		addresses:     met(v.addresses),
		whoStopped:    met(v.whoStopped, v.dies, v.events),
		others:        met(v.supervised),
		strange:       met(v.strange),
		oneProcess:    met(v.costs),
		takesOver:     met(v.takesOver),
		keeps:         met(v.keeps, v.backsUp),
	})
}

func (v *incusTest) found() {
	rig.Require(v.T, "root")
	v.WriteFile("database/global/db.bin", "")
	foundIn(v.T, "incus", map[string]string{v.Root(): "/var/lib/incus", v.Bin(): "/usr/local/bin"})
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

func (v *incusTest) renamed() {
	v.Make("old", made{})
	was := find(v.T, list(v.T, v.i), "old")
	told := v.follow()
	v.RenameIncus("old", "new")
	eventually(v.T, "all is listed anew", func() bool { return told("") })
	l := list(v.T, v.i)
	if s := find(v.T, l, "new"); s.Mark != was.Mark || s.Mark == "" || peek(l, "old") != nil {
		v.Errorf("%+v", l)
	}
	if s := look(v.T, v.i, "old"); s.State != health.Removed {
		v.Errorf("%+v", s)
	}
}

// What is being made is there, stopped and held.
func (v *incusTest) halfMade() {
	v.AddIncus(scripted.Container{ID: "copy", Name: "copy", UUID: "c", Keys: map[string]string{"op": "Creating instance", "opstatus": "running", "opat": time.Now().Format(time.RFC3339Nano)}})
	if s := look(v.T, v.i, "copy"); s.State != health.Stopped || s.Lock == nil || s.Lock.Operation != "Creating instance" {
		v.Errorf("%+v %+v", s, s.Lock)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "copy", 0); a.Cause != `Failed to create instance start operation: Instance is busy running a "create" operation` {
		v.Errorf("%+v", a)
	}
}

func (v *incusTest) breaks() {
	before := v.see()
	v.set("fails", "start-disk")
	for what, s := range map[string]health.Sighting{"list": v.listed(), "look": v.see()} {
		if s.State != health.Running || s.Init != before.Init {
			v.Errorf("%s: %+v", what, s)
		}
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); !a.Already || a.Err != "" {
		v.Errorf("%+v", a)
	}
	v.Kill9("web1")
	if s, err := v.i.Look(context.Background(), "web1", before.Init); err != nil || s.State != health.Stopped {
		v.Errorf("%+v %v", s, err)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Cause != `Failed start validation for device "d": Missing source path "/srv/gone" for disk "d"` {
		v.Errorf("%+v", a)
	}
}

func (v *incusTest) addresses() {
	for _, addrs := range [][]string{{"10.82.0.11"}, {"fd00::11"}, {"10.82.0.11", "10.82.0.12", "fd00::11"}, {}} {
		v.Update("web1", func(c *scripted.Container) { c.Addrs = addrs })
		for what, s := range map[string]health.Sighting{"list": v.listed(), "look": v.see()} {
			var got []string
			for _, a := range s.Addrs {
				got = append(got, a.Prefix.Addr().String())
			}
			if !slices.Equal(got, addrs) {
				v.Errorf("%s: %q, want %q", what, got, addrs)
			}
		}
	}
}

func (v *incusTest) supervised() {
	config := v.see().Config
	v.set("autorestart", "true")
	v.set("origin", "node2")
	for what, s := range map[string]health.Sighting{"list": v.listed(), "look": v.see()} {
		if s.Supervisor != "incus (boot.autorestart)" || s.Lock == nil || s.Lock.Operation != "evacuation from cluster member node2" || s.Config == config {
			v.Errorf("%s: %+v %+v", what, s, s.Lock)
		}
	}
}

func (v *incusTest) strange() {
	strangeAnswers(v.T, "web1", func(w *retold) *engine.Instance {
		w.Runner = runnerOf(v.T)
		return v.by(w, 0)
	})
}

// by is another agent's instance, by a Runner of its own.
func (v *incusTest) by(w engine.Runner, timeout time.Duration) *engine.Instance {
	v.Helper()
	i, err := engine.Open(engine.Spec{Engine: "incus", Bin: v.Bin(), Root: v.Root(), Timeout: timeout, RunDir: v.TempDir(), Backups: v.File("backups")}, w, nil)
	if err != nil {
		v.Fatal(err)
	}
	return i
}

func (v *incusTest) costs() {
	w := &watched{Runner: runnerOf(v.T)}
	i := v.by(w, 0)
	for n := range 3 {
		v.Make(fmt.Sprintf("more%d", n), made{})
		before := w.reads.Load()
		list(v.T, i)
		if got := w.reads.Load() - before; got != 1 {
			v.Errorf("%d processes for a list", got)
		}
	}
}

func (v *incusTest) takesOver() {
	for _, id := range []string{"frozen", "dead", "off"} {
		v.Make(id, made{})
		v.incusYard.Run(id)
	}
	v.Freeze("frozen")
	v.Kill9("dead")
	v.StopIncus("off", "alice")
	i := v.Open(v.T)
	off, l := look(v.T, i, "off"), list(v.T, i)
	for id, want := range map[string]health.RunState{"web1": health.Running, "frozen": health.Paused, "dead": health.Stopped, "off": health.Stopped} {
		if s := find(v.T, l, id); s.State != want || (want != health.Stopped) != (s.Init.PID != 0) || id == "dead" && s.OnPurpose != "" {
			v.Errorf("%+v", s)
		}
	}
	if off.OnPurpose != `its operation "Stopping instance"` {
		v.Errorf("%+v", off)
	}
}

package engine_test

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The trials of LXD, on its real daemon.
func lxdTrials() stager {
	type h = *lxdBench
	return stages("lxd", newLXDBench, nil, map[trial]stand[h]{
		found:         by(h.found),
		missing:       {by: []func(h, *testing.T){h.storageAway}, never: lxdNeverMissing},
		rebooted:      by(h.reboots),
		ignores:       by(h.ignores),
		failsToStart:  by(h.failsToStart),
		startLies:     by(h.startLies),
		locked:        by(h.locked),
		staleLock:     {never: lxdNoStaleLock},
		daemonStopped: by(h.daemonStopped),
		daemonHung:    by(h.daemonHung),
		daemonAnew:    by(h.daemonAnew),
		oneHangs:      by(h.othersStayWatched),
		renamed:       by(h.renamed),
		halfMade:      by(h.halfMade),
		breaks:        by(h.breaks),
		addresses:     by(h.addresses, h.projects),
		whoStopped:    by(h.operations, h.dies, h.events, h.ownStops),
		others:        {never: "LXD 5.0 restarts nothing by itself, and knows no other that would."},
		strange:       by(h.strange),
		oneProcess:    by(h.costs),
		takesOver:     by(h.takesOver),
		keeps:         by(h.keeps, h.backsUp),
	})
}

// Of LXD and of Incus.
const (
	lxdNeverMissing = "Its daemon keeps the definitions in a database of its own: what it has no more is removed."
	lxdNoStaleLock  = "Its locks live in its daemon, and end with it."
)

// lxdBench is a daemon with web1, web2 and, in the project p1, another web1, all of which run.
type lxdBench struct {
	*rig.LXD
	i *engine.Instance
	w *watched
}

func newLXDBench(t *testing.T) *lxdBench {
	rig.Require(t, "root", "lxd", "busybox")
	r := rig.NewLXD(t)
	i, w := lxdOpen(t, r, 10*time.Second)
	if l := list(t, i); len(l.Containers) != 0 {
		t.Fatalf("an empty daemon: %+v", l)
	}
	r.MakeProject("p1")
	b := &lxdBench{r, i, w}
	for _, name := range []string{"web1", "web2", "p1_web1"} {
		b.run(t, name, "-c", "boot.autostart=true")
	}
	return b
}

// on is the bench of one trial.
func (b *lxdBench) on(t *testing.T) *lxdBench { return &lxdBench{b.With(t), b.i, b.w} }

// beside is that of a trial that runs beside others, once those have ended that stop all: with containers of its own.
func (b *lxdBench) beside(t *testing.T) *lxdBench { t.Parallel(); return b.on(t) }

// run makes a container and has it serve.
func (b *lxdBench) run(t *testing.T, id string, options ...string) {
	t.Helper()
	b.Make(id, options...)
	b.Start(id)
	b.serves(t, id)
}

// serves waits until its init has come so far that it heeds signals.
func (b *lxdBench) serves(t *testing.T, id string) {
	t.Helper()
	if _, err := rig.WaitHTTP(context.Background(), "http://"+b.Addr(id).String()+"/", 20*time.Second); err != nil {
		t.Fatal(err)
	}
}

// up has a container run, and gives its init.
func (b *lxdBench) up(t *testing.T, id string) health.Process {
	t.Helper()
	if look(t, b.i, id).State != health.Running {
		b.Start(id)
	}
	awaitState(t, b.i, id, health.Running)
	return look(t, b.i, id).Init
}

// die kills a container's init, and returns when it is dead.
func (b *lxdBench) die(t *testing.T, id string) {
	t.Helper()
	pid := b.Kill9(id)
	eventually(t, "its init ends", func() bool { return syscall.Kill(pid, 0) != nil })
}

func (b *lxdBench) found(t *testing.T) {
	foundIn(t, "lxd", map[string]string{b.Path(): "/var/lib/lxd"})
}

// What lies in a pool that is away is stopped, and not gone; a start tells why it cannot be.
func (b *lxdBench) storageAway(t *testing.T) {
	b = b.on(t)
	b.Make("away")
	defer b.Remove("away")
	defer b.HideRootfs("away")()
	if s := find(t, list(t, b.i), "away"); s.State != health.Stopped || !b.i.Defined("away") {
		t.Errorf("%+v", s)
	}
	b.Make("gone")
	list(t, b.i)
	b.Remove("gone")
	if s := look(t, b.i, "gone"); s.State != health.Removed || peek(list(t, b.i), "gone") != nil {
		t.Errorf("%+v", s)
	}
}

// It renames what is stopped only. The new name is another container's, with the old one's mark.
func (b *lxdBench) renamed(t *testing.T) {
	b = b.beside(t)
	if _, err := b.Try("rename", "web1", "web9"); err == nil {
		t.Error("what runs was renamed")
	}
	told := b.follow(t)
	b.Make("old")
	was := find(t, list(t, b.i), "old")
	b.Run("rename", "old", "new")
	defer b.Remove("new")
	l := list(t, b.i)
	if s := find(t, l, "new"); s.Mark != was.Mark || s.Mark == "" || s.State != health.Stopped || peek(l, "old") != nil {
		t.Errorf("%+v", l)
	}
	if s := look(t, b.i, "old"); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
	eventually(t, "all is listed anew", func() bool { return slices.Contains(told(), "") })
}

// What is being copied is there and stopped, and held as long; so is what it is copied from.
func (b *lxdBench) halfMade(t *testing.T) {
	b = b.beside(t)
	b.Make("source")
	defer b.Remove("source")
	release := b.HoldCopy("source", "copy")
	for _, id := range []string{"copy", "source"} {
		if s := look(t, b.i, id); s.State != health.Stopped || s.Lock == nil || s.Lock.Operation != "Creating instance" || s.Lock.Since.IsZero() {
			t.Errorf("%s: %+v, %+v", id, s, s.Lock)
		}
	}
	if s := find(t, list(t, b.i), "copy"); s.State != health.Stopped || s.Autostart == health.Yes {
		t.Errorf("%+v", s)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "copy", 0); a.Cause != `Failed to create instance start operation: Instance is busy running a "create" operation` {
		t.Errorf("%+v", a)
	}
	release()
	eventually(t, "what was not made is gone", func() bool { return look(t, b.i, "copy").State == health.Removed })
	if s := look(t, b.i, "source"); s.Lock != nil {
		t.Errorf("%+v", s.Lock)
	}
	b.Run("snapshot", "source", "before")
	if l := list(t, b.i); slices.ContainsFunc(l.Containers, func(s health.Sighting) bool { return strings.Contains(s.Name, "before") }) {
		t.Errorf("a snapshot is listed: %+v", l)
	}
}

// A profile is changed for all who have it, also where it then makes no sense.
func (b *lxdBench) breaks(t *testing.T) {
	b = b.beside(t)
	b.run(t, "frail")
	defer b.Remove("frail")
	before := find(t, list(t, b.i), "frail")
	b.Run("profile", "create", "bad")
	b.Run("profile", "add", "frail", "bad")
	if _, err := b.Try("profile", "device", "add", "bad", "d", "disk", "source=/nosuch", "path=/mnt"); err == nil {
		t.Fatal("the profile was not refused")
	}
	for what, s := range map[string]health.Sighting{"list": find(t, list(t, b.i), "frail"), "look": look(t, b.i, "frail")} {
		if s.State != health.Running || s.Init != before.Init || s.Config == before.Config {
			t.Errorf("%s: %+v, was %+v", what, s, before)
		}
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "frail", 0); !a.Already || a.Err != "" {
		t.Errorf("%+v", a)
	}
	b.die(t, "frail")
	if s, err := b.i.Look(context.Background(), "frail", before.Init); err != nil || s.State != health.Stopped {
		t.Errorf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "frail", 0); a.Cause != `Failed start validation for device "d": Missing source path "/nosuch" for disk "d"` {
		t.Errorf("%+v", a)
	}
	b.Run("profile", "remove", "frail", "bad")
	b.Run("profile", "delete", "bad")
}

func (b *lxdBench) addresses(t *testing.T) {
	b = b.beside(t)
	b.run(t, "many")
	defer b.Remove("many")
	addrs := func(id string) (out []string) {
		for _, a := range find(t, list(t, b.i), id).Addrs {
			out = append(out, a.Iface+" "+a.Prefix.String())
		}
		slices.Sort(out)
		return out
	}
	own := "eth0 " + b.Addr("many").String() + "/24"
	b.Run("exec", "many", "--", "ip", "-6", "addr", "add", "fd00:77::11/64", "dev", "eth0")
	b.Run("exec", "many", "--", "ip", "addr", "add", "192.0.2.7/32", "dev", "eth0")
	if got, want := addrs("many"), []string{own, "eth0 192.0.2.7/32", "eth0 fd00:77::11/64"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	b.Make("mute")
	defer b.Remove("mute")
	b.Run("config", "device", "add", "mute", "eth0", "none")
	b.Start("mute")
	if s := find(t, list(t, b.i), "mute"); s.State != health.Running || len(s.Addrs) != 0 || len(s.Links) != 0 {
		t.Errorf("it has no network: %+v", s)
	}
}

func (b *lxdBench) projects(t *testing.T) {
	b = b.on(t)
	for _, id := range []string{"web1", "web2", "p1_web1"} {
		b.up(t, id)
	}
	l := list(t, b.i)
	for _, id := range []string{"web1", "web2", "p1_web1"} {
		if s := find(t, l, id); s.Name != id || s.Init.PID != b.InitPID(id) || !slices.ContainsFunc(s.Addrs, func(a health.Addr) bool { return a.Prefix.Addr() == b.Addr(id) }) {
			t.Errorf("%+v", s)
		}
	}
	if a := b.i.Do(context.Background(), health.VerbKill, "p1_web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	l = list(t, b.i)
	if find(t, l, "p1_web1").State != health.Stopped || find(t, l, "web1").State != health.Running {
		t.Errorf("%+v", l)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "p1_web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	for _, id := range []string{"p1_nosuch", "nosuch_web1"} {
		if s := look(t, b.i, id); s.State != health.Removed {
			t.Errorf("%s: %+v", id, s)
		}
	}
}

func (b *lxdBench) strange(t *testing.T) {
	b = b.on(t)
	b.up(t, "web1")
	strangeAnswers(t, "web1", func(w *retold) *engine.Instance {
		w.Runner = runnerOf(t)
		i, err := engine.Open(engine.Spec{Engine: "lxd", Path: b.Path(), Bin: "/usr/bin", RunDir: t.TempDir()}, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		return i
	})
}

func (b *lxdBench) costs(t *testing.T) {
	before := b.w.reads.Load()
	list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
}

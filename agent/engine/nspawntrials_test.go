package engine_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// The trials of systemd-nspawn, on a real systemd: on a host of its own, see nspawnAway.
func nspawnTrials() stager {
	type h = *nspawnBench
	return stages("nspawn", newNspawnBench, nspawnAway, map[trial]stand[h]{
		found:         by(h.found),
		missing:       by(h.storageAway),
		rebooted:      by(h.reboots),
		ignores:       {by: []func(h, *testing.T){h.ignores}, never: ociKills},
		failsToStart:  by(h.failsToStart, h.isRepaired),
		startLies:     by(h.startLies),
		locked:        by(h.locked),
		staleLock:     {never: "Its jobs live in systemd, and end with it; the kernel drops the lock of an image with the process that held it."},
		daemonStopped: by(h.daemonStopped),
		daemonHung:    by(h.daemonHung),
		daemonAnew:    by(h.daemonAnew),
		oneHangs:      by(h.monitorHangs, h.machinedHangs),
		renamed:       by(h.renamed),
		halfMade:      by(h.halfMade),
		breaks:        by(h.breaks),
		addresses:     by(h.addresses),
		whoStopped:    by(h.stops, h.ownStops, h.powersOff, h.dies),
		others:        by(h.restartPolicy, h.stray),
		strange:       by(h.strange),
		oneProcess:    by(h.costs),
		takesOver:     by(h.takesOver),
		keeps:         by(h.keeps),
	})
}

// nspawnBench is that host, with db1 and db2.
type nspawnBench struct {
	*nspawnYard
	i *engine.Instance
	w *watched
}

func newNspawnBench(t *testing.T) *nspawnBench {
	b := &nspawnBench{nspawnYard: &nspawnYard{rig.NewNspawn(t), t}}
	b.i, b.w = nspawnOpen(t, engine.Spec{})
	b.Make("db1", made{})
	b.Make("db2", made{})
	b.Run("db1")
	b.Run("db2")
	return b
}

// nspawnOpen is an instance whose processes are counted.
func nspawnOpen(t *testing.T, s engine.Spec) (*engine.Instance, *watched) {
	t.Helper()
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	s.Engine, s.RunDir = "nspawn", t.TempDir()
	i, err := engine.Open(s, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

// on is the bench of one trial.
func (b *nspawnBench) on(t *testing.T) *nspawnBench {
	return &nspawnBench{&nspawnYard{b.Nspawn.With(t), t}, b.i, b.w}
}

// beside is that of a trial that runs beside others, once those have ended that stir up all: with machines of its own.
func (b *nspawnBench) beside(t *testing.T) *nspawnBench { t.Parallel(); return b.on(t) }

// made makes a machine for one trial, which its end removes.
func (b *nspawnBench) made(t *testing.T, name string) {
	t.Helper()
	b.Make(name, made{})
	t.Cleanup(func() { b.Remove(name) })
}

// up has a machine run, and gives its init.
func (b *nspawnBench) up(t *testing.T, id string) health.Process {
	t.Helper()
	if look(t, b.i, id).State != health.Running {
		b.Run(id)
	}
	s := look(t, b.i, id)
	if s.State != health.Running || s.Init.PID != b.InitPID(id) {
		t.Fatalf("%+v", s)
	}
	return s.Init
}

// ends waits until a process has ended.
func ends(t *testing.T, p health.Process) {
	t.Helper()
	eventually(t, "its init ends", func() bool { return syscall.Kill(p.PID, 0) != nil })
}

func (b *nspawnBench) found(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "web1"), 0o755); err != nil {
		t.Fatal(err)
	}
	foundIn(t, "nspawn", map[string]string{dir: "/var/lib/machines"})
}

// With another folder mounted over that of the machines, what runs is seen, what is enabled is missing, and of what is not
// listed the place tells that nothing was removed.
func (b *nspawnBench) storageAway(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	b.made(t, "off")
	b.made(t, "wanted")
	b.Enable("wanted")
	was, place := find(t, list(t, b.i), "off"), b.i.Place()
	if err := syscall.Mount("none", "/var/lib/machines", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	over := func() { _ = syscall.Unmount("/var/lib/machines", syscall.MNT_DETACH) }
	t.Cleanup(over)
	l := list(t, b.i)
	if s := find(t, l, "db1"); s.State != health.Running || s.Init != before {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "wanted"); s.State != health.Missing || !b.i.Defined("wanted") {
		t.Errorf("%+v", s)
	}
	if s := look(t, b.i, "wanted"); s.State != health.Missing {
		t.Errorf("%+v", s)
	}
	if away := b.i.Place(); peek(l, "off") != nil || away == "" || away == place {
		t.Errorf("%+v, in %q, which was %q", l, away, place)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "wanted", 0); a.Err == "" || !strings.Contains(a.Cause, "wanted") {
		t.Errorf("%+v", a)
	}
	over()
	if s := find(t, list(t, b.i), "off"); s.State != health.Stopped || s.Mark != was.Mark || b.i.Place() != place {
		t.Errorf("%+v", s)
	}
	b.Remove("off")
	if s := look(t, b.i, "off"); s.State != health.Removed || peek(list(t, b.i), "off") != nil || b.i.Defined("off") {
		t.Errorf("%+v", s)
	}
}

// What runs is not renamed. The new name is another machine's, with the old one's mark.
func (b *nspawnBench) renamed(t *testing.T) {
	b = b.on(t)
	b.up(t, "db1")
	if out, err := exec.Command("machinectl", "rename", "db1", "db9").CombinedOutput(); err == nil {
		t.Errorf("what runs was renamed: %s", out)
	}
	b.made(t, "old")
	was := find(t, list(t, b.i), "old")
	b.Nspawn.Run("machinectl", "rename", "old", "new")
	t.Cleanup(func() { b.Remove("new") })
	l := list(t, b.i)
	if s := find(t, l, "new"); s.Mark != was.Mark || s.Mark == "" || s.State != health.Stopped || peek(l, "old") != nil {
		t.Errorf("%+v, was %+v", l, was)
	}
	if s := look(t, b.i, "old"); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
}

// What is being imported or cloned is none yet; it is one when it is whole.
func (b *nspawnBench) halfMade(t *testing.T) {
	b = b.beside(t)
	tar, err := exec.Command("tar", "-C", b.Root("db1"), "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("machinectl", "import-tar", "-", "half")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait(); b.Remove("half") })
	if _, err := in.Write(tar[:len(tar)/2]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "half of it is there", func() bool { found, _ := filepath.Glob("/var/lib/machines/.#*half*"); return len(found) > 0 })
	l := list(t, b.i)
	if s := look(t, b.i, "half"); s.State != health.Removed || slices.ContainsFunc(l.Containers, func(s health.Sighting) bool { return strings.Contains(s.Name, "half") }) {
		t.Errorf("%+v, %+v", s, l)
	}
	if _, err := in.Write(tar[len(tar)/2:]); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the import: %v", err)
	}
	if s := find(t, list(t, b.i), "half"); s.State != health.Stopped || s.Autostart == health.Yes {
		t.Errorf("%+v", s)
	}
}

// A unit that can no longer be read runs on, and is no death. It is not started, and a start says that it runs.
func (b *nspawnBench) breaks(t *testing.T) {
	b = b.beside(t)
	b.made(t, "frail")
	before := b.up(t, "frail")
	was := find(t, list(t, b.i), "frail")
	b.Break("frail")
	for what, s := range map[string]health.Sighting{"list": find(t, list(t, b.i), "frail"), "look": look(t, b.i, "frail")} {
		if s.State != health.Running || s.Init != before || s.Config == was.Config {
			t.Errorf("%s: %+v, was %+v", what, s, was)
		}
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "frail", 0); !a.Already || a.Err != "" {
		t.Errorf("%+v", a)
	}
	b.Kill9("frail")
	ends(t, before)
	if s, err := b.i.Look(context.Background(), "frail", before); err != nil || s.State != health.Broken || !strings.Contains(s.Detail, "bad unit file setting") {
		t.Errorf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "frail", 0); !strings.Contains(a.Cause, "bad unit file setting") {
		t.Errorf("%+v", a)
	}
}

func (b *nspawnBench) addresses(t *testing.T) {
	b = b.beside(t)
	b.made(t, "many")
	b.made(t, "mute")
	b.Settings("mute", "[Exec]\nPrivateUsers=no\nLinkJournal=no\nKillSignal=SIGUSR2\n[Network]\nPrivate=yes\n")
	b.Start("mute")
	b.Prepend("many", "ifconfig host0 up; ifconfig host0:1 192.0.2.7 netmask 255.255.255.255 up; ip -6 addr add fd00:77::11/64 dev host0\n")
	b.Run("many")
	addrs := func() (out []string) {
		for _, a := range find(t, list(t, b.i), "many").Addrs {
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				out = append(out, a.Prefix.Addr().String())
			}
		}
		slices.Sort(out)
		return out
	}
	want := []string{b.Addr("many").String(), "192.0.2.7", "fd00:77::11"}
	slices.Sort(want)
	if got := addrs(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s := find(t, list(t, b.i), "mute"); s.State != health.Running || len(s.Addrs) != 0 || len(s.Links) != 0 {
		t.Errorf("it has no network: %+v", s)
	}
}

func (b *nspawnBench) costs(t *testing.T) {
	b = b.on(t)
	b.up(t, "db1")
	for range 7 { // one that never has an address is no longer asked about
		list(t, b.i)
	}
	before := b.w.reads.Load()
	l := list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
	if s := find(t, l, "db1"); len(s.Addrs) == 0 || s.Addrs[0].Prefix.Addr() != b.Addr("db1") {
		t.Errorf("%+v", s)
	}
}

// An agent that begins finds what runs, what is paused, what died unseen, what a person stopped, and what an agent did.
func (b *nspawnBench) takesOver(t *testing.T) {
	b = b.beside(t)
	runs := b.up(t, "db1")
	for _, id := range []string{"frozen", "dead", "off", "ours"} {
		b.made(t, id)
		b.up(t, id)
	}
	paused := look(t, b.i, "frozen").Init
	b.Freeze("frozen")
	defer b.Thaw("frozen")
	b.Kill9("dead")
	b.Nspawn.Run("systemctl", "stop", "systemd-nspawn@off")
	if a := b.i.Do(context.Background(), health.VerbStop, "ours", time.Minute); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, b.i, "dead", health.Stopped)
	i, _ := nspawnOpen(t, engine.Spec{})
	l := list(t, i)
	if s := find(t, l, "db1"); s.State != health.Running || s.Init != runs {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "frozen"); s.State != health.Paused || s.Init != paused {
		t.Errorf("%+v", s)
	}
	for id, why := range map[string]string{"dead": "", "off": "a stop job of systemd", "ours": ""} {
		if s := find(t, l, id); s.State != health.Stopped || s.OnPurpose != why || s.Init.PID != 0 {
			t.Errorf("%+v", s)
		}
	}
}

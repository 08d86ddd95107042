package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// Who stopped a machine, and who looks after it.

// A person's stop by each way in.
func (b *nspawnBench) stops(t *testing.T) {
	b = b.on(t)
	for _, argv := range [][]string{
		{"systemctl", "stop", "systemd-nspawn@db1"}, {"machinectl", "terminate", "db1"},
		{"busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StopUnit", "ss", "systemd-nspawn@db1.service", "replace"},
	} {
		before := b.up(t, "db1")
		b.Nspawn.Run(argv...)
		eventually(t, "it is stopped", func() bool {
			s, err := b.i.Look(context.Background(), "db1", before)
			return err == nil && s.State == health.Stopped
		})
		if s := look(t, b.i, "db1"); s.OnPurpose != "a stop job of systemd" {
			t.Errorf("%q: %+v", argv, s)
		}
		if s := find(t, list(t, b.i), "db1"); s.OnPurpose != "a stop job of systemd" {
			t.Errorf("%q: %+v", argv, s)
		}
	}
	before := b.up(t, "db1")
	b.Nspawn.Run("systemctl", "kill", "--signal=SIGKILL", "systemd-nspawn@db1")
	ends(t, before)
	if s, err := b.i.Look(context.Background(), "db1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "systemctl kill" || s.Detail != "failed: signal 9" {
		t.Errorf("%+v %v", s, err)
	}
}

// Our own stops are nobody's, for an agent after this one, too. A person's that follows soon is his, if it was started in
// between.
func (b *nspawnBench) ownStops(t *testing.T) {
	b = b.on(t)
	for _, v := range []health.Verb{health.VerbStop, health.VerbKill} {
		b.up(t, "db1")
		if a := b.i.Do(context.Background(), v, "db1", 0); a.Err != "" {
			t.Fatalf("%s: %+v", v, a)
		}
		awaitState(t, b.i, "db1", health.Stopped)
		next, _ := nspawnOpen(t, engine.Spec{})
		for _, i := range []*engine.Instance{b.i, next} {
			if s := look(t, i, "db1"); s.OnPurpose != "" {
				t.Errorf("%s: it was us: %+v", v, s)
			}
		}
	}
	b.up(t, "db1")
	b.Nspawn.Run("systemctl", "stop", "systemd-nspawn@db1")
	if s := look(t, b.i, "db1"); s.OnPurpose != "a stop job of systemd" {
		t.Errorf("after ours, a person's: %+v", s)
	}
}

// A guest's own poweroff, and "machinectl poweroff", which asks its init for one.
func (b *nspawnBench) powersOff(t *testing.T) {
	b = b.on(t)
	for _, off := range []func(){
		func() { b.Inside("db1", "poweroff") },
		func() { b.Nspawn.Run("machinectl", "kill", "--kill-whom=leader", "--signal=SIGUSR2", "db1") }, // what busybox's init takes for one
	} {
		before := b.up(t, "db1")
		off()
		ends(t, before)
		if s, err := b.i.Look(context.Background(), "db1", before); err != nil || s.State != health.Stopped || !strings.Contains(s.OnPurpose, "poweroff inside") {
			t.Errorf("%+v %v", s, err)
		}
	}
}

func (b *nspawnBench) reboots(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	b.Inside("db1", "reboot")
	ends(t, before)
	s, err := b.i.Look(context.Background(), "db1", before)
	if err != nil || s.State != health.Running || s.Init == before || s.Init.PID != b.InitPID("db1") {
		t.Errorf("a reboot is no death: %+v %v", s, err)
	}
}

// A death is nobody's, and a look at it is the last word.
func (b *nspawnBench) dies(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	b.Kill9("db1")
	ends(t, before)
	s, err := b.i.Look(context.Background(), "db1", before)
	if err != nil || s.State != health.Stopped || s.Detail != "failed: exit-code 1" || s.OnPurpose != "" || s.Init.PID != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "db1", 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
}

// systemd kills what has not ended in the time that its owner gave it, and the stop has that time.
func (b *nspawnBench) ignores(t *testing.T) {
	b = b.beside(t)
	b.made(t, "deaf")
	b.Settings("deaf", "[Exec]\nPrivateUsers=no\nLinkJournal=no\nKillSignal=SIGWINCH\n[Network]\nBridge=br0\n")
	b.DropIn("deaf", "[Service]\nTimeoutStopSec=3\n")
	b.up(t, "deaf")
	began := time.Now()
	a := b.i.Do(context.Background(), health.VerbStop, "deaf", time.Second)
	if took := time.Since(began); a.Err != "" || a.Transcript.TimedOut || took < 2*time.Second {
		t.Errorf("after %s: %+v", took, a)
	}
	if s := look(t, b.i, "deaf"); s.State != health.Stopped || s.Detail != "failed: timeout" || s.OnPurpose != "" {
		t.Errorf("%+v", s)
	}
}

// systemd's own restarts are left to it, until it gives up.
func (b *nspawnBench) restartPolicy(t *testing.T) {
	b = b.on(t)
	b.made(t, "kept")
	b.DropIn("kept", "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=100\n[Service]\nRestart=always\nRestartSec=0\n")
	before := b.up(t, "kept")
	if s := find(t, list(t, b.i), "kept"); s.Supervisor != "systemd (Restart=always)" {
		t.Errorf("%+v", s)
	}
	b.Kill9("kept")
	ends(t, before)
	s, err := b.i.Look(context.Background(), "kept", before)
	if err != nil || s.State != health.Running || s.Init == before || s.Supervisor != "systemd (Restart=always)" {
		t.Errorf("%+v %v", s, err)
	}
	b.Kill9("kept")
	awaitState(t, b.i, "kept", health.Stopped)
	if s := look(t, b.i, "kept"); s.Supervisor != "" || s.OnPurpose != "" {
		t.Errorf("it has given up: %+v", s)
	}
}

// A machine without a unit of its own is whoever's who started it.
func (b *nspawnBench) stray(t *testing.T) {
	b = b.on(t)
	b.made(t, "odd1")
	b.Nspawn.Run("systemd-run", "--quiet", "--unit=oddly", "--property=KillMode=mixed", "--property=Delegate=yes",
		"systemd-nspawn", "--quiet", "--keep-unit", "--boot", "--machine=odd1", "--settings=override")
	defer b.Nspawn.Run("systemctl", "kill", "--signal=SIGKILL", "oddly.service")
	eventually(t, "machined knows it", func() bool { return there("/run/systemd/machines/odd1") })
	s := find(t, list(t, b.i), "odd1")
	if s.State != health.Running || s.Init.PID != b.InitPID("odd1") || !strings.Contains(s.Supervisor, "oddly.service") {
		t.Errorf("%+v", s)
	}
	if s := look(t, b.i, "odd1"); s.State != health.Running || !strings.Contains(s.Supervisor, "oddly.service") {
		t.Errorf("%+v", s)
	}
	list(t, b.i)
	before := b.w.reads.Load()
	list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
	was := s.Init
	b.Kill9("odd1")
	eventually(t, "it is off", func() bool {
		s, err := b.i.Look(context.Background(), "odd1", was)
		return err == nil && s.State == health.Stopped && s.Supervisor == ""
	})
}

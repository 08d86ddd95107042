package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// LXD's daemon, and the monitors of its containers, as they hang, stop and come back.

func (b *lxdBench) daemonStopped(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "web1")
	b.StopDaemon()
	if l, err := b.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "unix.socket") {
		t.Errorf("%+v %v", l, err)
	}
	if s, err := b.i.Look(context.Background(), "web1", before); err == nil {
		t.Errorf("%+v", s)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "web1", 0); !strings.Contains(a.Cause, "unix.socket") {
		t.Errorf("%+v", a)
	}
	if _, err := os.Stat("/proc/" + before.String()); err != nil {
		t.Error("the container ended with the daemon")
	}
	b.StartDaemon()
	if s := find(t, list(t, b.i), "web1"); s.State != health.Running || s.Init != before {
		t.Errorf("%+v, was %v", s, before)
	}
}

func (b *lxdBench) daemonHung(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "web1")
	i, _ := lxdOpen(t, b.LXD, time.Second)
	b.HangDaemon()
	defer b.ResumeDaemon()
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		if s, err := i.Look(context.Background(), "web1", before); err == nil {
			t.Errorf("%+v", s)
		}
	})
	if l, err := i.List(context.Background(), nil); err == nil {
		t.Errorf("%+v", l)
	}
	wg.Wait()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a list and a look took %s", took)
	}
	b.ResumeDaemon()
	if s := find(t, list(t, b.i), "web1"); s.State != health.Running || s.Init != before {
		t.Errorf("%+v, was %v", s, before)
	}
}

// What runs is taken over by the daemon's successor. The stream of events ends, and is followed again.
func (b *lxdBench) daemonAnew(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "web1")
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() { ended <- b.i.Events(context.Background(), func(string) {}) })
	eventually(t, "events are followed", b.Followed)
	b.StopDaemon()
	select {
	case err := <-ended:
		t.Logf("the stream ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Error("the stream of events did not end with the daemon")
	}
	b.StartDaemon()
	for _, i := range []*engine.Instance{b.i, b.another(t)} {
		if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
			t.Errorf("%+v, was %v", s, before)
		}
		if s := look(t, i, "web1"); s.State != health.Running || s.Init != before {
			t.Errorf("%+v, was %v", s, before)
		}
	}
	b.follow(t)
	b.die(t, "web1")
	if s, err := b.i.Look(context.Background(), "web1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("%+v %v", s, err)
	}
	b.up(t, "web1")
}

func (b *lxdBench) another(t *testing.T) *engine.Instance {
	i, _ := lxdOpen(t, b.LXD, 10*time.Second)
	return i
}

// A monitor that is stopped and a hook that hangs each hang LXD's list for ever: the others stay watched. The start with
// that hook outlives its limit, goes on in the daemon, and is then found done.
func (b *lxdBench) othersStayWatched(t *testing.T) {
	b = b.on(t)
	for _, id := range []string{"web1", "web2", "p1_web1"} {
		b.up(t, id)
	}
	web2 := find(t, list(t, b.i), "web2")
	open, ended := b.startLate(t)
	defer b.Remove("late")
	defer open()
	monitor := b.MonitorPID("web1")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(monitor, syscall.SIGCONT) }()
	i, _ := lxdOpen(t, b.LXD, 7*time.Second)
	var wg sync.WaitGroup
	for id, want := range map[string]string{"web1": "is stopped", "late": "waits for a hook"} {
		wg.Go(func() {
			if s, err := i.Look(context.Background(), id, health.Process{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v %v", s, err)
			}
		})
	}
	for range 2 {
		l := list(t, i)
		web1, others := find(t, l, "web1"), find(t, l, "web2")
		if others.State != health.Running || others.Init != web2.Init || find(t, l, "p1_web1").State != health.Running {
			t.Errorf("%+v", others)
		}
		if web1.State != health.Broken && web1.State != health.Unknown || !strings.Contains(l.Degraded, "late") {
			t.Errorf("%+v, degraded %q", web1, l.Degraded)
		}
	}
	wg.Wait()
	if a := <-ended; !a.Transcript.TimedOut || a.Err == "" || !strings.Contains(a.Cause, "waits for a hook") {
		t.Errorf("%+v", a)
	}
	open()
	awaitState(t, b.i, "late", health.Running)
	if l := list(t, i); !strings.Contains(l.Degraded, "continue it with kill -CONT") {
		t.Errorf("degraded %q", l.Degraded)
	}
	_ = syscall.Kill(monitor, syscall.SIGCONT)
	eventually(t, "it is over", func() bool {
		l, err := i.List(context.Background(), nil)
		return err == nil && l.Degraded == "" && find(t, l, "web1").State == health.Running
	})
}

// startLate begins a start that does not end before open is called.
func (b *lxdBench) startLate(t *testing.T) (open func(), ended <-chan engine.Answer) {
	gate := filepath.Join(t.TempDir(), "gate")
	script := "#!/bin/sh\n: >" + gate + ".in\nuntil [ -e " + gate + " ]; do sleep 0.05; done\n"
	if err := os.WriteFile(gate+".sh", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	b.Make("late", "-c", "raw.lxc=lxc.hook.pre-start = "+gate+".sh")
	done := make(chan engine.Answer, 1)
	go func() { done <- b.i.Do(context.Background(), health.VerbStart, "late", time.Second) }()
	eventually(t, "it is being started", func() bool { _, err := os.Stat(gate + ".in"); return err == nil })
	return func() { _ = os.WriteFile(gate, nil, 0o600) }, done
}

// An agent that begins finds what runs, what is paused, what died unseen and what a person stopped, as they are.
func (b *lxdBench) takesOver(t *testing.T) {
	b = b.beside(t)
	runs := b.up(t, "web1")
	for _, id := range []string{"frozen", "dead", "off"} {
		b.run(t, id)
		defer b.Remove(id)
	}
	paused := look(t, b.i, "frozen").Init
	b.Freeze("frozen")
	b.die(t, "dead")
	b.About("off", "stop", "--force")
	i, _ := lxdOpen(t, b.LXD, 10*time.Second)
	off := look(t, i, "off")
	l := list(t, i)
	if s := find(t, l, "web1"); s.State != health.Running || s.Init != runs {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "frozen"); s.State != health.Paused || s.Init != paused {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "dead"); s.State != health.Stopped || s.OnPurpose != "" || s.Init.PID != 0 {
		t.Errorf("%+v", s)
	}
	if off.State != health.Stopped || off.OnPurpose != `its operation "Stopping instance"` {
		t.Errorf("LXD lists a stop for 5 s: %+v", off)
	}
}

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The daemon of libvirt stopped, hung and started anew, and one domain that hangs it.

func virtDaemonStopped(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	was := list(t, i)
	r.KillDaemon()
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "failed to connect") {
		t.Errorf("a daemon that is gone: %+v, %v", l, err)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("a look without a daemon: %+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err == "" || a.Already || !strings.Contains(a.Cause, "Failed to connect socket") {
		t.Errorf("a start without a daemon: %+v", a)
	}
	r.StartDaemon()
	virtAsBefore(t, was, list(t, i))
}

// virtAsBefore holds that all run that ran, by the same init.
func virtAsBefore(t *testing.T, was, is engine.Listing) {
	t.Helper()
	for _, s := range was.Containers {
		if now := find(t, is, s.Ref.ID); now.State != s.State || now.Init != s.Init {
			t.Errorf("before %+v\nnow %+v", s, now)
		}
	}
}

func virtDaemonHung(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, time.Second)
	was := list(t, i)
	r.HangDaemon()
	began := time.Now()
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is stopped: continue it") {
		t.Errorf("a daemon that hangs: %+v, %v", l, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s, and the limit is a second", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s, err := i.Look(ctx, "web1", health.Process{}); err == nil {
		t.Errorf("a look at a daemon that hangs: %+v", s)
	}
	r.ResumeDaemon()
	virtAsBefore(t, was, list(t, i))
}

func virtDaemonAnew(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	was := list(t, i)
	gone := make(chan error, 1)
	go func() { gone <- i.Events(context.Background(), func(string) {}) }()
	r.KillDaemon()
	select {
	case err := <-gone:
		if err == nil {
			t.Error("the stream ended well, and its daemon was killed")
		}
	case <-time.After(20 * time.Second):
		t.Error("the stream outlives its daemon")
	}
	r.StartDaemon()
	virtAsBefore(t, was, list(t, i))
	virtHears(t, r, i)
	slow, _ := libvirtOpen(t, r, 0)
	virtAsBefore(t, was, list(t, slow))
}

// virtHears holds that the events of what is known and of what is not known are followed.
func virtHears(t *testing.T, r *rig.Libvirt, i *engine.Instance) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var got []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = i.Events(ctx, func(id string) { mu.Lock(); got = append(got, id); mu.Unlock() })
	}()
	heard := func(id string) bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(got, id) }
	eventually(t, "an event of what was done to web2", func() bool {
		_, _ = r.Try("suspend", "web2")
		_, _ = r.Try("resume", "web2")
		return heard("web2")
	})
	r.Make("new", virtCheap(r))
	eventually(t, "an event of what is not known yet", func() bool { return heard("") })
	r.Remove("new")
	cancel()
	<-ended
}

// A hook that hangs holds its domain, and every list with it. The others are listed, also by an agent that has never seen
// them, and looked at; the culprit is named, and asked again when libvirt tells of it.
func virtHookHangs(t *testing.T, r *rig.Libvirt) {
	i, w := libvirtOpen(t, r, 2*time.Second)
	gate := filepath.Join(t.TempDir(), "gate")
	virtDefine(t, r, "slow", virtCheap(r))
	list(t, i)
	r.Hook(fmt.Sprintf("[ \"$1 $2\" = 'slow prepare' ] || exit 0\n: >%s.in\nuntil [ -e %s ]; do sleep 0.05; done\n", gate, gate))
	defer r.Hook("")
	limit := time.Minute
	if r.Driver() == "lxc" {
		limit = time.Second // and the ten of its slack: its success is late, and must be none the less
	}
	done := make(chan engine.Answer, 1)
	go func() { done <- i.Do(context.Background(), health.VerbStart, "slow", limit) }()
	defer func() { _ = os.WriteFile(gate, nil, 0o600) }()
	eventually(t, "it is being started", func() bool { _, err := os.Stat(gate + ".in"); return err == nil })
	began := time.Now()
	virtOthersSeen(t, list(t, i))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the list took %s", took)
	}
	if s := look(t, i, "web2"); s.State != health.Running {
		t.Errorf("%+v", s)
	}
	before := w.reads.Load()
	if virtOthersSeen(t, list(t, i)); w.reads.Load()-before != 1 {
		t.Errorf("with the culprit known, a list took %d processes", w.reads.Load()-before)
	}
	other, _ := libvirtOpen(t, r, time.Second)
	virtOthersSeen(t, list(t, other))

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = i.Events(ctx, func(string) {}) }()
	defer func() { cancel(); <-ended }()
	if limit == time.Second {
		if a := <-done; !a.Transcript.TimedOut || !strings.Contains(a.Cause, "gives no answer") {
			t.Errorf("a start that hangs: %+v", a)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if limit == time.Minute {
		if a := <-done; a.Err != "" {
			t.Errorf("%+v", a)
		}
	}
	eventually(t, "it is listed as the others", func() bool {
		l, err := i.List(context.Background(), nil)
		s := peek(l, "slow")
		return err == nil && l.Degraded == "" && s != nil && s.State == health.Running
	})
}

func virtOthersSeen(t *testing.T, l engine.Listing) {
	t.Helper()
	if find(t, l, "web1").State != health.Running || find(t, l, "web2").State != health.Running {
		t.Errorf("the others are no longer seen: %+v", l.Containers)
	}
	if s := find(t, l, "slow"); s.State != health.Unknown || !strings.Contains(l.Degraded, `"slow"`) || !strings.Contains(s.Detail, "no answer about it") {
		t.Errorf("%q, %+v", l.Degraded, s)
	}
}

// A stopped controller, or a stopped qemu, hangs nothing and is named.
func virtFrozen(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 5*time.Second)
	pid := r.InitPID("web2")
	if r.Driver() == "lxc" {
		pid = r.ControllerPID("web2")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{})
	go func() { // keeps the domain's job, as whoever asks its monitor does
		defer close(waits)
		_, _ = r.Try("qemu-monitor-command", "web2", "--hmp", "info status")
	}()
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT); <-waits }()
	for range 2 {
		l := list(t, i)
		if s := find(t, l, "web2"); s.State != health.Running || !strings.Contains(s.Detail, fmt.Sprintf("kill -CONT %d", pid)) || find(t, l, "web1").State != health.Running {
			t.Errorf("%+v", l.Containers)
		}
		if s := look(t, i, "web2"); s.State != health.Running {
			t.Errorf("%+v", s)
		}
	}
}

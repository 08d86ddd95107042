package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What hangs every lxc-ls, and how the others stay watched: traps 6 and 7.

// Trap 6: a stopped monitor hangs every lxc-ls for ever; the others stay listed.
func lxcHungMonitor(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 3}, 2*time.Second)
	r.Add("off1")
	r.Add("odd1", "lxc.nosuch.key = 1")
	was := list(t, i)
	monitor := r.MonitorPID("web2")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(monitor, syscall.SIGCONT) })
	why := fmt.Sprintf("its monitor, process %d, is stopped", monitor)
	check := func(live ...health.Ref) {
		t.Helper()
		l := list(t, i, live...)
		for id, state := range map[string]health.RunState{"web1": health.Running, "web2": health.Unknown, "web3": health.Running, "off1": health.Stopped, "odd1": health.Broken} {
			s := find(t, l, id)
			if s.State != state || s.Init != find(t, was, id).Init {
				t.Errorf("%s: %+v, want %s", id, s, state)
			}
		}
		if s := find(t, l, "web2"); !strings.Contains(s.Detail, why) {
			t.Errorf("web2: %q, want %q", s.Detail, why)
		}
		if !strings.Contains(l.Degraded, `"web2"`) || !strings.Contains(l.Degraded, why) {
			t.Errorf("degraded: %q", l.Degraded)
		}
	}
	check()
	before := w.reads.Load()
	check(refs(was)...)
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("a degraded list of nothing new asks %d times, want only the culprit", n)
	}
	if _, err := i.Look(context.Background(), "web2", health.Process{}); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("look: %v", err)
	}
	// the others are healed as before
	r.Kill9("web1")
	r.WaitState("web1", "STOPPED", 10*time.Second)
	if s := find(t, list(t, i), "web1"); s.State != health.Stopped {
		t.Errorf("killed beside a hung one: %+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("started beside a hung one: %+v", s)
	}
	if err := syscall.Kill(monitor, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer degraded", func() bool { l := list(t, i); return l.Degraded == "" && find(t, l, "web2").State == health.Running })
}

// Trap 6, too: so does a hook that hangs, and it outlives the client that started it.
func lxcHangingHook(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 2*time.Second)
	hook := filepath.Join(r.Scratch(), "hook")
	nap := fmt.Sprintf("1000.%d", os.Getpid()) // tells our hook from everybody else's processes
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexec sleep "+nap+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Add("slow", "lxc.hook.pre-start = "+hook)
	list(t, i)
	t.Cleanup(func() { endHook("sleep", nap) })
	a := i.Do(context.Background(), health.VerbStart, "slow", time.Second)
	if a.Err == "" || !a.Transcript.TimedOut || !strings.Contains(a.Cause, "waits for a hook") || !strings.Contains(a.Cause, "sleep "+nap) {
		t.Errorf("%+v", a)
	}
	l := list(t, i)
	if s := find(t, l, "slow"); s.State != health.Unknown || !strings.Contains(s.Detail, "waits for a hook") {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "web1"); s.State != health.Running || !strings.Contains(l.Degraded, `"slow"`) {
		t.Errorf("%+v; degraded: %q", s, l.Degraded)
	}
	endHook("sleep", nap)
	eventually(t, "no longer degraded", func() bool { l := list(t, i); return l.Degraded == "" && find(t, l, "slow").State != health.Unknown })
}

// endHook ends the process with this command line, which is one test's alone.
func endHook(argv ...string) {
	want := strings.Join(argv, "\x00") + "\x00"
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		var pid int
		if _, err := fmt.Sscanf(p, "/proc/%d/cmdline", &pid); err == nil && string(b) == want {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Trap 7: a lock on the container's lock file blocks info, ls and start.
func lxcLockFileHeld(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 2}, 2*time.Second)
	list(t, i)
	path := filepath.Join("/run/lxc/lock", r.Path(), ".web1")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock(t, f)
	l := list(t, i)
	want := fmt.Sprintf("its lock file %q is held by process %d: ", path, os.Getpid())
	if s := find(t, l, "web1"); s.State != health.Unknown || !strings.Contains(s.Detail, want) {
		t.Errorf("%+v, want %q", s, want)
	}
	if s := find(t, l, "web2"); s.State != health.Running {
		t.Errorf("%+v", s)
	}
	f.Close()
	if l := list(t, i); l.Degraded != "" || find(t, l, "web1").State != health.Running {
		t.Errorf("released: %+v", l)
	}
}

// lock takes the lock that LXC takes, until the file is closed.
func lock(t *testing.T, f *os.File) {
	t.Helper()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
}

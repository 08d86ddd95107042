package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What watching costs in processes.

// A poll starts one process, whatever the number of containers; what changed costs little more.
func lxcCosts(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 8}, 0)
	r.Add("off1")
	cost := func(live ...health.Ref) int64 {
		before := w.reads.Load()
		list(t, i, live...)
		return w.reads.Load() - before
	}
	if n := cost(); n > 2 { // the plain list, and one table of all that is new
		t.Errorf("the first list took %d processes", n)
	}
	if n := cost(); n != 1 {
		t.Errorf("a list of nothing new took %d processes", n)
	}
	live := refs(list(t, i))
	if n := cost(live...); n != 0 {
		t.Errorf("a list of what is held, with nothing moved, took %d processes", n)
	}
	for unasked, live := range map[bool][]health.Ref{true: live, false: nil} {
		if l, err := i.List(t.Context(), live); err != nil || l.Unasked != unasked {
			t.Errorf("with %d held it says that the tool was not asked: %v, %v", len(live), l.Unasked, err)
		}
	}
	i.SetQuiet(time.Nanosecond)
	if n := cost(live...); n != 1 {
		t.Errorf("where the tool may not go unasked, a list took %d processes", n)
	}
	i.SetQuiet(0)
	if n := cost(live[1:]...); n != 1 {
		t.Errorf("with one that nobody holds, it took %d processes", n)
	}
	r.Freeze("web2")
	if n, s := cost(live...), find(t, list(t, i, live...), "web2"); n != 0 || s.State != health.Paused {
		t.Errorf("a freeze took %d processes: %+v", n, s)
	}
	r.Thaw("web2")
	r.Start("off1")
	if n, s := cost(live...), find(t, list(t, i, live...), "off1"); n != 2 || s.State != health.Running {
		t.Errorf("a start by another took %d processes: %+v", n, s)
	}
	r.Add("off2")
	if n, s := cost(refs(list(t, i))...), find(t, list(t, i), "off2"); n > 1 || s.State != health.Stopped {
		t.Errorf("a new container took %d processes: %+v", n, s)
	}
	live = refs(list(t, i))
	r.Add("ghost")
	r.Start("ghost")
	ghost := r.InitPID("ghost")
	r.Remove("ghost") // between two lists: it was never seen defined
	if s := find(t, list(t, i, live...), "ghost"); s.State != health.Running || s.Init.PID != ghost {
		t.Errorf("one that runs without a folder: %+v", s)
	}
	if err := syscall.Kill(ghost, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ghost is gone", func() bool { return peek(list(t, i), "ghost") == nil })
	r.Kill9("web1")
	r.WaitState("web1", "STOPPED", 10*time.Second)
	if n := cost(); n != 1 {
		t.Errorf("a list after a death took %d processes", n)
	}
	r.Start("web1")
	if n := cost(); n != 2 { // the new init has to be asked for
		t.Errorf("a list after a start took %d processes", n)
	}
	if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("%+v", s)
	}
	look(t, i, "web1")
	if left, _ := filepath.Glob(r.Dir("web1") + "/*"); len(left) != 1 {
		t.Errorf("asking left something in the container's folder: %q", left)
	}
}

// At a death the answer needs no process.
func lxcLooksAtTheDead(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was := find(t, list(t, i), "web1")
	pid, _ := r.Kill9("web1")
	eventually(t, "init is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	before := w.reads.Load()
	started := time.Now()
	s, err := i.Look(context.Background(), "web1", was.Init)
	took := time.Since(started)
	if err != nil || s.State != health.Stopped || s.Detail != fmt.Sprintf("init %d has ended", pid) || w.reads.Load() != before {
		t.Fatalf("%+v, %v, %d processes", s, err, w.reads.Load()-before)
	}
	if s.Mark != was.Mark || s.Config != was.Config || s.Autostart != health.Yes {
		t.Errorf("%+v, before %+v", s, was)
	}
	t.Logf("look at the dead: %v", took)
	// an init that lives is not taken for dead, whatever the caller says
	r.Start("web1")
	now := look(t, i, "web1")
	if s, err := i.Look(context.Background(), "web1", now.Init); err != nil || s.State != health.Running {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := i.Look(context.Background(), "web1", was.Init); err != nil || s.State != health.Running {
		t.Errorf("the old init ended, a new one lives: %+v, %v", s, err)
	}
}

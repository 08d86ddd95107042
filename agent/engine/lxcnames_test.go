package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What may lie about in an lxcpath, and what may happen there between two polls.

func lxcOddNames(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	good := []string{"a b", `q"uo`, "it's", "-k", "--help", "ütf", ".dot", "a:b", "a*b", " lead", "trail "}
	bad := []string{"new\nline", "esc\x1bx", "inv\xff"}
	for _, n := range slices.Concat(good, bad) {
		r.Add(n, "lxc.uts.name = x")
	}
	l := list(t, i)
	for _, n := range good {
		if s := find(t, l, n); s.State != health.Stopped || s.Mark == "" {
			t.Errorf("%q: %+v", n, s)
		}
		if a := i.Do(context.Background(), health.VerbStart, n, 0); a.Err != "" {
			t.Errorf("start %q: %s, %s", n, a.Err, a.Cause)
		}
	}
	for range 2 {
		l2 := list(t, i)
		for _, n := range append(good, "web1") {
			if s := find(t, l2, n); s.State != health.Running || s.Init.PID == 0 {
				t.Errorf("%q: %+v", n, s)
			}
		}
		if len(l2.Notes) != 0 {
			t.Errorf("told again: %q", l2.Notes)
		}
	}
	before := w.reads.Load()
	if list(t, i); w.reads.Load()-before != 1 {
		t.Errorf("odd names cost %d processes a list", w.reads.Load()-before)
	}
	for _, n := range bad {
		if peek(l, n) != nil {
			t.Errorf("%q is watched", n)
		}
		if a := i.Do(context.Background(), health.VerbStart, n, 0); a.Err == "" || a.Transcript.PID != 0 {
			t.Errorf("%q reached a command line: %+v", n, a)
		}
		if !slices.ContainsFunc(l.Notes, func(s string) bool {
			return strings.Contains(s, "not watched") && utf8.ValidString(s) && !strings.ContainsAny(s, "\n\x1b")
		}) {
			t.Errorf("notes: %q", l.Notes)
		}
	}
	if len(l.Notes) != len(bad) {
		t.Errorf("%d notes for %d bad names: %q", len(l.Notes), len(bad), l.Notes)
	}
	for _, n := range good {
		if a := i.Do(context.Background(), health.VerbKill, n, 0); a.Err != "" {
			t.Errorf("kill %q: %s", n, a.Err)
		}
	}
}

// Folders without config are no containers; without a rootfs they are, and cannot start; "partial" is being created.
func lxcHalfCreated(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	if err := os.Mkdir(filepath.Join(r.Path(), "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Path(), "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.Add("norootfs", "lxc.rootfs.path = dir:"+r.Path()+"/norootfs/rootfs")
	l := list(t, i)
	if len(l.Containers) != 1 || find(t, l, "norootfs").State != health.Stopped {
		t.Errorf("%+v", l)
	}
	if i.Defined("empty") || i.Defined("file") || !i.Defined("norootfs") || i.Defined("../"+filepath.Base(r.Path())+"/norootfs") {
		t.Error("defined is what has a config")
	}
	// lxc-create holds a lock on this file while it works
	held := holdPartial(t, filepath.Join(r.Dir("norootfs"), "partial"))
	s := find(t, list(t, i), "norootfs")
	if s.State != health.Busy || s.Lock == nil || s.Lock.Operation != "create" || s.Lock.Dead || s.Lock.Holder.PID != os.Getpid() || time.Since(s.Lock.Since) > time.Minute {
		t.Errorf("%+v", s)
	}
	if s := look(t, i, "norootfs"); s.State != health.Busy || s.Lock == nil {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}
	held.Close()
	if s := find(t, list(t, i), "norootfs"); s.State != health.Stopped || s.Lock != nil {
		t.Errorf("%+v", s)
	}
}

// Renamed and deleted, while it runs.
func lxcRenamed(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 2}, 0)
	was := list(t, i)
	t.Cleanup(func() {
		i.Do(context.Background(), health.VerbKill, "web1", 0)
		i.Do(context.Background(), health.VerbKill, "web2", 0)
	})
	if err := os.Rename(r.Dir("web1"), r.Dir("web1-old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.ConfigFile("web2"), r.ConfigFile("web2")+".bak"); err != nil {
		t.Fatal(err)
	}
	l := list(t, i)
	for _, id := range []string{"web1", "web2"} {
		s := find(t, l, id)
		if s.State != health.Running || s.Init != find(t, was, id).Init || s.Mark != find(t, was, id).Mark || !strings.Contains(s.Detail, "its config is gone while it runs") {
			t.Errorf("%+v", s)
		}
		if i.Defined(id) {
			t.Errorf("%s is defined", id)
		}
	}
	if s := find(t, l, "web1-old"); s.State != health.Stopped || s.Mark != find(t, was, "web1").Mark {
		t.Errorf("%+v", s)
	}
	r.Kill9("web1")
	eventually(t, "web1 is gone", func() bool { return peek(list(t, i), "web1") == nil })
	if s, err := i.Look(context.Background(), "web1", find(t, was, "web1").Init); err != nil || s.State != health.Removed {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Lstat(r.Dir("web1")); err == nil {
		t.Error("asking about a container makes its folder")
	}
	if err := os.Rename(r.Dir("web1-old"), r.Dir("web1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.ConfigFile("web2")+".bak", r.ConfigFile("web2")); err != nil {
		t.Fatal(err)
	}
	if s := find(t, list(t, i), "web2"); s.State != health.Running || strings.Contains(s.Detail, "gone") {
		t.Errorf("%+v", s)
	}
}

// holdPartial makes the file that lxc-create makes, locked as it locks it.
func holdPartial(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	lock(t, f)
	return f
}

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What LXC keeps of its containers: evidence, their consoles, and backups.

func lxcEvidence(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	inc, log := filepath.Join(r.Scratch(), "common.conf"), filepath.Join(r.Scratch(), "web1.log")
	if err := os.WriteFile(inc, []byte("# said of all\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Add("web1", "lxc.include = "+inc, "lxc.log.file = "+log, "lxc.log.level = INFO")
	r.Start("web1")
	shown, missing := sealed(t, i.Evidence("web1", health.Sighting{}))
	for name, want := range map[string]string{
		"lxc-info.txt": "RUNNING", "config": "lxc.uts.name = web1", "config-include-common.conf": "# said of all", "lxc.log": "Started \"",
	} {
		if !strings.Contains(shown[name], want) {
			t.Errorf("%s: no %q in %.500q, missing: %s", name, want, shown[name], missing[name])
		}
	}
	if !strings.Contains(missing["console.log"], "keeps no console log") || len(i.Logs("web1")) != 0 {
		t.Errorf("missing: %q", missing)
	}
	if i.Evidence("../web1", health.Sighting{}) != nil || i.Logs("../web1") != nil {
		t.Error("evidence of a path")
	}
}

// The console is what the container itself said last. It can put anything there: then that is said, and nothing is read.
func lxcConsole(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	console := filepath.Join(r.Scratch(), "console")
	r.Add("web1", "lxc.console.logfile = "+console)
	r.Start("web1")
	r.Exec("web1", "sh", "-c", "echo its last words >/dev/console")
	eventually(t, "the console is logged", func() bool { b, _ := os.ReadFile(console); return strings.Contains(string(b), "last words") })
	logs := i.Logs("web1")
	shown, missing := sealed(t, logs)
	if !strings.Contains(shown["console.log"], "its last words") || len(logs) != 1 || !logs[0].Volatile {
		t.Errorf("%+v: %q, missing: %q", logs, shown, missing)
	}
	for what, put := range map[string]func(string) error{
		"a FIFO":          func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a symbolic link": func(p string) error { return os.Symlink("/etc/shadow", p) },
		"sparse": func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, 10<<30)
		},
	} {
		if err := os.Remove(console); err != nil {
			t.Fatal(err)
		}
		if err := put(console); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		shown, missing := sealed(t, i.Logs("web1"))
		if len(shown["console.log"]) > 300<<10 || what != "sparse" && !strings.Contains(missing["console.log"], what) || time.Since(began) > 20*time.Second {
			t.Errorf("%s, %s: %d bytes, missing: %q", what, time.Since(began), len(shown["console.log"]), missing)
		}
	}
}

// A snapshot can be taken back. LXC refuses one of what runs, and that is told as the last backup.
func lxcBackup(t *testing.T) {
	rig.Require(t, "rsync")
	r, _, w := lxcRig(t, rig.LXCOptions{OwnRoot: true}, 0)
	i, err := engine.Open(engine.Spec{Engine: "lxc", Path: r.Path(), RunDir: t.TempDir(), Backups: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := func() engine.Backup {
		t.Helper()
		l, err := i.LastBackup(context.Background(), "web1")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	backup := func() engine.Answer { return i.Do(context.Background(), health.VerbBackup, "web1", time.Minute) }
	r.Add("web1")
	if err := os.WriteFile(filepath.Join(r.Rootfs("web1"), "mark"), []byte("kept well"), 0o644); err != nil {
		t.Fatal(err)
	}
	if l := last(); l != (engine.Backup{}) {
		t.Errorf("before there is any: %+v", l)
	}
	if a := backup(); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	l := last()
	if !l.OK || time.Since(l.At) > time.Minute || l.Said != filepath.Join(r.Dir("web1"), "snaps", "snap0") {
		t.Errorf("%+v", l)
	}
	if found := list(t, i); len(found.Containers) != 1 || len(found.Notes) != 0 {
		t.Errorf("the snapshot is watched: %+v", found)
	}
	r.LXCSnapshot("web1", "--restore=snap0", "--newname=back")
	if b, err := os.ReadFile(filepath.Join(r.Dir("back"), "rootfs", "mark")); string(b) != "kept well" {
		t.Errorf("taken back: %q, %v", b, err)
	}
	time.Sleep(time.Until(l.At.Add(time.Second))) // LXC and we name them by the second
	r.Start("web1")
	if a := backup(); a.Err == "" || !strings.Contains(a.Cause, "Original container (web1) is running") {
		t.Errorf("of what runs: %+v", a)
	} else if l := last(); l.OK || l.Said != a.Cause {
		t.Errorf("%+v, want %q", l, a.Cause)
	}
}

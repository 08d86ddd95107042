package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// What LXD keeps of its real containers: evidence and backups.

func (b *lxdBench) keeps(t *testing.T) {
	b = b.beside(t)
	b.up(t, "p1_web1")
	b.Run("exec", "--project=p1", "web1", "--", "sh", "-c", "yes flood | head -c 3000000 >/dev/console; echo its last words >/dev/console")
	shown := map[string]string{
		"lxc-info.txt": "Name: web1\n", "console.txt": "its last words", "operations.json": "/1.0/instances/web1",
		"instance.json": `"project": "p1"`, "config.yaml": "environment.IP: " + b.Addr("p1_web1").String(), "warnings.txt": "TYPE", "lxd.log": "level=",
	}
	showsAll(t, b.i, "p1_web1", shown)
}

// A backup can be taken back, and one that is none is not called one.
func (b *lxdBench) backsUp(t *testing.T) {
	b = b.beside(t)
	b.Make("kept")
	defer b.Remove("kept")
	if err := os.WriteFile(filepath.Join(b.Rootfs("kept"), "mark"), []byte("kept well"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	i, err := engine.Open(engine.Spec{Engine: "lxd", Path: b.Path(), Bin: "/usr/bin", RunDir: t.TempDir(), Backups: dir}, b.w, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := func() engine.Backup {
		t.Helper()
		l, err := i.LastBackup(context.Background(), "kept")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := last(); l != (engine.Backup{}) {
		t.Errorf("before there is any: %+v", l)
	}
	if a := i.Do(context.Background(), health.VerbBackup, "kept", time.Minute); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	l := last()
	if !l.OK || time.Since(l.At) > time.Minute || filepath.Dir(l.Said) != dir {
		t.Errorf("%+v", l)
	}
	if other, err := i.LastBackup(context.Background(), "kep"); err != nil || other != (engine.Backup{}) {
		t.Errorf("another's: %+v %v", other, err)
	}
	b.Remove("kept")
	b.Run("import", l.Said)
	if text, err := os.ReadFile(filepath.Join(b.Rootfs("kept"), "mark")); string(text) != "kept well" {
		t.Errorf("taken back: %q %v", text, err)
	}
	time.Sleep(time.Until(l.At.Add(time.Second))) // the files are named by the second
	show := b.HideRootfs("kept")
	a := i.Do(context.Background(), health.VerbBackup, "kept", time.Minute)
	show()
	if a.Err == "" || !strings.Contains(a.Cause, "configuration alone") || a.Transcript.Exit != 0 {
		t.Errorf("a backup of nothing: %+v", a)
	}
	if l := last(); l.OK || l.Said != a.Cause {
		t.Errorf("%+v", l)
	}
	a = i.Do(context.Background(), health.VerbBackup, "nosuch", time.Minute)
	if l, err := i.LastBackup(context.Background(), "nosuch"); err != nil || l.OK || !strings.Contains(l.Said, "not found") || l.Said != a.Cause {
		t.Errorf("%+v %v, %+v", l, err, a)
	}
}

package engine_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// repairs: what a death left mounted is unmounted, and a running one is left alone.
func (v *vzTest) repairs() {
	if a := v.do(health.VerbRepair); !a.Already || a.Err != "" || v.see().Init.PID != v.InitPID("web1") {
		v.Errorf("of a running one: %+v", a)
	}
	v.Kill9("101")
	v.Update("101", func(c *scripted.Container) { c.Keys["busy"] = "yes" })
	if a := v.do(health.VerbRepair); a.Cause != "Can't umount: /vz/root/101: Device or resource busy (exit 51: its file system could not be unmounted)" {
		v.Errorf("while something uses it: %+v", a)
	}
	v.both("mounted still", func(s health.Sighting) bool {
		return s.State == health.Stopped && strings.HasPrefix(s.Detail, "mounted")
	})
	v.Update("101", func(c *scripted.Container) { c.Keys["busy"] = "" })
	v.must(health.VerbRepair)
	v.both("unmounted, and nobody's stop", func(s health.Sighting) bool { return s.State == health.Stopped && s.Detail == "" && s.OnPurpose == "" })
	if a := v.do(health.VerbRepair); a.Cause != "CT is not mounted (exit 40: it is not mounted)" {
		v.Errorf("of what is not mounted: %+v", a)
	}
	v.must(health.VerbStart)
	awaitState(v.T, v.i, "101", health.Running)
}

func (v *vzTest) lastBackup() engine.Backup {
	v.Helper()
	b, err := v.i.LastBackup(context.Background(), v.id)
	if err != nil {
		v.Fatal(err)
	}
	return b
}

// backsUp: a snapshot is there after it, and is told of; so is one that failed later.
func (v *vzTest) backsUp() {
	if b := v.lastBackup(); b != (engine.Backup{}) {
		v.Errorf("none was made: %+v", b)
	}
	a := v.do(health.VerbBackup)
	if a.Err != "" || !slices.Contains(a.Transcript.Argv, "--skip-suspend") || v.see().Init.PID != v.InitPID("web1") {
		v.Errorf("%+v", a)
	}
	made := v.lastBackup()
	w := strings.Fields(made.Said)
	if !made.OK || time.Since(made.At) > time.Minute || len(w) != 3 || w[2] != "atalaya" {
		v.Fatalf("%+v", made)
	}
	if _, err := os.Stat(v.File(scripted.VZSnapshot(scripted.VZPrivate("101"), w[1]))); err != nil {
		v.Errorf("it is not there: %v", err)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["snapshot"] = "snapshot-fails" })
	const words = "Failed to create snapshot: Error in ploop_create_snapshot: No space left on device [3]"
	if a := v.do(health.VerbBackup); a.Cause != words+" (exit 156: snapshot: create failed)" {
		v.Errorf("no space: %+v", a)
	}
	if b := v.lastBackup(); b.OK || b.Said != words || b.At.Before(made.At) || time.Since(b.At) > time.Minute {
		v.Errorf("the last one failed: %+v", b)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["snapshot"] = "snapshot-simfs" })
	if a := v.do(health.VerbBackup); a.Cause != "Snapshot feature is only available for ploop-based CTs (exit 156: snapshot: create failed)" {
		v.Errorf("simfs: %+v", a)
	}
	if _, err := v.i.LastBackup(context.Background(), v.id); !errors.Is(err, engine.ErrNoBackups) || !strings.Contains(err.Error(), "only available for ploop") {
		v.Errorf("simfs: %v", err)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["snapshot"] = "" })
	v.must(health.VerbBackup)
	if b := v.lastBackup(); !b.OK || b.Said == made.Said {
		v.Errorf("the last one succeeded: %+v", b)
	}
}

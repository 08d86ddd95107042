package engine_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// repairs: what is left mounted is unmounted, by the dispatcher or without it.
func (v *prlTest) repairs() {
	const cause = "Container is not mounted"
	if a := v.do(health.VerbRepair); a.Transcript.Exit != 255 || a.Cause != cause || v.see().Init.PID != v.InitPID("web1") {
		v.Errorf("of a running one: %+v", a)
	}
	for tool, cause := range map[string]string{"prlctl": cause, "vzctl": "CT is not mounted (exit 40: it is not mounted)"} {
		v.Heal()
		list(v.T, v.i)
		v.Kill9(v.id)
		v.Update(v.id, func(c *scripted.Container) { c.State, c.Says = "mounted", "mounted" })
		if s := v.listed(); s.State != health.Stopped || !strings.HasPrefix(s.Detail, "mounted") {
			v.Errorf("%s: %+v", tool, s)
		}
		if tool == "vzctl" {
			v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
			list(v.T, v.i)
		}
		if a := v.do(health.VerbRepair); a.Err != "" || filepath.Base(a.Transcript.Argv[0]) != tool {
			v.Errorf("%s: %+v", tool, a)
		}
		v.both("unmounted by "+tool, func(s health.Sighting) bool { return s.State == health.Stopped && s.Detail == "" && s.OnPurpose == "" })
		if a := v.do(health.VerbRepair); a.Cause != cause {
			v.Errorf("%s: of what is not mounted: %+v", tool, a)
		}
		v.must(health.VerbStart)
		awaitState(v.T, v.i, v.id, health.Running)
	}
}

// backsUp: a backup is there after it, and is told of; while a person makes one, its lock says so.
func (v *prlTest) backsUp() {
	last := func() engine.Backup {
		b, err := v.i.LastBackup(context.Background(), v.id)
		if err != nil {
			v.Fatal(err)
		}
		return b
	}
	if b := last(); b != (engine.Backup{}) {
		v.Errorf("none was made: %+v", b)
	}
	v.Update(v.id, func(c *scripted.Container) { c.Keys["slow"] = "1s" })
	done := make(chan engine.Answer, 1)
	go func() { done <- v.do(health.VerbBackup) }()
	locked := func() bool {
		_, err := os.Stat(v.File("/vz/lock/" + v.id + ".lck"))
		return err == nil
	}
	eventually(v.T, "our backup holds the lock", locked)
	if s := v.see(); s.State != health.Running || s.Lock != nil && locked() {
		v.Errorf("our own: %+v", s)
	}
	if a := <-done; a.Err != "" {
		v.Errorf("%+v", a)
	}
	b := last()
	w := strings.Fields(b.Said)
	if !b.OK || time.Since(b.At) > time.Minute || len(w) != 4 || w[3] != "vz7.example.net" {
		v.Fatalf("%+v", b)
	}
	if _, err := os.Stat(v.File(scripted.VZBackup(v.id, w[1]))); err != nil {
		v.Errorf("it is not there: %v", err)
	}
	byHand := exec.Command(filepath.Join(v.Bin(), "prlctl"), "backup", v.id)
	if err := byHand.Start(); err != nil {
		v.Fatal(err)
	}
	eventually(v.T, "a person's is seen", func() bool {
		l := v.see().Lock
		return l != nil && !l.Dead && l.Operation == "Backing up" && l.Holder.PID == byHand.Process.Pid
	})
	if err := byHand.Wait(); err != nil {
		v.Error(err)
	}
	if again := last(); !again.OK || again.Said == b.Said {
		v.Errorf("a person's counts too: %+v", again)
	}
	b = last()
	v.Update(v.id, func(c *scripted.Container) { c.Keys["backup"] = "backup-fails" })
	if a := v.do(health.VerbBackup); a.Cause != "There is not enough disk space to complete the operation." || a.Transcript.Exit != 255 {
		v.Errorf("%+v", a)
	}
	if again := last(); again != b {
		v.Errorf("one that failed leaves no record: %+v", again)
	}
	v.Fault(scripted.Fault{On: "prlctl backup-list", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if b, err := v.i.LastBackup(context.Background(), v.id); err == nil || !strings.Contains(err.Error(), "Unable to connect") {
		v.Errorf("without a dispatcher: %+v, %v", b, err)
	}
	v.Fault(scripted.Fault{On: "prlctl backup-list", Do: scripted.Empty})
	if b, err := v.i.LastBackup(context.Background(), v.id); err == nil {
		v.Errorf("of nothing: %+v", b)
	}
}

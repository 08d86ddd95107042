package engine_test

import (
	"context"
	"os"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *incusTest) keeps() {
	v.set("op", "Backing up instance")
	v.set("opstatus", "running")
	v.set("opat", time.Now().Format(time.RFC3339Nano))
	v.WriteFile("var/log/incus/incus.log", "the daemon's log")
	shown := map[string]string{
		"incus-info.txt": "Name: web1", "console.txt": "the last words of web1", "operations.json": "/1.0/instances/web1", "instance.json": `"name":"web1"`,
		"config.yaml": "name: web1", "warnings.txt": "TYPE", "incus.log": "the daemon's log",
	}
	showsAll(v.T, v.i, "web1", shown)
}

func (v *incusTest) backsUp() {
	i := v.by(runnerOf(v.T), 0)
	last := func() engine.Backup {
		l, err := i.LastBackup(context.Background(), "web1")
		if err != nil {
			v.Fatal(err)
		}
		return l
	}
	if l := last(); l != (engine.Backup{}) {
		v.Errorf("%+v", l)
	}
	v.set("nofiles", "yes")
	a := i.Do(context.Background(), health.VerbBackup, "web1", 0)
	if l := last(); !strings.Contains(a.Cause, "configuration alone") || l.OK || l.Said != a.Cause {
		v.Errorf("%+v, %+v", l, a)
	}
	v.nextSecond(last().At)
	v.Fault(scripted.Fault{On: "incus export", Do: scripted.Answer, Reply: "export-fails"})
	a = i.Do(context.Background(), health.VerbBackup, "web1", 0)
	if l := last(); l.OK || l.Said != a.Cause || a.Cause != "Create instance backup: write /var/lib/incus/backups/instances/web1/backup0: no space left on device" {
		v.Errorf("%+v, %+v", l, a)
	}
	v.Heal()
	v.set("nofiles", "")
	v.nextSecond(last().At)
	if a := i.Do(context.Background(), health.VerbBackup, "web1", 0); a.Err != "" {
		v.Errorf("%+v", a)
	}
	l := last()
	if _, err := os.Stat(l.Said); err != nil || !l.OK {
		v.Errorf("%+v %v", l, err)
	}
	if err := os.Rename(l.Said, l.Said+".part"); err != nil {
		v.Fatal(err)
	}
	if l := last(); l.OK || !strings.Contains(l.Said, "not whole") {
		v.Errorf("the agent ended before it was judged: %+v", l)
	}
}

// nextSecond waits until a backup has another name than the one begun at.
func (v *incusTest) nextSecond(at time.Time) {
	eventually(v.T, "the next second", func() bool { return time.Since(at) > time.Second })
}

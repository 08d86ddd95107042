package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The trials of custom: it drives real LXC by templates, and a program that behaves as told.
func customTrials() stager {
	never := func(why string) stand[nowhere] { return stand[nowhere]{never: why} }
	return stages("custom", nowhere{}.host, nil, map[trial]stand[nowhere]{
		found:         never("It is never found by itself: it is what the configuration says."),
		missing:       apart(customMissing),
		rebooted:      apart(customReboots),
		ignores:       apart(customOnlyAsks),
		failsToStart:  apart(customCauses, customVerbs),
		startLies:     apart(customExitsAtOnce),
		locked:        {by: apart(customBusy).by, never: customNoLock},
		staleLock:     never(customNoLock),
		daemonStopped: apart(customToolAway("echo 'cannot connect to the daemon' >&2; exit 3")),
		daemonHung:    apart(customToolAway("sleep 60 & wait")),
		daemonAnew:    apart(customToolAway("echo 'the daemon is starting'")),
		oneHangs:      never("Its list is one command of yours: what hangs that, hangs it for all."),
		renamed:       apart(customRenamed),
		halfMade:      apart(customBusy),
		breaks:        apart(customBreaks),
		addresses:     apart(customAddresses),
		whoStopped:    {by: apart(customMeaning).by, never: noRecord},
		others:        never(noOther),
		strange:       apart(customLies, customMisbehaves),
		oneProcess:    apart(customCosts),
		takesOver:     apart(customTakesOver),
		keeps:         apart(customKeeps),
	})
}

const customNoLock = "A lock is a word for a state: who holds it, and since when, its tool is not asked."

// customRig is real LXC behind a tool of which the engine knows what the configuration says.
func customRig(t *testing.T, o rig.LXCOptions) (*rig.LXC, *engine.Instance) {
	rig.Require(t, "root", "lxc", "busybox")
	r := rig.NewLXC(t, o)
	return r, openJSON(t, r)
}

func customMissing(t *testing.T) {
	r, i := customRig(t, rig.LXCOptions{N: 2, NoStart: true})
	r.Remove("web2")
	if s := look(t, i, "web2"); s.State != health.Missing || peek(list(t, i), "web2") != nil || !i.Defined("web2") {
		t.Errorf("nothing proves that it was removed: %+v", s)
	}
	if s := look(t, i, "web1"); s.State != health.Stopped {
		t.Errorf("%+v", s)
	}
}

func customReboots(t *testing.T) {
	r, i := customRig(t, rig.LXCOptions{N: 1})
	was := look(t, i, "web1").Init
	r.Exec("web1", "reboot", "-f")
	eventually(t, "init has ended", func() bool { return syscall.Kill(was.PID, 0) != nil })
	eventually(t, "another init runs", func() bool {
		s := look(t, i, "web1")
		return s.State == health.Running && s.Init.PID != 0 && s.Init != was
	})
}

func customOnlyAsks(t *testing.T) {
	_, i := customRig(t, rig.LXCOptions{N: 1, Config: []string{"lxc.signal.halt = SIGWINCH"}})
	was := look(t, i, "web1").Init
	if a := i.Do(context.Background(), health.VerbStop, "web1", time.Second); a.Err == "" {
		t.Errorf("%+v", a)
	}
	if s := look(t, i, "web1"); s.State != health.Running || s.Init != was {
		t.Errorf("%+v", s)
	}
}

// What the tool says last is the cause, by the one stream or the other.
func customCauses(t *testing.T) {
	i := misbehaving(t, `
case $1 in
list) echo "bridge down"; echo "disk down"; echo "taken down"; echo "gone down"; echo "silent down"; echo "slow down" ;;
start) case $2 in
	bridge) echo "starting" ; echo "no such bridge: br7" >&2; exit 1 ;;
	disk) echo "disk /dev/vg/web is not there"; exit 2 ;;
	taken) echo "port 8080 is taken" >&2; echo; exit 3 ;;
	gone) kill -9 $$ ;;
	silent) exit 9 ;;
	slow) trap 'echo "interrupted while mounting" >&2; exit 4' TERM; sleep 60 & wait ;;
	esac ;;
esac
`, nil)
	for id, want := range map[string][2]string{
		"bridge": {"exit 1", "no such bridge: br7"}, "disk": {"exit 2", "disk /dev/vg/web is not there"}, "taken": {"exit 3", "port 8080 is taken"},
		"gone": {"ended by SIGKILL", ""}, "silent": {"exit 9", ""}, "slow": {"", "interrupted while mounting"},
	} {
		a := i.Do(context.Background(), health.VerbStart, id, time.Second)
		if !strings.Contains(a.Err, want[0]) || a.Err == "" || a.Cause != want[1] || a.Already {
			t.Errorf("%s: %q, cause %q, want %q", id, a.Err, a.Cause, want)
		}
	}
}

func customExitsAtOnce(t *testing.T) {
	r, i := customRig(t, rig.LXCOptions{})
	r.Add("brief", "lxc.init.cmd = /bin/true")
	if a := i.Do(context.Background(), health.VerbStart, "brief", 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "brief", health.Stopped)
}

// scriptedTool is a tool that lists what stands in a file, and can be told to do otherwise.
func scriptedTool(t *testing.T, text string, change func(*engine.CustomSpec)) (i *engine.Instance, says func(text string)) {
	path := filepath.Join(t.TempDir(), "says")
	says = func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	says(text)
	return misbehaving(t, ". "+path+"\n", change), says
}

// A tool whose daemon is away gives no observation, neither of all nor of one; what is seen after it is what was before.
func customToolAway(script string) func(*testing.T) {
	return func(t *testing.T) {
		well := fmt.Sprintf("echo web1 up %d; echo web2 down", os.Getpid())
		i, says := scriptedTool(t, well, nil)
		was := find(t, list(t, i), "web1")
		says(script)
		began := time.Now()
		if l, err := i.List(context.Background(), nil); err == nil || len(l.Containers) != 0 {
			t.Errorf("%+v", l)
		}
		if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
			t.Errorf("%+v", s)
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("that took %s", d)
		}
		says(well)
		l := list(t, i)
		if s := find(t, l, "web1"); s.State != health.Running || s.Init != was.Init || was.Init.PID == 0 || find(t, l, "web2").State != health.Stopped {
			t.Errorf("%+v", l)
		}
	}
}

// Words for work in progress are busy while they are said.
func customBusy(t *testing.T) {
	i, says := scriptedTool(t, "echo web1 BACKUP; echo web2 creating", func(c *engine.CustomSpec) {
		c.States["BACKUP"], c.States["creating"] = health.Busy, health.Busy
	})
	l := list(t, i)
	for id, word := range map[string]string{"web1": "BACKUP", "web2": "creating"} {
		if s := find(t, l, id); s.State != health.Busy || s.Detail != word || s.Lock != nil {
			t.Errorf("%+v", s)
		}
	}
	says("echo web1 up; echo web2 down")
	if l := list(t, i); find(t, l, "web1").State != health.Running || find(t, l, "web2").State != health.Stopped {
		t.Errorf("%+v", l)
	}
}

// An id stays while its name changes; commands take the name that it has now.
func customRenamed(t *testing.T) {
	i, says := scriptedTool(t, `[ "$1" = list ] && echo "7 up old" || echo "$@" >&2`, func(c *engine.CustomSpec) {
		c.Line = `^(?P<id>\S+) (?P<state>\S+) (?P<name>\S+)$`
	})
	if s := find(t, list(t, i), "7"); s.Name != "old" {
		t.Errorf("%+v", s)
	}
	says(`[ "$1" = list ] && echo "7 up new" || echo "$@" >&2`)
	if s := find(t, list(t, i), "7"); s.Name != "new" || s.State != health.Running {
		t.Errorf("%+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "7", 0); string(a.Transcript.Stderr) != "start 7 --as new\n" {
		t.Errorf("%q", a.Transcript.Stderr)
	}
}

// What can no longer be read is broken, and never stopped.
func customBreaks(t *testing.T) {
	r, i := customRig(t, rig.LXCOptions{N: 1})
	was := look(t, i, "web1")
	good, err := os.ReadFile(r.ConfigFile("web1"))
	if err != nil {
		t.Fatal(err)
	}
	r.SetConfig("web1", string(good)+"lxc.nosuch.key = 1\n")
	for what, s := range map[string]health.Sighting{"list": find(t, list(t, i), "web1"), "look": look(t, i, "web1")} {
		if s.State != health.Broken || s.Detail != "BROKEN" {
			t.Errorf("%s: %+v", what, s)
		}
	}
	r.WaitHTTP("web1", 10*time.Second)
	r.SetConfig("web1", string(good))
	if s := look(t, i, "web1"); s.State != health.Running || s.Init != was.Init || s.Mark != was.Mark {
		t.Errorf("mended: %+v, was %+v", s, was)
	}
}

func customAddresses(t *testing.T) {
	r, i := customRig(t, rig.LXCOptions{})
	addressTrial(t, r, i)
}

func customCosts(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	i, _ := scriptedTool(t, "echo run >> "+count+"\nn=0; while [ $n -lt 50 ]; do n=$((n+1)); echo web$n up; done", nil)
	if l := list(t, i); len(l.Containers) != 50 {
		t.Errorf("%d containers", len(l.Containers))
	}
	if b, err := os.ReadFile(count); string(b) != "run\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func customTakesOver(t *testing.T) {
	r, _ := customRig(t, rig.LXCOptions{N: 4})
	takeOverTrial(t, r, openJSON)
}

// What it was taught beyond starting and stopping: logs, which are its evidence, and the rarer verbs.
func customKeeps(t *testing.T) {
	i, _ := scriptedTool(t, `case $1 in list) echo "web1 down"; ;; *) echo "$@" ;; esac`, func(c *engine.CustomSpec) {
		ctl := c.List[0]
		c.Repair, c.Unlock = []string{ctl, "mend", "{{.ID}}"}, []string{ctl, "unlock", "{{.ID}}"}
		c.Backup, c.Logs = []string{ctl, "backup", "{{.ID}}", "{{.Limit}}"}, []string{ctl, "log", "--of={{.ID}}"}
	})
	for v, want := range map[health.Verb]string{health.VerbRepair: "mend web1\n", health.VerbUnlock: "unlock web1\n", health.VerbBackup: "backup web1 21600\n"} {
		if a := i.Do(context.Background(), v, "web1", 0); a.Err != "" || string(a.Transcript.Stdout) != want {
			t.Errorf("%s: %+v", v, a)
		}
	}
	shown, missing := sealed(t, i.Evidence("web1", health.Sighting{}))
	if len(shown) != 1 || !strings.Contains(shown["log.txt"], "log --of=web1") || len(missing) != 0 || !i.KeepsLogs() || len(i.Logs("web1")) != 1 {
		t.Errorf("%q, missing %q", shown, missing)
	}
	if slices.ContainsFunc(i.Files(), func(f string) bool { return !filepath.IsAbs(f) }) || i.KnowsBackups() {
		t.Errorf("%q", i.Files())
	}
}

package engine_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// vzTest is one container, 101, that runs, on a scripted OpenVZ of its own.
type vzTest struct {
	vzLab
	*openvzYard
}

func startVZ(t *testing.T, run func(*vzTest)) {
	y := newOpenVZYard(t).(*openvzYard)
	y.Make("web1", made{autostart: true})
	y.Run("web1")
	run(&vzTest{vzLab{t, y.Open(t), y.ID("web1")}, y})
}

// scriptedOpenVZ is what belongs to no trial.
func scriptedOpenVZ(t *testing.T) {
	for name, run := range map[string]func(*vzTest){
		"neither start nor stop nor restart": (*vzTest).seed, "beancounters": (*vzTest).beancounters, "attribution": (*vzTest).attribution,
		"dead": (*vzTest).lookAtDead, "other starts": (*vzTest).otherStarts, "exec": (*vzTest).execs, "over ssh": (*vzTest).farAway,
		"repair": (*vzTest).repairs, "backup": (*vzTest).backsUp, "limits": (*vzTest).limits, "hostile files": (*vzTest).hostileFiles,
		"garbled": (*vzTest).garbled, "a kernel of 3.10": (*vzTest).oldKernel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			startVZ(t, run)
		})
	}
}

// seed is the story that the project was born from, as samples/vzctl-cannot-stop-or-restart.txt has it: a container that
// can neither be started nor stopped nor restarted, while its status says that it runs.
func (v *vzTest) seed() {
	v.Kill9("101")
	v.Update("101", func(c *scripted.Container) { c.Says, c.Keys["stuck"] = "running", "1" })
	if s := v.see(); s.State != health.Unknown || !strings.Contains(s.Detail, "just ending") {
		v.Errorf("at first: %+v", s)
	}
	if a := v.do(health.VerbStart); !a.Already || a.Err != "" || a.Transcript.Exit != 32 {
		v.Errorf("start: %+v", a)
	}
	const cause = "Failed to wait for CT tasks to die (exit 33: it cannot be stopped)"
	if a := v.do(health.VerbKill); a.Transcript.Exit != 33 || a.Cause != cause {
		v.Errorf("kill: %+v", a)
	}
	if a := v.do(health.VerbRestart); a.Transcript.Exit != 33 || a.Cause != cause {
		v.Errorf("restart: %+v", a)
	}
	for _, s := range []health.Sighting{v.see(), find(v.T, list(v.T, v.i), "101")} {
		if s.State != health.Broken || s.Init.PID != 0 || !strings.Contains(s.Detail, "can be neither started nor stopped") {
			v.Errorf("nothing helps: %+v", s)
		}
	}
	v.Update("101", func(c *scripted.Container) { c.Says, c.Keys["stuck"] = "", "" }) // the obstacle is gone
	if s := v.see(); s.State != health.Stopped || !strings.HasPrefix(s.Detail, "mounted") || s.OnPurpose != "" {
		v.Errorf("afterwards: %+v", s)
	}
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Running || s.Init.PID != v.InitPID("web1") {
		v.Errorf("healed: %+v", s)
	}
}

// ubc is /proc/user_beancounters as FACTS §1 describes it.
const ubc = "Version: 2.5\n       uid  resource  held  maxheld  barrier  limit  failcnt\n" +
	"      101:  kmemsize  2752512  3145728  14372700  14790164  0\n            privvmpages  40000  65536  65536  69632  %d\n" +
	"            dummy  0  0  0  0  0\n        0:  kmemsize  1  1  1  9223372036854775807  77\n"

func (v *vzTest) beancounters() {
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 17))
	if s := v.see(); s.State != health.Running || s.Detail != "" {
		v.Errorf("at first: %+v", s)
	}
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 23))
	if s := v.see(); s.State != health.Running || s.Detail != "its beancounters refused since it was first seen: privvmpages 6 times" {
		v.Errorf("refused: %+v", s)
	}
	v.must(health.VerbRestart)
	if s := v.see(); s.Detail != "" {
		v.Errorf("a new life: %+v", s)
	}
}

func (v *vzTest) attribution() {
	for line, want := range map[string]string{
		"vzctl stop 101": "101 stop", "vzctl stop 101 --fast": "101 kill", "/usr/sbin/vzctl --skiplock stop web1 --fast": "101 kill",
		"vzctl restart 101": "101 restart", "vzctl destroy 101": "101 remove", "vzctl chkpnt 101 --suspend": "101 stop",
		"vzctl snapshot 101 --skip-suspend": "101 snapshot", "vzmigrate --online host2 101": "101 move", "vzdump --suspend 101": "101 snapshot",
		"vzctl exec 101 halt": "", "vzctl enter 101": "", "vzctl status 101": "", "vzlist 101": "", "vzctl stop nosuch": "", "vzctl stop ../101": "", "vzctl": "",
	} {
		id, verb, ok := v.i.Meaning(strings.Fields(line))
		if got := strings.TrimSpace(id + " " + string(verb)); ok != (want != "") || ok && got != want {
			v.Errorf("%s: %q %v, want %q", line, got, ok, want)
		}
	}
	if !slices.Contains(v.i.Files(), "/usr/sbin/vzctl") {
		v.Errorf("%q", v.i.Files())
	}
}

func (v *vzTest) lookAtDead() {
	s := find(v.T, list(v.T, v.i), "101")
	v.Kill9("101")
	before := len(v.Calls())
	dead, err := v.i.Look(context.Background(), "101", s.Init)
	if err != nil || dead.State != health.Stopped || dead.Mark != s.Mark || dead.Config != s.Config || dead.Autostart != health.Yes || dead.Name != "web1" {
		v.Errorf("%+v, %v; before: %+v", dead, err, s)
	}
	if calls := v.Calls()[before:]; len(calls) != 0 {
		v.Errorf("processes were started on the way to the healing: %q", calls)
	}
	v.WriteFile("/vz/dump/Dump.101", "") // a suspend puts a container away like that
	v.Update("101", func(c *scripted.Container) { c.Says = "suspended" })
	if s, err := v.i.Look(context.Background(), "101", s.Init); err != nil || s.State != health.Paused {
		v.Errorf("suspended: %+v, %v", s, err)
	}
}

func (v *vzTest) otherStarts() {
	for id, state := range map[string]string{"105": "mounted", "106": "suspended"} {
		v.AddVZ(scripted.Container{ID: id, State: state, Keys: map[string]string{"private": "/srv/p/" + id}})
		if s := look(v.T, v.i, id); s.Mark == "" {
			v.Errorf("its private area is elsewhere, and not looked at: %+v", s)
		}
		if a := v.i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" || a.Already {
			v.Errorf("start of what is %s: %+v", state, a)
		}
		awaitState(v.T, v.i, id, health.Running)
	}
}

func (v *vzTest) execs() {
	for _, argv := range [][]string{{"echo", "it's", "$HOME"}, {"printf", "%s|", "a b", "", "--x"}} {
		out := v.i.Exec(context.Background(), "101", argv, time.Minute)
		want, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil || string(out.Stdout) != string(want) || out.Exit != 0 {
			v.Errorf("%q: %q, exit %d, want %q (%v)", argv, out.Stdout, out.Exit, want, err)
		}
	}
}

// limits: a stop takes over 120 s, and what holds a lock meanwhile must not be killed.
func (v *vzTest) limits() {
	for verb, least := range map[health.Verb]time.Duration{
		health.VerbStart: 2 * time.Minute, health.VerbStop: 121 * time.Second, health.VerbKill: 62 * time.Second, health.VerbRestart: 4 * time.Minute,
		health.VerbRepair: 10 * time.Second, health.VerbBackup: 5 * time.Minute,
	} {
		if got := v.i.Limit(verb); got <= least {
			v.Errorf("%s is given %v", verb, got)
		}
	}
	if v.i.Can(health.VerbUnlock) || v.i.KeepsLogs() {
		v.Error("vzctl removes stale locks by itself, and keeps no console")
	}
}

func (v *vzTest) hostileFiles() { v.hostile(v.Host, v.id) }

// garbled: what is cut, empty or nonsense is no list.
func (v *vzTest) garbled() {
	for _, f := range []scripted.Fault{{Do: scripted.Garble}, {Do: scripted.Flood}, {Do: scripted.Empty}, {Do: scripted.Answer, Reply: "list-notfound"}} {
		f.On = "vzlist"
		v.Fault(f)
		if l, err := v.i.List(context.Background(), nil); err == nil {
			v.Errorf("%s: %+v", f.Do, l)
		}
		v.Heal()
	}
	if l := list(v.T, v.i); len(l.Containers) != 1 {
		v.Errorf("healed: %+v", l)
	}
}

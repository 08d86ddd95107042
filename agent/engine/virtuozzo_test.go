package engine_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// prlTest is one container, web1, that runs, on a scripted Virtuozzo of its own.
type prlTest struct {
	vzLab
	*virtuozzoYard
}

func startPrl(t *testing.T, run func(*prlTest)) {
	y := newVirtuozzoYard(t).(*virtuozzoYard)
	y.Make("web1", made{autostart: true})
	y.Run("web1")
	run(&prlTest{vzLab{t, y.Open(t), y.ID("web1")}, y})
}

// scriptedVirtuozzo is what belongs to no trial.
func scriptedVirtuozzo(t *testing.T) {
	for name, run := range map[string]func(*prlTest){
		"states": (*prlTest).states, "events": (*prlTest).events, "VMs": (*prlTest).vms, "an EnvID of old": (*prlTest).oldID,
		"file system error": (*prlTest).fserror, "dead": (*prlTest).lookAtDead, "attribution": (*prlTest).attribution, "over ssh": (*prlTest).farAway,
		"repair": (*prlTest).repairs, "backup": (*prlTest).backsUp, "limits": (*prlTest).limits, "hostile files": (*prlTest).hostileFiles,
		"garbled": (*prlTest).garbled, "a kernel of 3.10": (*prlTest).oldKernel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			startPrl(t, run)
		})
	}
}

// states: every word of vmstate2str (FACTS §2), and one that is none of them.
func (v *prlTest) states() {
	for word, want := range map[string]health.RunState{
		"stopped": health.Stopped, "starting": health.Busy, "restoring": health.Busy, "running": health.Running, "paused": health.Paused,
		"resetting": health.Busy, "pausing": health.Busy, "suspending": health.Busy, "stopping": health.Busy, "compacting": health.Busy,
		"suspended": health.Paused, "snapshoting": health.Busy, "continuing": health.Busy, "migrating": health.Busy, "del_snapshot": health.Busy,
		"resuming": health.Busy, "syncing": health.Busy, "invalid": health.Broken, "reconnecting": health.Busy, "mounted": health.Stopped,
		"hibernating": health.Unknown,
	} {
		v.Update(v.id, func(c *scripted.Container) { c.Says = word })
		s := v.listed()
		if s.State != want || want != health.Running && want != health.Stopped && !strings.Contains(s.Detail, word) {
			v.Errorf("%s: %+v, want %s", word, s, want)
		}
		if word == "mounted" && !strings.Contains(s.Detail, word) {
			v.Errorf("%+v", s)
		}
	}
	v.Update(v.id, func(c *scripted.Container) { c.Says = "hibernating" })
	if l := list(v.T, v.i); len(l.Notes) != 0 {
		v.Errorf("told again: %q", l.Notes)
	}
}

func (v *prlTest) vms() {
	id := v.ID("vm1")
	v.AddVZ7(scripted.Container{ID: id, Name: "vm1", Type: "VM", Keys: map[string]string{"autostart": "on"}})
	if s := find(v.T, list(v.T, v.i), id); s.State != health.Stopped || s.Name != "vm1" || s.Autostart != health.Maybe || s.OnPurpose != "" {
		v.Errorf("list: %+v", s)
	}
	for _, word := range []string{"on", "auto", "off"} {
		v.Update(id, func(c *scripted.Container) { c.Keys["autostart"] = word })
		if s := look(v.T, v.i, id); s.State != health.Stopped || (s.Autostart == health.No) != (word == "off") || s.Autostart == health.Maybe || s.Mark != id {
			v.Errorf("autostart %s: %+v", word, s)
		}
	}
	if s := find(v.T, list(v.T, v.i), id); s.Autostart != health.No {
		v.Errorf("after a look: %+v", s)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		v.Errorf("%+v", a)
	}
	if s := look(v.T, v.i, id); s.State != health.Running || s.Name != "vm1" {
		v.Errorf("%+v", s)
	}
	if out := v.i.Exec(context.Background(), id, []string{"echo", "a b"}, time.Minute); string(out.Stdout) != "a b\n" || filepath.Base(out.Argv[0]) != "prlctl" {
		v.Errorf("%+v", out)
	}
	v.Update(id, func(c *scripted.Container) { c.Says = "paused" })
	if s := look(v.T, v.i, id); s.State != health.Paused {
		v.Errorf("%+v", s)
	}
	v.Update(id, func(c *scripted.Container) { c.Says, c.Keys["template"] = "", "yes" })
	if s := look(v.T, v.i, id); s.State != health.Busy || !strings.Contains(s.Detail, "template") {
		v.Errorf("%+v", s)
	}
	v.DestroyVZ7(id)
	if s := look(v.T, v.i, id); s.State != health.Removed || v.i.Defined(id) {
		v.Errorf("%+v", s)
	}
}

// oldID: the files of a container that is older than Virtuozzo 7 are named by a number.
func (v *prlTest) oldID() {
	id := v.ID("old")
	v.AddVZ7(scripted.Container{ID: id, Name: "old", Keys: map[string]string{"envid": "101", "onboot": "true"}})
	v.StartVZ7(id)
	s := find(v.T, list(v.T, v.i), id)
	if s.State != health.Running || s.Init.PID != v.Get(id).PID || s.Autostart != health.Yes || !v.i.Defined(id) {
		v.Errorf("%+v", s)
	}
	if out := v.i.Exec(context.Background(), id, []string{"echo", "it's $HOME"}, time.Minute); string(out.Stdout) != "it's $HOME\n" || out.Argv[3] != "101" {
		v.Errorf("%+v", out)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if s := find(v.T, list(v.T, v.i), id); s.State != health.Running || s.Name != "old" {
		v.Errorf("by vzlist: %+v", s)
	}
	v.Kill9(id)
	if a := v.i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		v.Errorf("by vzctl: %+v", a)
	}
}

// fserror is what the vendor's ve-fserror leaves behind: the container was stopped because its disk failed.
func (v *prlTest) fserror() {
	v.see()
	v.WriteFile("/var/log/vzctl.log", "2026-11-23T15:52:05+00:00 fserror : Container "+v.id+" : fserror on ploop12345p1\n"+
		"2026-11-23T15:52:05+0000 vzctl : CT "+v.id+" : Killing Container ...\n2026-11-23T15:52:06+0000 vzctl : CT "+v.id+" : Container was stopped\n")
	v.Update(v.id, func(c *scripted.Container) { v.End(c); c.State = "stopped" })
	if s := v.listed(); s.State != health.Broken || !strings.Contains(s.Detail, "fserror on ploop12345p1") || s.OnPurpose != "" {
		v.Errorf("%+v", s)
	}
	person(v.T, v.Host, "prlctl", "start", v.id)
	if s := v.listed(); s.State != health.Running {
		v.Errorf("a person started it: %+v", s)
	}
}

func (v *prlTest) lookAtDead() {
	s := v.listed()
	v.Kill9(v.id)
	before := len(v.Calls())
	dead, err := v.i.Look(context.Background(), v.id, s.Init)
	if err != nil || dead.State != health.Stopped || dead.Mark != s.Mark || dead.Config != s.Config || dead.Autostart != health.Yes || dead.OnPurpose != "" {
		v.Errorf("%+v, %v; before: %+v", dead, err, s)
	}
	if calls := v.Calls()[before:]; len(calls) != 0 {
		v.Errorf("processes were started on the way to the healing: %q", calls)
	}
	v.must(health.VerbStart)
	s = v.see()
	person(v.T, v.Host, "prlctl", "stop", v.id)
	if dead, err := v.i.Look(context.Background(), v.id, s.Init); err != nil || dead.State != health.Stopped || dead.OnPurpose == "" {
		v.Errorf("a person stopped it: %+v, %v", dead, err)
	}
}

func (v *prlTest) attribution() {
	v.listed()
	for line, want := range map[string]string{
		"prlctl stop web1": "stop", "prlctl stop web1 --kill": "kill", "/usr/bin/prlctl stop {" + v.id + "}": "stop", "prlctl restart " + v.id: "restart",
		"prlctl reset web1": "restart", "prlctl delete web1": "remove", "prlctl migrate web1 host2": "move", "prlctl backup web1": "snapshot",
		"prlctl suspend web1": "stop", "vzctl stop " + v.id + " --fast": "kill", "prlctl snapshot web1": "snapshot",
		"prlctl start web1": "", "prlctl exec web1 halt": "", "prlctl list -a": "", "prlctl stop nosuch": "", "prlctl": "",
	} {
		id, verb, ok := v.i.Meaning(strings.Fields(line))
		if ok != (want != "") || ok && (id != v.id || string(verb) != want) {
			v.Errorf("%s: %q %q %v, want %q", line, id, verb, ok, want)
		}
	}
}

func (v *prlTest) limits() {
	for verb, least := range map[health.Verb]time.Duration{
		health.VerbStart: 2 * time.Minute, health.VerbStop: 121 * time.Second, health.VerbKill: 62 * time.Second, health.VerbRestart: 4 * time.Minute,
		health.VerbRepair: 10 * time.Second, health.VerbBackup: time.Hour,
	} {
		if got := v.i.Limit(verb); got <= least {
			v.Errorf("%s is given %v", verb, got)
		}
	}
	if v.i.Can(health.VerbUnlock) || v.i.KeepsLogs() {
		v.Error("vzctl removes stale locks by itself, and keeps no console")
	}
}

func (v *prlTest) hostileFiles() { v.hostile(v.Host, v.id) }

// garbled: what is cut, empty or nonsense is no list.
func (v *prlTest) garbled() {
	for _, f := range []scripted.Fault{{Do: scripted.Garble}, {Do: scripted.Flood}, {Do: scripted.Empty}, {Do: scripted.Answer, Reply: "list-nosuch"}} {
		f.On = "prlctl list"
		v.Fault(f)
		if l, err := v.i.List(context.Background(), nil); err == nil {
			v.Errorf("%s: %+v", f.Do, l)
		}
		v.Heal()
	}
	v.listed()
}

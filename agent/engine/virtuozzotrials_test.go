package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// virtuozzoTrials: each on a scripted host of its own, since those cost nothing.
func virtuozzoTrials() stager {
	vz := func(runs ...func(*prlTest)) stand[struct{}] {
		var s stand[struct{}]
		for _, run := range runs {
			s.by = append(s.by, scriptedTrial(func(t *testing.T) { startPrl(t, run) }))
		}
		return s
	}
	return stages("virtuozzo", func(*testing.T) struct{} { return struct{}{} }, nil, map[trial]stand[struct{}]{
		found: vz((*prlTest).discovers), missing: vz((*prlTest).vanishes), rebooted: vz((*prlTest).reboots), ignores: vz((*prlTest).ignoresStop),
		failsToStart: vz((*prlTest).causes), startLies: vz((*prlTest).lies), locked: vz((*prlTest).locks), staleLock: vz((*prlTest).staleLocks),
		daemonStopped: vz((*prlTest).withoutDispatcher), daemonHung: vz((*prlTest).dispatcherHangs), daemonAnew: vz((*prlTest).dispatcherAnew),
		oneHangs: vz((*prlTest).oneStalls), renamed: vz((*prlTest).renames), halfMade: vz((*prlTest).templates), breaks: vz((*prlTest).breaksItsConfig),
		addresses: vz((*prlTest).addressKinds), whoStopped: vz((*prlTest).whoStopped), others: vz((*prlTest).highlyAvailable, (*prlTest).foreign),
		strange: vz((*prlTest).unescaped, (*prlTest).strangeWords), oneProcess: vz((*prlTest).oneProcess), takesOver: vz((*prlTest).takesOver), keeps: vz((*prlTest).keeps),
	})
}

// vanishes: the dispatcher does not know it any more, while its files are there.
func (v *prlTest) vanishes() {
	list(v.T, v.i)
	v.Delete(v.id)
	if s := peek(list(v.T, v.i), v.id); s != nil || !v.i.Defined(v.id) {
		v.Errorf("%+v, defined %v", s, v.i.Defined(v.id))
	}
	if s := v.see(); s.State != health.Missing || !strings.Contains(s.Detail, "the dispatcher does not know it") {
		v.Errorf("%+v", s)
	}
	v.RemoveFile("/etc/vz/conf/" + v.id + ".conf") // unregistered
	if s := v.see(); s.State != health.Removed || v.i.Defined(v.id) {
		v.Errorf("%+v", s)
	}
}

func (v *prlTest) reboots() {
	before := v.see().Init
	v.Update(v.id, func(c *scripted.Container) { v.End(c) })
	v.StartVZ7(v.id)
	v.both("rebooted", func(s health.Sighting) bool {
		return s.State == health.Running && s.Init != before && s.Init.PID == v.InitPID("web1")
	})
}

// ignoresStop: of a VM whose guest does not shut down the dispatcher says so, and kills nothing; a container it stops as
// vzctl does, which takes as long as it takes.
func (v *prlTest) ignoresStop() {
	v.see()
	v.Update(v.id, func(c *scripted.Container) { c.Type, c.Keys["ignores"] = "VM", "10ms" })
	before := v.Get(v.id).PID
	list(v.T, v.i)
	if a := v.do(health.VerbStop); a.Transcript.Exit != 255 || a.Cause != "The operation timed out." {
		v.Errorf("%+v", a)
	}
	if s := v.see(); s.State != health.Running || v.Get(v.id).PID != before || !v.Get(v.id).Alive() {
		v.Errorf("%+v", s)
	}
	v.must(health.VerbKill)
	if s := v.see(); s.State != health.Stopped {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "prlctl start", Do: scripted.Hang, For: time.Second})
	v.lateSuccess(health.VerbStart, health.Running)
}

func (v *prlTest) causes() {
	v.must(health.VerbKill)
	for reply, want := range map[string]string{
		"start-ip":          "Unable to add ip 192.168.0.161: Address already in use",
		"start-template":    "Unable to start init, probably incorrect template",
		"start-memory":      "There is not enough memory to start the virtual environment.",
		"list-nosuch":       "The virtual machine could not be found.",
		"list-nodispatcher": "Login failed: Unable to connect to Parallels Service. (exit 253: the dispatcher cannot be reached)",
		"list-frozen":       "(exit 254: the dispatcher is frozen)",
	} {
		v.Fault(scripted.Fault{On: "prlctl start", Do: scripted.Answer, Reply: reply})
		if a := v.do(health.VerbStart); a.Err == "" || a.Already || a.Cause != want || a.Transcript.Exit < 253 {
			v.Errorf("%s: %+v, want the cause %q", reply, a, want)
		}
	}
	v.Heal()
	if a := v.do(health.VerbStop); a.Err != "" {
		v.Errorf("stop of what does not run exits 0: %+v", a)
	}
	if out := v.i.Exec(context.Background(), v.id, []string{"true"}, time.Minute); out.Exit != 31 {
		v.Errorf("exec in what does not run: %+v", out)
	}
	v.Update(v.id, func(c *scripted.Container) { c.Keys["fails"] = "start-ip" })
	if a := v.do(health.VerbStart); a.Transcript.Exit != 255 || a.Cause != "Unable to add ip 192.168.0.161: Address already in use" {
		v.Errorf("%+v", a)
	}
}

func (v *prlTest) lies() {
	v.must(health.VerbKill)
	v.Fault(scripted.Fault{On: "prlctl start", Do: scripted.Answer, Reply: "start"})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped {
		v.Errorf("prlctl start lied: %+v", s)
	}
	v.Fault(scripted.Fault{On: "prlctl start", Do: scripted.Die})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("its init died at once: %+v", s)
	}
	v.Heal()
	v.must(health.VerbStart)
	v.see()
	v.Update(v.id, func(c *scripted.Container) { c.Says = "running" })
	v.Kill9(v.id)
	if s := v.listed(); s.State != health.Unknown || s.Init.PID != 0 {
		v.Errorf("the dispatcher lies: %+v", s)
	}
}

func (v *prlTest) oneProcess() {
	for n := range 50 {
		v.AddVZ7(scripted.Container{ID: fmt.Sprintf("22c418d7-948b-456e-9d84-%012d", n)})
	}
	before := len(v.Calls())
	l := list(v.T, v.i)
	if calls := v.Calls()[before:]; len(l.Containers) != 51 || len(calls) != 1 || calls[0][0] != "prlctl" {
		v.Errorf("%d containers, %q", len(l.Containers), calls)
	}
	if s := find(v.T, l, "22c418d7-948b-456e-9d84-000000000001"); s.Name != s.Ref.ID || s.Autostart != health.Maybe {
		v.Errorf("without a name: %+v", s)
	}
}

// unescaped: early versions of prlctl do not escape what they print in JSON.
func (v *prlTest) unescaped() {
	v.Make(`19" rack`, made{autostart: true})
	l := list(v.T, v.i)
	if s := find(v.T, l, v.ID(`19" rack`)); s.Name != `19" rack` || s.State != health.Stopped || s.Autostart != health.Yes {
		v.Errorf("%+v", s)
	}
	if s := find(v.T, l, v.id); s.State != health.Running || s.Name != "web1" || len(s.Addrs) != 2 {
		v.Errorf("%+v", s)
	}
}

// strangeWords: a prlctl of tomorrow.
func (v *prlTest) strangeWords() {
	v.Fault(scripted.Fault{On: "prlctl list", Do: scripted.Answer, Reply: "list-strange"})
	l := list(v.T, v.i)
	if s := find(v.T, l, v.id); s.State != health.Unknown || !strings.Contains(s.Detail, "hibernating") || s.Name != "7" {
		v.Errorf("%+v", s)
	}
	if len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "hibernating") {
		v.Errorf("%q", l.Notes)
	}
	if l := list(v.T, v.i); len(l.Notes) != 0 {
		v.Errorf("told again: %q", l.Notes)
	}
	if s := v.see(); s.State != health.Unknown || s.Name != "7" {
		v.Errorf("look: %+v", s)
	}
}

func (v *prlTest) keeps() {
	v.WriteFile("/vz/lock/"+v.id+".lck", "1\nBacking up\n")
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(strings.ReplaceAll(ubc, "101", "3d32522a"), 17))
	logs := []string{"prl-disp.log", "ploop.log", "pcompact.log", "shaman.log", "pdrs.log"}
	shows := map[string]string{
		"prlctl-info.json": `"State": "running"`, "vz-lock.txt": "Backing up", "user_beancounters.txt": "privvmpages", "vz-container.conf": "ONBOOT=\"yes\"",
		"vzctl.log": "CT " + v.id + " : Container start in progress...", "vz.conf": "LOCKDIR=/vz/lock",
	}
	for _, log := range logs {
		v.WriteFile("/var/log/"+log, "what "+log+" says\n")
		shows[log] = "what " + log + " says"
	}
	v.evidence(v.Root(), append([]string{"prlctl-info.json", "vz-lock.txt", "user_beancounters.txt", "vz-container.conf", "vzctl.log", "vz.conf"}, logs...), shows)
}

func (v *prlTest) renames() {
	before := v.listed()
	v.Update(v.id, func(c *scripted.Container) { c.Name = "shop" })
	v.both("renamed", func(s health.Sighting) bool {
		return s.Name == "shop" && s.Ref == before.Ref && s.Mark == before.Mark && s.Init == before.Init && s.State == health.Running
	})
	if id, _, ok := v.i.Meaning([]string{"prlctl", "stop", "shop"}); id != v.id || !ok {
		v.Error("its new name is not known on a command line")
	}
	if _, _, ok := v.i.Meaning([]string{"prlctl", "stop", "web1"}); ok {
		v.Error("its old name is known still")
	}
}

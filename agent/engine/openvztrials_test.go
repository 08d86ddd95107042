package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// openvzTrials: each on a scripted host of its own, since those cost nothing.
func openvzTrials() stager {
	vz := func(runs ...func(*vzTest)) stand[struct{}] {
		var s stand[struct{}]
		for _, run := range runs {
			s.by = append(s.by, scriptedTrial(func(t *testing.T) { startVZ(t, run) }))
		}
		return s
	}
	daemonless := func(s stand[struct{}]) stand[struct{}] { s.never = noDaemon; return s }
	kills := vz((*vzTest).ignoresStop)
	kills.never = "Its own stop kills what has not ended after 120 s (STOP_TIMEOUT), and cannot be told not to."
	template := vz((*vzTest).halfMade)
	template.never = "Its templates are archives, which are no containers."
	return stages("openvz", func(*testing.T) struct{} { return struct{}{} }, nil, map[trial]stand[struct{}]{
		found: vz((*vzTest).discovers), missing: vz((*vzTest).vanishes), rebooted: vz((*vzTest).reboots), ignores: kills,
		failsToStart: vz((*vzTest).causes), startLies: vz((*vzTest).lies), locked: vz((*vzTest).locks, (*vzTest).ownLock), staleLock: vz((*vzTest).staleLocks),
		daemonStopped: daemonless(vz((*vzTest).brokenHost)), daemonHung: daemonless(vz((*vzTest).toolHangs)), daemonAnew: {never: noDaemon},
		oneHangs: vz((*vzTest).oneStalls), renamed: vz((*vzTest).renames), halfMade: template, breaks: vz((*vzTest).breaksItsConfig),
		addresses: vz((*vzTest).addressKinds), whoStopped: vz((*vzTest).whoStopped, (*vzTest).poweroff),
		others:  {never: "Nothing that would start its containers besides leaves a word where its tools would tell of it."},
		strange: vz((*vzTest).invalidJSON, (*vzTest).strangeWords), oneProcess: vz((*vzTest).oneProcess), takesOver: vz((*vzTest).takesOver), keeps: vz((*vzTest).keeps),
	})
}

func (v *vzTest) vanishes() {
	v.Make("web2", made{})
	v.RemoveFile(scripted.VZPrivate("102"))
	if s := peek(list(v.T, v.i), "102"); s != nil || !v.i.Defined("102") {
		v.Errorf("%+v, defined %v", s, v.i.Defined("102"))
	}
	if s := look(v.T, v.i, "102"); s.State != health.Missing || !strings.Contains(s.Detail, "private area") {
		v.Errorf("%+v", s)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "102", 0); a.Transcript.Exit != 43 || !strings.Contains(a.Cause, "/vz/private/102 does not exist") {
		v.Errorf("%+v", a)
	}
	v.RemoveFile(scripted.VZPrivate("101"))
	if s := v.see(); s.State != health.Running { // a running one is shown
		v.Errorf("%+v", s)
	}
	v.DestroyVZ("102")
	if s := look(v.T, v.i, "102"); s.State != health.Removed || v.i.Defined("102") {
		v.Errorf("destroyed: %+v", s)
	}
}

func (v *vzTest) reboots() {
	before := v.see().Init
	v.Update("101", func(c *scripted.Container) { v.End(c) })
	v.StartVZ("101")
	if s := v.see(); s.State != health.Running || s.Init == before || s.Init.PID != v.InitPID("web1") {
		v.Errorf("%+v after %+v", s, before)
	}
}

func (v *vzTest) brokenHost() {
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-broken-host"})
	_, err := v.i.List(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "printed nothing") || !strings.Contains(err.Error(), "/proc/vz/veinfo") {
		v.Errorf("list: %v", err)
	}
	if s, err := v.i.Look(context.Background(), "101", health.Process{}); err == nil {
		v.Errorf("look: %+v", s)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-none"})
	if l, err := v.i.List(context.Background(), nil); err == nil {
		v.Errorf("no containers, and a configuration: %+v", l)
	}
	v.Heal()
	v.DestroyVZ("101")
	if l := list(v.T, v.i); len(l.Containers) != 0 {
		v.Errorf("%+v", l)
	}
}

func (v *vzTest) lies() {
	v.must(health.VerbKill)
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Answer, Reply: "start"})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped {
		v.Errorf("vzctl start lied: %+v", s)
	}
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Die})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("its init died at once: %+v", s)
	}
}

func (v *vzTest) oneProcess() {
	for n := range 50 {
		v.AddVZ(scripted.Container{ID: fmt.Sprint(200 + n)})
	}
	before := len(v.Calls())
	l := list(v.T, v.i)
	if calls := v.Calls()[before:]; len(l.Containers) != 51 || len(calls) != 1 || calls[0][0] != "vzlist" {
		v.Errorf("%d containers, %q", len(l.Containers), calls)
	}
	if strings.Contains(strings.Join(v.Calls()[before], " "), "description") {
		v.Error("the description is asked for")
	}
}

// invalidJSON is samples/vzlist-unescaped-quote.INVALID.json: vzlist does not escape what it prints.
func (v *vzTest) invalidJSON() {
	for id, c := range map[string]scripted.Container{
		"102": {Name: `19" rack`, Keys: map[string]string{"onboot": "true"}}, "103": {State: "suspended"},
		"104": {State: "mounted", Keys: map[string]string{"onboot": "false", "disabled": "true"}},
	} {
		c.ID = id
		v.AddVZ(c)
	}
	l := list(v.T, v.i)
	if web1 := find(v.T, l, "101"); web1.State != health.Running || web1.Name != "web1" || len(web1.Addrs) != 2 || web1.Autostart != health.Yes || web1.Mark == "" {
		v.Errorf("%+v", web1)
	}
	if s := find(v.T, l, "102"); s.State != health.Stopped || s.Name != `19" rack` || s.Autostart != health.Yes {
		v.Errorf("%+v", s)
	}
	if s := find(v.T, l, "103"); s.State != health.Paused || s.Detail != "suspended" || s.Autostart != health.Maybe {
		v.Errorf("%+v", s)
	}
	if s := find(v.T, l, "104"); s.State != health.Stopped || s.Autostart != health.No || !strings.Contains(s.OnPurpose, "DISABLED") {
		v.Errorf("%+v", s)
	}
	if len(l.Notes) != 1 || len(list(v.T, v.i).Notes) != 0 {
		v.Errorf("notes %q, and again %q", l.Notes, list(v.T, v.i).Notes)
	}
	if s := look(v.T, v.i, "102"); s.State != health.Stopped || s.Name != `19" rack` {
		v.Errorf("look: %+v", s)
	}
}

// strangeWords: a vzlist of tomorrow.
func (v *vzTest) strangeWords() {
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-strange"})
	l := list(v.T, v.i)
	if s := find(v.T, l, "101"); s.State != health.Unknown || !strings.Contains(s.Detail, "hibernating") || s.Name != "7" || s.Autostart != health.Yes {
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
	v.Heal()
	v.Update("101", func(c *scripted.Container) { c.Keys["disabled"] = "true" })
	v.Kill9("101")
	v.both("disabled", func(s health.Sighting) bool { return s.Autostart == health.No })
}

func (v *vzTest) keeps() {
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 17))
	v.WriteFile("/vz/lock/101.lck", "1\nbackup\n")
	v.evidence(v.Root(), []string{"vzlist.json", "vz-lock.txt", "user_beancounters.txt", "vz-container.conf", "vzctl.log", "vz.conf"}, map[string]string{
		"vzlist.json": `"status": "running"`, "vz-lock.txt": "backup", "user_beancounters.txt": "privvmpages  40000  65536  65536  69632  17",
		"vz-container.conf": `NAME="web1"`, "vzctl.log": "CT 101 : Container start in progress...", "vz.conf": "LOCKDIR=/vz/lock",
	})
}

package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *prlTest) whoStopped() {
	v.see()
	person(v.T, v.Host, "prlctl", "stop", v.id)
	if s := v.see(); s.State != health.Stopped || !strings.Contains(s.OnPurpose, "Stopping Container") {
		v.Errorf("a person stopped it: %+v", s)
	}
	person(v.T, v.Host, "prlctl", "start", v.id)
	v.see()
	v.Kill9(v.id)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died: %+v", s)
	}
	v.RemoveFile(scripted.VZPrivate(v.id) + "/.running") // the vendor's ve-stop cleans up a moment later
	if s := v.listed(); s.OnPurpose != "" {
		v.Errorf("it died, and was cleaned up: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	v.RemoveFile("/var/log/vzctl.log") // the mark alone tells as well
	person(v.T, v.Host, "prlctl", "stop", v.id)
	v.RemoveFile("/var/log/vzctl.log")
	if s := v.listed(); !strings.Contains(s.OnPurpose, ".running") {
		v.Errorf("stopped, and no log: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	v.must(health.VerbStop)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("we stopped it: %+v", s)
	}
	v.WriteFile("/etc/vz/conf/"+v.id+".conf", "ONBOOT=\"yes\"\nDISABLED=\"yes\"\n")
	if s := v.see(); s.Autostart != health.No || !strings.Contains(s.OnPurpose, "DISABLED") {
		v.Errorf("disabled: %+v", s)
	}
}

func (v *prlTest) locks() {
	pid, _ := sleeper(v.T)
	for action, want := range map[string]string{"Backing up": "Backing up", "migrating": "migrating", "": "/bin/sleep 300"} {
		v.WriteFile("/vz/lock/"+v.id+".lck", fmt.Sprintf("%d\n%s\n", pid, action))
		s := v.see() // a container that is backed up looks running
		if s.State != health.Running || s.Lock == nil || s.Lock.Dead || s.Lock.Operation != want || s.Lock.Holder.PID != pid {
			v.Errorf("%q: %+v, lock %+v", action, s, s.Lock)
		}
	}
	v.Kill9(v.id)
	held := fmt.Sprintf("Locked info: pid=%d cmdline=/bin/sleep 300", pid)
	if a := v.do(health.VerbStart); a.Transcript.Exit != 255 || a.Cause != held {
		v.Errorf("start of a locked one: %+v", a)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	list(v.T, v.i)
	if a := v.do(health.VerbStart); a.Transcript.Exit != 9 || a.Cause != held+" (exit 9: an operation holds its lock)" {
		v.Errorf("by vzctl: %+v", a)
	}
}

// staleLocks: the dispatcher's process is gone, or another has its number.
func (v *prlTest) staleLocks() {
	lock := "/vz/lock/" + v.id + ".lck"
	v.WriteFile(lock, "4194305\nBacking up\n")
	v.both("a dead holder", func(s health.Sighting) bool { return s.Lock != nil && s.Lock.Dead && s.Lock.Operation == "Backing up" })
	pid, _ := sleeper(v.T)
	v.WriteFile(lock, fmt.Sprintf("%d\nBacking up\n", pid))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(v.File(lock), old, old); err != nil {
		v.Fatal(err)
	}
	v.both("a pid younger than its lock", func(s health.Sighting) bool { return s.Lock != nil && s.Lock.Dead })
	v.RemoveFile(lock)
	v.both("removed", func(s health.Sighting) bool { return s.Lock == nil })
}

// foreign: exit 141 says that another node of the cluster owns it. Nobody starts it here then, until it runs here.
func (v *prlTest) foreign() {
	v.must(health.VerbKill)
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	list(v.T, v.i)
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Answer, Reply: "vzctl-noprivate"})
	if a := v.do(health.VerbStart); a.Cause != "exit 42: its private area is missing" || v.see().Supervisor != "" {
		v.Errorf("%+v", a)
	}
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Answer, Reply: "vzctl-foreign"})
	if a := v.do(health.VerbStart); a.Transcript.Exit != 141 || a.Cause != "exit 141: another node of the cluster owns it" {
		v.Errorf("%+v", a)
	}
	if s := v.see(); !strings.Contains(s.Supervisor, "another node") || !s.Elsewhere {
		v.Errorf("%+v", s)
	}
	v.Heal()
	if s := v.listed(); !strings.Contains(s.Supervisor, "another node") {
		v.Errorf("by the dispatcher: %+v", s)
	}
	v.StartVZ7(v.id)
	if s := v.listed(); s.Supervisor != "" {
		v.Errorf("it runs here: %+v", s)
	}
}

// highlyAvailable: ha_enable is on by default, and means something only with shaman, on shared storage.
func (v *prlTest) highlyAvailable() {
	v.Update(v.id, func(c *scripted.Container) { c.Keys["ha"] = "yes" })
	v.WriteFile("/proc/mounts", "/dev/sda2 / ext4 rw 0 0\n/dev/sda3 /vz ext4 rw 0 0\n")
	if s := v.see(); s.Supervisor != "" {
		v.Errorf("no shaman: %+v", s)
	}
	v.WriteFile("/usr/sbin/shaman", "")
	if s := v.see(); s.Supervisor != "" {
		v.Errorf("on the host's own disk: %+v", s)
	}
	v.WriteFile("/proc/mounts", "/dev/sda2 / ext4 rw 0 0\npstorage://c /vz fuse.pstorage rw 0 0\n")
	if s := v.listed(); s.Supervisor != "Virtuozzo HA (shaman)" || !s.Elsewhere {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if s := v.listed(); s.Supervisor != "Virtuozzo HA (shaman)" {
		v.Errorf("by vzlist: %+v", s)
	}
	v.Heal()
	v.Update(v.id, func(c *scripted.Container) { c.Keys["ha"] = "no" })
	if s := v.see(); s.Supervisor != "" || s.Elsewhere {
		v.Errorf("switched off: %+v", s)
	}
}

// templates: the list leaves them out, and one that was made of a container is left alone; so is one that is being made.
func (v *prlTest) templates() {
	v.Kill9(v.id)
	v.listed()
	v.Update(v.id, func(c *scripted.Container) { c.Keys["template"] = "yes" })
	if s := peek(list(v.T, v.i), v.id); s != nil {
		v.Errorf("listed: %+v", s)
	}
	if s := v.see(); s.State != health.Busy || !strings.Contains(s.Detail, "template") {
		v.Errorf("%+v", s)
	}
	v.Make("new", made{})
	pid, _ := sleeper(v.T)
	v.WriteFile("/vz/lock/"+v.ID("new")+".lck", fmt.Sprintf("%d\ncreating\n", pid))
	if s := find(v.T, list(v.T, v.i), v.ID("new")); s.Lock == nil || s.Lock.Operation != "creating" || s.Lock.Dead {
		v.Errorf("being made: %+v", s)
	}
}

func (v *prlTest) breaksItsConfig() {
	before := v.see()
	for what, text := range map[string]string{"garbage": "\x00\xff=\"\nNAME=(\n", "empty": ""} {
		v.WriteFile("/etc/vz/conf/"+v.id+".conf", text)
		v.both(what, func(s health.Sighting) bool {
			return s.State == health.Running && s.Init == before.Init && s.Mark == before.Mark && s.Config != before.Config
		})
	}
	v.RemoveFile("/etc/vz/conf/" + v.id + ".conf")
	v.both("gone", func(s health.Sighting) bool { return s.State == health.Running && s.Init == before.Init })
	v.Update(v.id, func(c *scripted.Container) { c.Says = "invalid" }) // and then the dispatcher sees it
	v.both("invalid", func(s health.Sighting) bool { return s.State == health.Broken && s.OnPurpose == "" })
}

func (v *prlTest) addressKinds() {
	for _, want := range [][]string{{"10.0.0.1"}, {"2001:db8::1"}, {"10.0.0.1", "10.0.0.2", "2001:db8::1"}, {}} {
		v.Update(v.id, func(c *scripted.Container) { c.Addrs = want })
		for _, deaf := range []bool{false, true} {
			if deaf {
				v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
			}
			v.both(fmt.Sprint(want), func(s health.Sighting) bool {
				got := []string{}
				for _, a := range s.Addrs {
					got = append(got, a.Prefix.Addr().String())
				}
				return slices.Equal(got, want)
			})
		}
		v.Heal()
	}
}

// takesOver: another agent has stopped one, and was gone while others died and were stopped.
func (v *prlTest) takesOver() {
	dir := v.TempDir()
	first := openIn(v.T, engine.Spec{Engine: "virtuozzo", Bin: v.Bin(), Root: v.Root()}, dir)
	for _, name := range []string{"paused", "died", "byhand", "ours"} {
		v.Make(name, made{autostart: true})
		v.Run(name)
	}
	list(v.T, first)
	if a := first.Do(context.Background(), health.VerbStop, v.ID("ours"), 0); a.Err != "" {
		v.Fatalf("%+v", a)
	}
	v.Freeze("paused")
	v.Die("died")
	person(v.T, v.Host, "prlctl", "stop", v.ID("byhand"))
	v.i = openIn(v.T, engine.Spec{Engine: "virtuozzo", Bin: v.Bin(), Root: v.Root()}, dir)
	for name, want := range map[string]struct {
		state   health.RunState
		purpose bool
	}{"web1": {health.Running, false}, "paused": {health.Paused, false}, "died": {health.Stopped, false}, "byhand": {health.Stopped, true}, "ours": {health.Stopped, false}} {
		v.id = v.ID(name)
		v.both(name, func(s health.Sighting) bool { return s.State == want.state && (s.OnPurpose != "") == want.purpose })
	}
}

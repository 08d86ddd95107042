package engine_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (y *proxmoxYard) up(t *testing.T, o made, names ...string) *engine.Instance {
	for _, n := range names {
		y.Make(n, o)
		y.Run(n)
	}
	return y.Open(t)
}

// A failed start tells its true cause, not that it failed.
func proxmoxCauses(t *testing.T) {
	for _, tt := range []struct{ kind, fails, cause string }{
		{"lxc", "start-hook", "Script exited with status 2, of a hook: 'pct start ID --debug' shows what it printed"},
		{"lxc", "lock-timeout", "can't lock file '/run/lock/lxc/pve-config-ID.lock' - got timeout"},
		{"lxc", "start-storage", "storage 'nas1' does not exist"},
		{"qemu", "start-bridge", "no physical interface on bridge 'vmbr2'"},
	} {
		y := proxmoxHost(t, tt.kind)
		y.Make("web1", made{})
		id := y.ID("web1")
		y.h.Update(id, func(k *scripted.Container) { k.Keys["fails"] = tt.fails })
		a := y.Open(t).Do(context.Background(), health.VerbStart, id, 0)
		if want := strings.ReplaceAll(tt.cause, "-ID.", "-"+id+"."); a.Err == "" || a.Cause != want || a.Transcript.Exit != 255 {
			t.Errorf("%s: exit %d, cause %q, want %q", tt.fails, a.Transcript.Exit, a.Cause, want)
		}
	}
}

// A lock means hands off while a task may hold it; without one it is left over, and a start tells so.
func proxmoxLocks(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	y.Make("web1", made{autostart: true})
	id := y.ID("web1")
	i := y.Open(t)
	lock := func(op string) {
		k := y.guest("web1")
		k.Lock = op
		y.h.PVEPut(k)
	}
	lock("backup")
	s := look(t, i, id)
	if s.Lock == nil || s.Lock.Operation != "backup" || !s.Lock.Dead {
		t.Errorf("a lock that no task holds: %+v", s.Lock)
	}
	a := i.Do(context.Background(), health.VerbStart, id, 0)
	if a.Err == "" || a.Cause != "CT is locked (backup)" || a.Transcript.Exit != 255 {
		t.Errorf("%+v", a)
	}
	y.h.PVERunning("vzdump", id, "root@pam", time.Now(), os.Getpid(), "")
	if s = find(t, list(t, i), id); s.Lock == nil || s.Lock.Dead || s.Lock.Holder.PID != os.Getpid() || s.Lock.Since.IsZero() {
		t.Errorf("a lock that a task holds: %+v", s.Lock)
	}
	lock("")
	if s = look(t, i, id); s.Lock == nil || s.Lock.Operation != "backup" {
		t.Errorf("a backup at work that has no lock yet: %+v", s.Lock)
	}
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	if s = look(t, i, id); s.Lock != nil {
		t.Errorf("nothing holds it: %+v", s.Lock)
	}
	y.h.PVERunning("vzdump", "", "root@pam", time.Now(), os.Getpid(), "")
	if lock("backup"); look(t, i, id).Lock.Dead {
		t.Error("a backup of many may hold it")
	}
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	if lock("mounted"); look(t, i, id).Lock.Dead {
		t.Error("a person mounted it: no task holds that lock")
	}
	y.h.RemoveFile("/var/log/pve/tasks/active")
	if lock("backup"); look(t, i, id).Lock.Dead {
		t.Error("the running tasks are not known, and the lock counts as left over")
	}
}

// What HA looks after is only observed; what it ignores is not its own.
func proxmoxHA(t *testing.T) {
	for _, kind := range []string{"lxc", "qemu"} {
		y := proxmoxHost(t, kind)
		i := y.up(t, made{}, "web1", "web2")
		for name, state := range map[string]string{"web1": "started", "web2": "ignored"} {
			k := y.guest(name)
			k.Keys["hastate"] = state
			y.h.PVEPut(k)
		}
		check := func(how string, s1, s2 health.Sighting) {
			if s1.Supervisor != "Proxmox HA (started)" || s2.Supervisor != "" {
				t.Errorf("%s, %s: %q and %q", kind, how, s1.Supervisor, s2.Supervisor)
			}
		}
		y.h.RemoveFile("/etc/pve/ha/resources.cfg") // the row and the status say it too
		l := list(t, i)
		check("list", find(t, l, y.ID("web1")), find(t, l, y.ID("web2")))
		check("look", look(t, i, y.ID("web1")), health.Sighting{})
		y.h.PVEWrite()
		for name, want := range map[string]string{"web1": "Proxmox HA (started)", "web2": ""} {
			before := look(t, i, y.ID(name)).Init
			y.Die(name)
			eventually(t, "the file alone tells of "+name, func() bool {
				s, err := i.Look(context.Background(), y.ID(name), before)
				return err == nil && s.State == health.Stopped && s.Supervisor == want
			})
		}
	}
}

// Who stopped it is in the list of tasks, and what is no person's wish is told apart.
func proxmoxStops(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	i := y.up(t, made{}, "web1")
	id := y.ID("web1")
	started := time.Now()
	y.tool("shutdown", "web1")
	want := "vzshutdown by root@pam, " + time.Now().Format("2006-01-02")
	if s := find(t, list(t, i), id); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, want) {
		t.Errorf("%+v, want %q", s, want)
	}
	if s := look(t, i, id); !strings.HasPrefix(s.OnPurpose, want) {
		t.Errorf("look: %+v", s)
	}
	y.Run("web1")
	before := look(t, i, id).Init
	y.Die("web1")
	eventually(t, "it is dead", func() bool { return find(t, list(t, i), id).State == health.Stopped })
	if s, err := i.Look(context.Background(), id, before); err != nil || s.OnPurpose != "" {
		t.Errorf("it died after it was started again: %+v %v", s, err)
	}
	y.Run("web1")
	if a := i.Do(context.Background(), health.VerbStop, id, 10*time.Second); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	if s := look(t, i, id); s.OnPurpose != "" {
		t.Errorf("we stopped it ourselves: %q", s.OnPurpose)
	}
	index := "/var/log/pve/tasks/index"
	y.Run("web1")
	y.h.RemoveFile(index) // it was started behind Proxmox's back
	y.h.PVETask("vzstop", id, "bob@pam", started.Add(-time.Hour), started.Add(-time.Hour), "OK")
	before = look(t, i, id).Init
	y.Die("web1")
	eventually(t, "it is dead", func() bool { return find(t, list(t, i), id).State == health.Stopped })
	if s, err := i.Look(context.Background(), id, before); err != nil || s.OnPurpose != "" {
		t.Errorf("it was seen running after that stop: %+v %v", s, err)
	}
	for _, tt := range []struct {
		what string
		want string
		with func()
	}{
		{"by another user, just ended", "vzstop by alice@pve!token", func() { y.h.PVERunning("vzstop", id, "alice@pve!token", started, 1<<22, "OK") }},
		{"still at it", "vzshutdown by bob@pam", func() { y.h.PVERunning("vzshutdown", id, "bob@pam", started, os.Getpid(), "") }},
		{"it failed", "", func() { y.h.PVETask("vzshutdown", id, "bob@pam", started, started, "got timeout") }},
		{"with warnings", "vzstop by bob@pam", func() { y.h.PVETask("vzstop", id, "bob@pam", started, started, "WARNINGS: 1") }},
		{"of another guest", "", func() { y.h.PVETask("vzstop", "105", "bob@pam", started, started, "OK") }},
		{"by a backup", "", func() {
			y.h.PVETask("vzdump", "", "root@pam", started.Add(-time.Minute), started.Add(time.Minute), "OK")
			y.h.PVETask("qmshutdown", id, "root@pam", started, started, "OK")
		}},
		{"by the shutdown of the host", "", func() {
			y.h.PVETask("stopall", "", "root@pam", time.Unix(1000, 0), time.Unix(1100, 0), "OK")
			y.h.PVETask("vzshutdown", id, "root@pam", time.Unix(1010, 0), time.Unix(1020, 0), "OK")
		}},
		{"by a person, for all", "vzshutdown by carol@pve", func() {
			y.h.PVETask("stopall", "", "carol@pve", started.Add(-time.Second), started.Add(time.Minute), "OK")
			y.h.PVETask("vzshutdown", id, "carol@pve", started, started, "OK")
		}},
		{"before a start that failed", "", func() {
			y.h.PVETask("vzstop", id, "bob@pam", started.Add(-time.Hour), started.Add(-time.Hour), "OK")
			y.h.PVETask("vzstart", id, "root@pam", started, started, "startup for container failed")
		}},
	} {
		y.h.RemoveFile(index)
		y.h.WriteFile("/var/log/pve/tasks/active", "")
		tt.with()
		i := y.Open(t) // one that remembers nothing
		if s := look(t, i, id); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, tt.want) || tt.want == "" && s.OnPurpose != "" {
			t.Errorf("%s: %q, want %q", tt.what, s.OnPurpose, tt.want)
		}
	}
}

// What pvestatd told is old, or nothing: then a guest is asked for by itself.
func proxmoxStale(t *testing.T) {
	for _, kind := range []string{"lxc", "qemu"} {
		y := proxmoxHost(t, kind)
		i := y.up(t, made{}, "web1", "web2")
		y.Make("web3", made{})
		y.h.Update(y.ID("web1"), func(k *scripted.Container) { k.Says = "stopped" })
		y.h.Update(y.ID("web2"), func(k *scripted.Container) { k.Says = "silent" })
		y.h.Update(y.ID("web3"), func(k *scripted.Container) { k.Says = "running" })
		l := list(t, i)
		web1, web2, web3 := find(t, l, y.ID("web1")), find(t, l, y.ID("web2")), find(t, l, y.ID("web3"))
		if web1.State != health.Running || web1.Init.PID != y.InitPID("web1") || web2.State != health.Running || web3.State != health.Stopped {
			t.Errorf("%s:\n%+v\n%+v\n%+v", kind, web1, web2, web3)
		}
		if !strings.Contains(l.Degraded, "pvestatd has told nothing about 1 guests") {
			t.Errorf("degraded: %q", l.Degraded)
		}
		y.h.Fault(scripted.Fault{On: "pvesh /nodes/" + scripted.PVENode + "/" + kind + "/" + y.ID("web2") + "/status/current", Do: scripted.Garble})
		if s := find(t, list(t, i), y.ID("web2")); s.State != health.Unknown || s.Init.PID != 0 {
			t.Errorf("no observation became one: %+v", s)
		}
	}
}

// A VM that stopped at an I/O error is paused, whatever runs.
func proxmoxPaused(t *testing.T) {
	y := proxmoxHost(t, "qemu")
	i := y.up(t, made{}, "web1")
	y.says("web1", "io-error")
	for how, s := range map[string]health.Sighting{"list": find(t, list(t, i), y.ID("web1")), "look": look(t, i, y.ID("web1"))} {
		if s.State != health.Paused || s.Detail != "io-error" || s.Init.PID == 0 {
			t.Errorf("%s: %+v", how, s)
		}
	}
	y.says("web1", "mangled")
	l := list(t, i)
	if s := find(t, l, y.ID("web1")); s.State != health.Unknown || !slices.ContainsFunc(l.Notes, func(n string) bool { return strings.Contains(n, `"mangled" is no state`) }) {
		t.Errorf("%+v %q", s, l.Notes)
	}
	if l = list(t, i); len(l.Notes) != 0 {
		t.Errorf("told twice: %q", l.Notes)
	}
}

// Guests of other nodes are not ours, nor are those that went there, and templates.
func proxmoxNodes(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	i := y.up(t, made{}, "web1", "web2")
	y.Make("web3", made{})
	other := y.guest("web3")
	other.Keys["node"] = "pve2"
	y.h.PVEDelete(other.ID)
	y.h.PVEPut(other)
	if s := peek(list(t, i), other.ID); s != nil || i.Defined(other.ID) {
		t.Errorf("it is on another node: %+v", s)
	}
	if s := look(t, i, other.ID); s.State != health.Removed || s.Detail != `it is on node "pve2" now` {
		t.Errorf("%+v", s)
	}
	tpl := y.guest("web2")
	tpl.Keys["template"] = "1"
	y.h.PVEPut(tpl)
	if s := peek(list(t, i), tpl.ID); s != nil || i.Defined(tpl.ID) || look(t, i, tpl.ID).State != health.Removed {
		t.Errorf("a template: %+v, defined %v", s, i.Defined(tpl.ID))
	}
	y.h.Update(y.ID("web1"), func(k *scripted.Container) { k.Keys["vanished"] = "1" })
	if s := look(t, i, y.ID("web1")); s.State != health.Removed {
		t.Errorf("its definition has just gone: %+v", s)
	}
}

// A list that fails, is cut, lies or is senseless is an error, and never "nobody is there".
func proxmoxFaults(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	y.up(t, made{}, "web1")
	id := y.ID("web1")
	i := open(t, engine.Spec{Engine: "proxmox", Bin: y.h.Bin(), Root: y.h.Root(), Timeout: 2 * time.Second})
	for _, f := range []scripted.Fault{
		{Do: scripted.Hang}, {Do: scripted.Empty}, {Do: scripted.Garble}, {Do: scripted.Flood},
		{Do: scripted.Answer, Reply: "nosuch"}, {Do: scripted.Answer, Reply: "no-cluster"}, {Do: scripted.Answer, Reply: "interfaces"},
	} {
		f.On = "pvesh /cluster/resources"
		y.h.Heal()
		y.h.Fault(f)
		if l, err := i.List(context.Background(), nil); err == nil {
			t.Errorf("%s %s: %+v", f.Do, f.Reply, l)
		}
	}
	y.h.Heal()
	y.h.Update(id, func(k *scripted.Container) { k.Keys["node"] = "pve2" }) // .vmlist still has it here
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), `no guest of node "pve1"`) {
		t.Errorf("nobody is left of those defined here: %+v, %v", l, err)
	}
	y.h.Update(id, func(k *scripted.Container) { k.Keys["node"] = scripted.PVENode })
	y.h.RemoveFile("/etc/pve/.vmlist")
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is pve-cluster running?") {
		t.Errorf("pmxcfs is not running: %v", err)
	}
	if !i.Defined(id) {
		t.Error("pmxcfs is not running, and a guest counts as removed")
	}
	if s, err := i.Look(context.Background(), id, health.Process{}); err == nil {
		t.Errorf("pmxcfs is not running: %+v", s)
	}
	y.h.PVEWrite()
	y.h.Fault(scripted.Fault{On: "pct stop", Do: scripted.Answer, Reply: "stop"})
	if a := i.Do(context.Background(), health.VerbKill, id, 0); a.Err != "" || look(t, i, id).State != health.Running {
		t.Errorf("a stop that lies: %+v", a)
	}
	y.h.Heal()
	y.Die("web1")
	y.h.Fault(scripted.Fault{On: "pct start", Do: scripted.Die})
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		t.Errorf("a start that does not last: %+v", a)
	}
	awaitState(t, i, id, health.Stopped)
}

// Addresses that no definition holds are asked for, one guest a list, and kept for this life.
func proxmoxAddrs(t *testing.T) {
	for _, kind := range []string{"lxc", "qemu"} {
		y := proxmoxHost(t, kind)
		y.Make("web1", made{})
		k := y.guest("web1")
		k.Keys["net"], k.Keys["agent"] = "ip=dhcp", "enabled=1,fstrim_cloned_disks=1"
		k.Addrs = []string{"198.51.100.7/24", "2001:db8::7/64"}
		if kind == "qemu" {
			k.Addrs[0] = "198.51.100.7"
		}
		y.h.PVEPut(k)
		y.Run("web1")
		i := y.Open(t)
		s := find(t, list(t, i), k.ID)
		if len(s.Addrs) == 0 || s.Addrs[0].Prefix.String() != "198.51.100.7/24" || kind == "lxc" && (len(s.Addrs) != 2 || s.Addrs[1].Prefix.String() != "2001:db8::7/64") {
			t.Errorf("%s: %v", kind, s.Addrs)
		}
		asked := len(y.h.Calls())
		list(t, i)
		if more := len(y.h.Calls()) - asked; more != 1 {
			t.Errorf("%s: %d processes for a list when all is known", kind, more)
		}
	}
	y := proxmoxHost(t, "qemu")
	y.Make("mute", made{})
	k := y.guest("mute")
	k.Keys["net"], k.Keys["agent"], k.Addrs = "", "1", nil
	y.h.PVEPut(k)
	y.Run("mute")
	i := y.Open(t)
	for range 5 {
		list(t, i)
	}
	before := len(y.h.Calls())
	if list(t, i); len(y.h.Calls())-before != 1 {
		t.Error("an agent that does not answer is asked for ever")
	}
}

// While no file changes and every guest's death would be noticed, Proxmox is asked once a minute.
func proxmoxQuiet(t *testing.T) {
	vms := proxmoxHost(t, "qemu")
	vm := vms.up(t, made{}, "web1")
	first := list(t, vm)
	vms.says("web1", "paused")
	if s := find(t, list(t, vm, refs(first)...), vms.ID("web1")); s.State != health.Running {
		t.Errorf("no file tells of a pause, and Proxmox was asked: %+v", s)
	}
	vms.h.PVETask("qmpause", vms.ID("web1"), "bob@pam", time.Now(), time.Now(), "OK")
	if s := find(t, list(t, vm, refs(first)...), vms.ID("web1")); s.State != health.Paused {
		t.Errorf("a file has changed, and Proxmox was not asked: %+v", s)
	}
	before := look(t, vm, vms.ID("web1")).Init
	vms.Die("web1")
	count := len(vms.h.Calls())
	if s, err := vm.Look(context.Background(), vms.ID("web1"), before); err != nil || s.State != health.Stopped || len(vms.h.Calls()) != count {
		t.Errorf("a death took %d processes: %+v %v", len(vms.h.Calls())-count, s, err)
	}
	y := proxmoxHost(t, "lxc")
	i := y.up(t, made{}, "web1")
	y.Make("web2", made{})
	l := list(t, i)
	asked := len(y.h.Calls())
	if again := list(t, i, refs(l)...); len(y.h.Calls()) != asked || find(t, again, y.ID("web1")).Init != find(t, l, y.ID("web1")).Init {
		t.Errorf("%d processes while nothing moves", len(y.h.Calls())-asked)
	}
	if list(t, i); len(y.h.Calls()) != asked+1 {
		t.Error("nobody watches web1, and Proxmox was not asked")
	}
	k := y.guest("web2")
	k.Keys["hastate"] = "stopped"
	y.h.PVEPut(k)
	if s := find(t, list(t, i, refs(l)...), k.ID); s.Supervisor == "" {
		t.Error("a file has changed, and Proxmox was not asked")
	}
	delete(k.Keys, "hastate")
	y.h.PVEPut(k)
	y.tool("start", "web2")
	asked = len(y.h.Calls())
	if l = list(t, i, refs(l)...); len(y.h.Calls()) == asked || find(t, l, y.ID("web2")).State != health.Running {
		t.Error("web2 was started, and Proxmox was not asked")
	}
}

// A guest that does not heed a shutdown is not killed, and the answer says why it stays.
func proxmoxDeaf(t *testing.T) {
	for kind, cause := range map[string]string{
		"lxc": "command 'lxc-stop -n ID --nokill --timeout 1' failed: got timeout", "qemu": "VM quit/powerdown failed - got timeout",
	} {
		y := proxmoxHost(t, kind)
		i := y.up(t, made{}, "web1")
		id := y.ID("web1")
		y.h.Update(id, func(k *scripted.Container) { k.Keys["deaf"] = "1" })
		a := i.Do(context.Background(), health.VerbStop, id, time.Second)
		if a.Err == "" || a.Cause != strings.ReplaceAll(cause, "ID", id) || a.Transcript.Exit != 255 || look(t, i, id).State != health.Running {
			t.Errorf("%s: %+v", kind, a)
		}
		y.Die("web1")
		awaitState(t, i, id, health.Stopped)
		a = i.Do(context.Background(), health.VerbKill, id, 0)
		if kind == "lxc" && (a.Cause != "CT "+id+" not running" || a.Transcript.Exit != 255) {
			t.Errorf("kill of what does not run: %+v", a)
		}
	}
}

// conf is the file that defines a guest.
func (y *proxmoxYard) conf(name string) string {
	folder := map[string]string{"lxc": "lxc", "qemu": "qemu-server"}[y.kind]
	return "/etc/pve/nodes/" + scripted.PVENode + "/" + folder + "/" + y.ID(name) + ".conf"
}

// A guest whose definition cannot be read is shown by what Proxmox says of it.
func proxmoxHalf(t *testing.T) {
	for _, kind := range []string{"lxc", "qemu"} {
		y := proxmoxHost(t, kind)
		i := y.up(t, made{}, "web1", "web2")
		for name, set := range map[string]func(*scripted.Container){
			"web1": func(k *scripted.Container) { k.Lock = "create" },
			"web2": func(k *scripted.Container) { k.Keys["template"] = "1" },
		} {
			y.h.Update(y.ID(name), set)
			y.h.RemoveFile(y.conf(name))
		}
		for how, s := range map[string]health.Sighting{"list": find(t, list(t, i), y.ID("web1")), "look": look(t, i, y.ID("web1"))} {
			if s.Name != "web1" || s.Lock == nil || s.Lock.Operation != "create" || s.Autostart != health.Maybe {
				t.Errorf("%s, %s: %+v", kind, how, s)
			}
		}
		if s := peek(list(t, i), y.ID("web2")); s != nil || look(t, i, y.ID("web2")).State != health.Removed {
			t.Errorf("%s, a template: %+v", kind, s)
		}
	}
}

// A guest that reboots is started again by Proxmox, which leaves itself a file, until it is taken or old.
func proxmoxReboots(t *testing.T) {
	for kind, file := range map[string]string{"lxc": "/var/lib/lxc/ID/reboot", "qemu": "/var/run/qemu-server/ID.reboot"} {
		y := proxmoxHost(t, kind)
		i := y.up(t, made{}, "web1")
		id := y.ID("web1")
		file = strings.ReplaceAll(file, "ID", id)
		y.h.WriteFile(file, "")
		before := look(t, i, id).Init
		y.Die("web1")
		becomes := func(want health.RunState) {
			eventually(t, kind+" is "+string(want), func() bool {
				s, err := i.Look(context.Background(), id, before)
				return err == nil && s.State == want
			})
		}
		becomes(health.Busy)
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(y.h.File(file), old, old); err != nil {
			t.Fatal(err)
		}
		becomes(health.Stopped)
		y.h.PVERunning(map[string]string{"lxc": "vzreboot", "qemu": "qmreboot"}[kind], id, "bob@pam", time.Now(), os.Getpid(), "")
		becomes(health.Busy)
	}
}

func proxmoxEvidence(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	i := y.up(t, made{}, "web1")
	id := y.ID("web1")
	var names []string
	for _, s := range i.Evidence(id, health.Sighting{}) {
		names = append(names, s.Name)
		if (s.Path == "") == (len(s.Argv) == 0) {
			t.Errorf("%+v", s)
		}
		if s.Name == "guest.conf" || s.Name == "task-start.log" {
			if _, err := os.Stat(s.Path); err != nil {
				t.Error(err)
			}
		}
	}
	want := "proxmox-status.json guest.conf lxc-start.stderr unit.log task-start.log vzdump.log tasks-active.txt tasks-index.txt"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

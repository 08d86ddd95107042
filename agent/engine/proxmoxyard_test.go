package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// proxmoxYard is a scripted Proxmox whose guests are all of one kind.
type proxmoxYard struct {
	t    *testing.T
	h    *scripted.Host
	kind string
	made map[string]string // numbers by name
	next *atomic.Int64
}

func newProxmoxYard(kind string) func(*testing.T) yard {
	return func(t *testing.T) yard { return proxmoxHost(t, kind) }
}

// proxmoxHost needs root: a CT's init lives in a pid namespace. Numbers are this process's own, since the sockets by which
// Proxmox tells who runs are seen by the whole host.
func proxmoxHost(t *testing.T, kind string) *proxmoxYard {
	rig.Require(t, "root")
	y := &proxmoxYard{t: t, h: scripted.New(t, "proxmox", "testdata/proxmox/replies"), kind: kind, made: map[string]string{}, next: proxmoxNumbers()}
	return y
}

// proxmoxNumbers gives numbers that no other test of this machine uses: by pid, then by the nanosecond.
func proxmoxNumbers() *atomic.Int64 {
	var n atomic.Int64
	n.Store(100_000_000 + int64(os.Getpid()%8000)*100_000 + time.Now().UnixNano()/1000%99_000)
	return &n
}

func (y *proxmoxYard) With(t *testing.T) yard {
	c := *y
	c.t, c.h = t, y.h.With(t)
	return &c
}

func (y *proxmoxYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "proxmox", Bin: y.h.Bin(), Root: y.h.Root()})
}

func (y *proxmoxYard) ID(name string) string {
	id, ok := y.made[name]
	if !ok {
		y.t.Fatalf("no guest %q was made", name)
	}
	return id
}

func (y *proxmoxYard) guest(name string) scripted.Container { return *y.h.Get(y.ID(name)) }

func (y *proxmoxYard) Make(name string, o made) {
	n := y.next.Add(1)
	if y.made[name] == "" {
		y.made[name] = strconv.FormatInt(n, 10)
	}
	k := scripted.Container{ID: y.made[name], Name: name, Type: y.kind, State: "stopped", Keys: map[string]string{
		"node": scripted.PVENode, "net": "ip=192.0.2.10/24,ip6=2001:db8::10/64", "mac": fmt.Sprintf("BC:24:11:%02X:%02X:%02X", n>>16&255, n>>8&255, n&255),
		"uuid": fmt.Sprintf("cd4a6c3c-0000-4000-8000-%012x", n),
	}}
	if o.autostart {
		k.Keys["onboot"] = "1"
	}
	if o.failing {
		k.Keys["fails"] = map[string]string{"lxc": "start-hook", "qemu": "start-bridge"}[y.kind]
	}
	y.h.PVEPut(k)
}

// tool runs pct or qm, as a person would.
func (y *proxmoxYard) tool(verb, name string) {
	y.t.Helper()
	y.h.Run(map[string]string{"lxc": "pct", "qemu": "qm"}[y.kind], verb, y.ID(name))
}

func (y *proxmoxYard) Run(name string)            { y.tool("start", name) }
func (y *proxmoxYard) InitPID(name string) int    { return y.guest(name).PID }
func (y *proxmoxYard) Addrs(name string) []string { return []string{"192.0.2.10", "2001:db8::10"} }
func (y *proxmoxYard) Die(name string)            { y.h.Kill9(y.ID(name)) }
func (y *proxmoxYard) Remove(name string)         { y.h.PVEDelete(y.ID(name)) }
func (y *proxmoxYard) Freeze(name string)         { y.says(name, "paused") }
func (y *proxmoxYard) Thaw(name string)           { y.says(name, "running") }
func (y *proxmoxYard) Await(string)               {}

func (y *proxmoxYard) says(name, state string) {
	y.h.Update(y.ID(name), func(k *scripted.Container) { k.State = state })
}

func proxmoxBridge(yard) []string { return []string{"vmbr0"} }

// proxmoxCTs carry the engine's name, by which make mutate finds them. Proxmox has no word for a frozen CT.
func proxmoxCTs() subject {
	return subject{
		name: "proxmox", yard: newProxmoxYard("lxc"), gone: health.Removed, marks: true, links: proxmoxBridge, nobody: "999999",
		startExit: 255, comm: hostComm(), cannot: cannot{pause: true},
	}
}

// proxmoxVMs run nothing inside: "qm guest exec" answers in JSON, with code 0.
func proxmoxVMs() subject {
	return subject{
		name: "proxmox VM", yard: newProxmoxYard("qemu"), gone: health.Removed, marks: true, links: proxmoxBridge, nobody: "999999",
		startExit: 255, killsDead: true, cannot: cannot{exec: true},
	}
}

// testProxmox runs what only a scripted Proxmox can be asked, and the suite on VMs, which make mutate would not find.
func testProxmox(t *testing.T) {
	rig.Require(t, "root")
	vms := proxmoxVMs()
	for name, run := range map[string]func(*testing.T){
		"VMs":      func(t *testing.T) { y := vms.yard(t); conform(t, vms, y.Open(t), y) },
		"causes":   proxmoxCauses,
		"locks":    proxmoxLocks,
		"HA":       proxmoxHA,
		"stops":    proxmoxStops,
		"stale":    proxmoxStale,
		"paused":   proxmoxPaused,
		"nodes":    proxmoxNodes,
		"faults":   proxmoxFaults,
		"addrs":    proxmoxAddrs,
		"quiet":    proxmoxQuiet,
		"deaf":     proxmoxDeaf,
		"half":     proxmoxHalf,
		"reboots":  proxmoxReboots,
		"evidence": proxmoxEvidence,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

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
		before := look(t, i, y.ID("web1")).Init
		y.Die("web1")
		eventually(t, "it is seen to be stopped", func() bool {
			s, err := i.Look(context.Background(), y.ID("web1"), before)
			return err == nil && s.State == health.Stopped && s.Supervisor == "Proxmox HA (started)"
		})
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

// A CT that rebooted itself is started again by Proxmox: lxc-pve-reboot-trigger finds the file that its hook left.
func proxmoxReboots(t *testing.T) {
	y := proxmoxHost(t, "lxc")
	i := y.up(t, made{}, "web1")
	id := y.ID("web1")
	y.h.WriteFile("/var/lib/lxc/"+id+"/reboot", "")
	before := look(t, i, id).Init
	y.Die("web1")
	eventually(t, "it is left to Proxmox", func() bool {
		s, err := i.Look(context.Background(), id, before)
		return err == nil && s.State == health.Busy
	})
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

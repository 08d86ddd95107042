package engine_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// prlTest is one container, web1, that runs, on a scripted Virtuozzo of its own.
type prlTest struct {
	*testing.T
	*virtuozzoYard
	i  *engine.Instance
	id string // of web1
}

func scriptedVirtuozzo(t *testing.T) {
	for name, run := range map[string]func(*prlTest){
		"states": (*prlTest).states, "dispatcher gone": (*prlTest).withoutDispatcher, "died or stopped": (*prlTest).whoStopped,
		"locks": (*prlTest).locks, "causes": (*prlTest).causes, "owned elsewhere": (*prlTest).foreign, "HA": (*prlTest).highlyAvailable,
		"events": (*prlTest).events, "VMs": (*prlTest).vms, "an EnvID of old": (*prlTest).oldID, "faults": (*prlTest).faults,
		"starts that lie": (*prlTest).lies, "file system error": (*prlTest).fserror, "dead": (*prlTest).lookAtDead,
		"attribution": (*prlTest).attribution, "one process": (*prlTest).oneProcess, "unescaped": (*prlTest).unescaped, "evidence": (*prlTest).keeps,
		"over ssh": (*prlTest).farAway,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newVirtuozzoYard(t).(*virtuozzoYard)
			y.Make("web1", made{autostart: true})
			y.Run("web1")
			run(&prlTest{t, y, y.Open(t), y.ID("web1")})
		})
	}
}

func (v *prlTest) do(verb health.Verb) engine.Answer {
	return v.i.Do(context.Background(), verb, v.id, 0)
}

func (v *prlTest) must(verb health.Verb) {
	v.Helper()
	if a := v.do(verb); a.Err != "" || a.Already {
		v.Fatalf("%s: %+v", verb, a)
	}
}

func (v *prlTest) see() health.Sighting { v.Helper(); return look(v.T, v.i, v.id) }

func (v *prlTest) listed() health.Sighting {
	v.Helper()
	return find(v.T, list(v.T, v.i), v.id)
}

func (v *prlTest) person(argv ...string) {
	v.Helper()
	if out, err := exec.Command(filepath.Join(v.Bin(), argv[0]), argv[1:]...).CombinedOutput(); err != nil {
		v.Fatalf("%q: %v: %s", argv, err, out)
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

func (v *prlTest) withoutDispatcher() {
	vm := v.ID("vm1")
	v.AddVZ7(scripted.Container{ID: vm, Name: "vm1", Type: "VM"})
	v.Make("web2", made{})
	list(v.T, v.i)
	for _, reply := range []string{"list-nodispatcher", "list-frozen"} {
		v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: reply})
		l := list(v.T, v.i)
		if web1 := find(v.T, l, v.id); web1.State != health.Running || web1.Init.PID != v.InitPID("web1") || web1.Name != "web1" || len(web1.Addrs) != 2 {
			v.Errorf("%s: %+v", reply, web1)
		}
		if s := find(v.T, l, vm); s.State != health.Unknown || s.Name != "vm1" { // unknown is not missing
			v.Errorf("%s: %+v", reply, s)
		}
		if s := find(v.T, l, v.ID("web2")); s.State != health.Stopped || l.Degraded == "" {
			v.Errorf("%s: %+v, degraded %q", reply, s, l.Degraded)
		}
		if s := v.see(); s.State != health.Running {
			v.Errorf("%s: look: %+v", reply, s)
		}
		for word, want := range map[string]health.RunState{"paused": health.Paused, "suspended": health.Paused, "mounted": health.Stopped, "unknown": health.Unknown} {
			v.Update(v.id, func(c *scripted.Container) { c.Says = word })
			l := list(v.T, v.i)
			if s := find(v.T, l, v.id); s.State != want || !strings.Contains(s.Detail, word) || len(l.Notes) != 0 {
				v.Errorf("%s: %s: %+v, %q", reply, word, s, l.Notes)
			}
		}
		v.Update(v.id, func(c *scripted.Container) { c.Says = "" })
		if s := look(v.T, v.i, v.unknownID()); s.State != health.Removed {
			v.Errorf("%s: nobody: %+v", reply, s)
		}
		if _, err := v.i.Look(context.Background(), vm, health.Process{}); err == nil {
			v.Errorf("%s: a VM is known without a dispatcher", reply)
		}
		v.Kill9(v.id)
		if a := v.do(health.VerbStart); a.Err != "" || filepath.Base(a.Transcript.Argv[0]) != "vzctl" {
			v.Errorf("%s: healing: %+v", reply, a)
		}
		if a := v.do(health.VerbStop); a.Err == "" || !strings.Contains(a.Cause, "the dispatcher") {
			v.Errorf("%s: %+v", reply, a)
		}
		v.Heal()
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	// A new agent has never seen the dispatcher, and still does not miss VMs.
	if s := find(v.T, list(v.T, v.Open(v.T)), vm); s.State != health.Unknown {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Empty})
	if l, err := v.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "exit 253") {
		v.Errorf("neither answers: %+v, %v", l, err)
	}
}

func (v *prlTest) unknownID() string { return "00000000-0000-0000-0000-000000000000" }

func (v *prlTest) whoStopped() {
	v.see()
	v.person("prlctl", "stop", v.id)
	if s := v.see(); s.State != health.Stopped || !strings.Contains(s.OnPurpose, "Stopping Container") {
		v.Errorf("a person stopped it: %+v", s)
	}
	v.person("prlctl", "start", v.id)
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
	v.person("prlctl", "stop", v.id)
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
	if s := look(v.T, v.Open(v.T), v.id); s.OnPurpose != "" {
		v.Logf("an agent with another folder of its own cannot know: %+v", s)
	}
	v.WriteFile("/etc/vz/conf/"+v.id+".conf", "ONBOOT=\"yes\"\nDISABLED=\"yes\"\n")
	if s := v.see(); s.Autostart != health.No || !strings.Contains(s.OnPurpose, "DISABLED") {
		v.Errorf("disabled: %+v", s)
	}
}

func (v *prlTest) locks() {
	holder := exec.Command("/bin/sleep", "300")
	if err := holder.Start(); err != nil {
		v.Fatal(err)
	}
	defer func() { _, _ = holder.Process.Kill(), holder.Wait() }()
	for action, want := range map[string]string{"Backing up": "Backing up", "migrating": "migrating", "": "/bin/sleep 300"} {
		v.WriteFile("/vz/lock/"+v.id+".lck", fmt.Sprintf("%d\n%s\n", holder.Process.Pid, action))
		s := v.see() // a container that is backed up looks running
		if s.State != health.Running || s.Lock == nil || s.Lock.Dead || s.Lock.Operation != want || s.Lock.Holder.PID != holder.Process.Pid {
			v.Errorf("%q: %+v, lock %+v", action, s, s.Lock)
		}
	}
	v.Kill9(v.id)
	held := fmt.Sprintf("Locked info: pid=%d cmdline=/bin/sleep 300", holder.Process.Pid)
	if a := v.do(health.VerbStart); a.Transcript.Exit != 255 || a.Cause != held {
		v.Errorf("start of a locked one: %+v", a)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	list(v.T, v.i)
	if a := v.do(health.VerbStart); a.Transcript.Exit != 9 || a.Cause != held+" (exit 9: an operation holds its lock)" {
		v.Errorf("by vzctl: %+v", a)
	}
}

func (v *prlTest) causes() {
	v.must(health.VerbKill)
	for reply, want := range map[string]string{
		"start-ip":          "Unable to add ip 192.168.0.161: Address already in use",
		"start-template":    "Unable to start init, probably incorrect template",
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
	if s := v.see(); !strings.Contains(s.Supervisor, "another node") {
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
	if s := v.listed(); s.Supervisor != "Virtuozzo HA (shaman)" {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if s := v.listed(); s.Supervisor != "Virtuozzo HA (shaman)" {
		v.Errorf("by vzlist: %+v", s)
	}
	v.Heal()
	v.Update(v.id, func(c *scripted.Container) { c.Keys["ha"] = "no" })
	if s := v.see(); s.Supervisor != "" {
		v.Errorf("switched off: %+v", s)
	}
}

func (v *prlTest) events() {
	v.Make("web2", made{})
	ctx, cancel := context.WithCancel(context.Background())
	got, ended := make(chan string, 100), make(chan error, 1)
	go func() { ended <- v.i.Events(ctx, func(id string) { got <- id }) }()
	eventually(v.T, "the monitor runs", func() bool { return strings.Contains(fmt.Sprint(v.Calls()), "prlsrvctl monitor") })
	await := func(what, id string) {
		v.Helper()
		deadline := time.After(scripted.Patience(20 * time.Second))
		for {
			select {
			case have := <-got:
				if have == id {
					return
				}
			case err := <-ended:
				v.Fatalf("%s: the stream ended: %v", what, err)
			case <-deadline:
				v.Fatalf("%s: no event about %q", what, id)
			}
		}
	}
	eventually(v.T, "it tells of a death", func() bool { // the monitor may have begun to look after the first
		if c := v.Get(v.ID("web2")); c.Alive() {
			v.Kill9(c.ID)
		} else {
			v.StartVZ7(c.ID)
		}
		return len(got) > 0
	})
	for len(got) > 0 {
		<-got
	}
	v.Kill9(v.id)
	await("a death", v.id)
	v.Make("web3", made{})
	await("a new one", "")
	v.DestroyVZ7(v.ID("web3"))
	await("one less", v.ID("web3"))
	cancel()
	if err := <-ended; err == nil {
		v.Error("cancelled, and no error")
	}
	if !v.i.HasEvents() {
		v.Error("it says that it has no events")
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
	v.Update(id, func(c *scripted.Container) { c.Keys["template"] = "yes" })
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

func (v *prlTest) faults() {
	i := open(v.T, engine.Spec{Engine: "virtuozzo", Bin: v.Bin(), Root: v.Root(), Timeout: 300 * time.Millisecond})
	for _, f := range []scripted.Fault{{Do: scripted.Hang}, {Do: scripted.Garble}, {Do: scripted.Flood}, {Do: scripted.Empty}, {Do: scripted.Answer, Reply: "list-nosuch"}} {
		f.On = "prlctl list"
		v.Fault(f)
		use := v.i
		if f.Do == scripted.Hang {
			use = i
		}
		if l, err := use.List(context.Background(), nil); err == nil {
			v.Errorf("%s: %+v", f.Do, l)
		}
		v.Heal()
	}
	v.listed()
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

// fserror is what the vendor's ve-fserror leaves behind: the container was stopped because its disk failed.
func (v *prlTest) fserror() {
	v.see()
	v.WriteFile("/var/log/vzctl.log", "2026-11-23T15:52:05+00:00 fserror : Container "+v.id+" : fserror on ploop12345p1\n"+
		"2026-11-23T15:52:05+0000 vzctl : CT "+v.id+" : Killing Container ...\n2026-11-23T15:52:06+0000 vzctl : CT "+v.id+" : Container was stopped\n")
	v.Update(v.id, func(c *scripted.Container) { v.End(c); c.State = "stopped" })
	if s := v.listed(); s.State != health.Broken || !strings.Contains(s.Detail, "fserror on ploop12345p1") || s.OnPurpose != "" {
		v.Errorf("%+v", s)
	}
	v.person("prlctl", "start", v.id)
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
	v.person("prlctl", "stop", v.id)
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

func (v *prlTest) keeps() {
	v.WriteFile("/var/log/ploop.log", "x\n")
	var names []string
	for _, s := range v.i.Evidence(v.id, health.Sighting{}) {
		names = append(names, s.Name)
		if s.Path != "" && !strings.HasPrefix(s.Path, v.Root()) {
			v.Errorf("%+v is outside of the root", s)
		}
	}
	if want := "prlctl-info.json vz-container.conf vzctl.log vz.conf ploop.log"; strings.Join(names, " ") != want {
		v.Errorf("%q", names)
	}
	if v.i.Place() == "" || len(v.i.Blind()) == 0 || len(v.i.Version()) == 0 {
		v.Error("place, blind spots or version are missing")
	}
}

// farAway: over ssh nothing is read from files, and the dispatcher is asked for what they would tell.
func (v *prlTest) farAway() {
	v.Update(v.id, func(c *scripted.Container) { c.Keys["autostart"] = "on" })
	v.i = openElsewhere(v.T, v.Host, "virtuozzo")
	if s := v.listed(); s.State != health.Running || s.Name != "web1" || s.Init.PID != 0 || s.Autostart != health.Maybe {
		v.Errorf("list: %+v", s)
	}
	if s := v.see(); s.State != health.Running || s.Autostart != health.Yes {
		v.Errorf("look: %+v", s)
	}
	v.Kill9(v.id)
	if s := v.listed(); s.State != health.Stopped || s.Autostart != health.Yes {
		v.Errorf("it died: %+v", s)
	}
	v.must(health.VerbStart)
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if s := v.see(); s.State != health.Running {
		v.Errorf("without a dispatcher: %+v", s)
	}
	v.Heal()
	v.DestroyVZ7(v.id)
	if s := v.see(); s.State != health.Missing {
		v.Errorf("deleted: %+v", s)
	}
}

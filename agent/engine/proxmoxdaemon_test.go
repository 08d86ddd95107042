package engine_test

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// Proxmox's daemons: pmxcfs, which shows /etc/pve, and pvestatd, which tells the states.

// stopsDaemon: without pmxcfs nothing is known, and nobody is gone.
func (y *proxmoxYard) stopsDaemon() {
	i := y.up("web1")
	id := y.ID("web1")
	before := look(y.t, i, id).Init
	y.h.RemoveFile("/etc/pve/.vmlist")
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is pve-cluster running?") {
		y.t.Errorf("pmxcfs is not running: %v", err)
	}
	if !i.Defined(id) {
		y.t.Error("pmxcfs is not running, and a guest counts as removed")
	}
	if s, err := i.Look(context.Background(), id, health.Process{}); err == nil {
		y.t.Errorf("pmxcfs is not running: %+v", s)
	}
	if s, err := y.Open(y.t).Look(context.Background(), id, before); err == nil {
		y.t.Errorf("and this agent has begun since: %+v", s)
	}
	y.h.PVEWrite()
	if s := find(y.t, list(y.t, i), id); s.State != health.Running || s.Init != before {
		y.t.Errorf("%+v, was %v", s, before)
	}
}

// hangsDaemon: whoever touches /etc/pve waits. A list, a look and a start end at their limit, and only one reader is stuck.
func (y *proxmoxYard) hangsDaemon() {
	before := look(y.t, y.up("web1"), y.ID("web1")).Init
	id, i := y.ID("web1"), y.within(2*time.Second)
	wake := rig.HangFolder(y.t, y.h.File("/etc/pve"))
	began := time.Now()
	for range 2 {
		if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "pmxcfs hangs") {
			y.t.Errorf("%+v %v", l, err)
		}
	}
	if s, err := i.Look(context.Background(), id, before); err == nil || !i.Defined(id) {
		y.t.Errorf("%+v, defined %v", s, i.Defined(id))
	}
	if took := time.Since(began); took > scripted.Patience(15*time.Second) {
		y.t.Errorf("it took %s", took)
	}
	wake()
	eventually(y.t, "it lists again", func() bool {
		l, err := i.List(context.Background(), nil)
		return err == nil && len(l.Containers) == 1 && l.Containers[0].Init == before && l.Containers[0].State == health.Running
	})
}

// daemonAnew: what ran still runs, by the same init, under the same mark; what died meanwhile is seen.
func (y *proxmoxYard) daemonAnew() {
	i := y.up("web1", "web2")
	was := list(y.t, i)
	y.h.Fault(scripted.Fault{On: "pvesh", Do: scripted.Answer, Reply: "no-cluster"})
	if l, err := i.List(context.Background(), nil); err == nil {
		y.t.Errorf("%+v", l)
	}
	y.Die("web2")
	y.h.Heal()
	eventually(y.t, "web2 is seen dead", func() bool { return find(y.t, list(y.t, i), y.ID("web2")).State == health.Stopped })
	before, now := find(y.t, was, y.ID("web1")), find(y.t, list(y.t, i), y.ID("web1"))
	if now.State != health.Running || now.Init != before.Init || now.Mark != before.Mark {
		y.t.Errorf("%+v, was %+v", now, before)
	}
	if s := find(y.t, list(y.t, i), y.ID("web2")); s.OnPurpose != "" || i.HasEvents() {
		y.t.Errorf("%+v", s)
	}
}

// faults: a list that fails, is cut, lies or is senseless is an error, and never "nobody is there".
func (y *proxmoxYard) faults() {
	y.up("web1")
	id, i := y.ID("web1"), y.within(2*time.Second)
	for _, f := range []scripted.Fault{
		{Do: scripted.Hang}, {Do: scripted.Empty}, {Do: scripted.Garble}, {Do: scripted.Flood},
		{Do: scripted.Answer, Reply: "nosuch"}, {Do: scripted.Answer, Reply: "no-cluster"}, {Do: scripted.Answer, Reply: "agent-silent"},
	} {
		f.On = "pvesh /cluster/resources"
		y.h.Heal()
		y.h.Fault(f)
		if l, err := i.List(context.Background(), nil); err == nil {
			y.t.Errorf("%s %s: %+v", f.Do, f.Reply, l)
		}
	}
	y.h.Heal()
	y.h.Update(id, func(k *scripted.Container) { k.Keys["node"] = "pve2" }) // .vmlist still has it here
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), `no guest of node "pve1"`) {
		y.t.Errorf("nobody is left of those defined here: %+v, %v", l, err)
	}
	y.h.Update(id, func(k *scripted.Container) { k.Keys["node"] = scripted.PVENode })
}

// oneHangs: a CT's monitor, or a QEMU, does not answer. With a CT, pvestatd hangs too, and tells nothing of any.
func (y *proxmoxYard) oneHangs() {
	y.up("web1", "web2", "web3")
	i := y.within(5 * time.Second)
	list(y.t, i)
	y.stopProcess("web1")
	y.Die("web3")
	eventually(y.t, "the others are watched", func() bool {
		began := time.Now()
		l := list(y.t, i)
		if took := time.Since(began); took > scripted.Patience(15*time.Second) {
			y.t.Fatalf("a list took %s", took)
		}
		return find(y.t, l, y.ID("web2")).State == health.Running && find(y.t, l, y.ID("web3")).State == health.Stopped
	})
	l := list(y.t, i)
	if y.kind == "lxc" && !strings.Contains(l.Degraded, "pvestatd has told nothing about 3 guests") {
		y.t.Errorf("%q", l.Degraded)
	}
	if s := find(y.t, l, y.ID("web1")); s.State != health.Running || s.Init.PID != y.InitPID("web1") {
		y.t.Errorf("its init lives: %+v", s)
	}
	s, err := i.Look(context.Background(), y.ID("web1"), health.Process{})
	if y.kind == "lxc" && (err == nil || !strings.Contains(err.Error(), "no answer in time")) || y.kind == "qemu" && s.State != health.Running {
		y.t.Errorf("%+v %v", s, err)
	}
	if s := look(y.t, i, y.ID("web2")); s.State != health.Running {
		y.t.Errorf("%+v", s)
	}
}

// stopProcess stops the process that would answer about a guest, until the end of the test.
func (y *proxmoxYard) stopProcess(name string) {
	pid, err := strconv.Atoi(y.guest(name).Key("monitor")) // of a VM its own
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGSTOP)
	}
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// stale: what pvestatd told is old, or nothing. Of a CT the socket of its monitor tells; a VM is asked for by itself.
func (y *proxmoxYard) stale() {
	i := y.up("web1", "web2")
	y.Make("web3", made{})
	y.h.Update(y.ID("web1"), func(k *scripted.Container) { k.Says = "stopped" })
	y.h.Update(y.ID("web2"), func(k *scripted.Container) { k.Says = "silent" })
	y.h.Update(y.ID("web3"), func(k *scripted.Container) { k.Says = "running" })
	l := list(y.t, i)
	web1, web2, web3 := find(y.t, l, y.ID("web1")), find(y.t, l, y.ID("web2")), find(y.t, l, y.ID("web3"))
	if web1.State != health.Running || web1.Init.PID != y.InitPID("web1") || web2.State != health.Running || web2.Init.PID != y.InitPID("web2") || web3.State != health.Stopped {
		y.t.Errorf("\n%+v\n%+v\n%+v", web1, web2, web3)
	}
	if !strings.Contains(l.Degraded, "pvestatd has told nothing about 1 guests") {
		y.t.Errorf("degraded: %q", l.Degraded)
	}
	asks := "pvesh /nodes/" + scripted.PVENode + "/" + y.kind + "/" + y.ID("web2") + "/status/current"
	want := map[string]health.RunState{"lxc": health.Running, "qemu": health.Unknown}[y.kind]
	y.h.Fault(scripted.Fault{On: asks, Do: scripted.Garble})
	if s := find(y.t, list(y.t, i), y.ID("web2")); s.State != want || (s.Init.PID != 0) != (want == health.Running) {
		y.t.Errorf("an answer that cannot be read: %+v", s)
	}
	y.h.Heal()
	y.h.Fault(scripted.Fault{On: strings.ReplaceAll(asks, y.ID("web2"), y.ID("web1")), Do: scripted.Hang})
	l = list(y.t, y.within(12*time.Second)) // web1 is asked first, and does not take the time from web2
	if named := strings.Contains(l.Degraded, "gives no answer about "+y.ID("web1")); named != (y.kind == "qemu") || find(y.t, l, y.ID("web2")).State != health.Running {
		y.t.Errorf("%+v", l)
	}
}

// costs: one process a list, whatever the number of guests, and none of those files that it reads as data.
func (y *proxmoxYard) costs() {
	names := []string{"web1", "web2", "web3"}
	i := y.up(names...)
	for n := range 40 {
		y.Make("off"+strconv.Itoa(n), made{})
	}
	for range 3 {
		before := len(y.h.Calls())
		if l := list(y.t, i); len(l.Containers) != 43 {
			y.t.Fatalf("%d guests", len(l.Containers))
		}
		if n := len(y.h.Calls()) - before; n != 1 {
			y.t.Errorf("a list took %d processes", n)
		}
	}
}

// quiet: while no file changes and every guest's death would be noticed, Proxmox is asked once a minute.
func (y *proxmoxYard) quiet() {
	i := y.up("web1")
	y.Make("web2", made{})
	id := y.ID("web1")
	l := list(y.t, i)
	calls := func(of func()) int {
		before := len(y.h.Calls())
		of()
		return len(y.h.Calls()) - before
	}
	if n := calls(func() { l = list(y.t, i, refs(l)...) }); n != 0 || find(y.t, l, id).Init.PID != y.InitPID("web1") {
		y.t.Errorf("%d processes while nothing moves: %+v", n, l)
	}
	if n := calls(func() { list(y.t, i) }); n != 1 {
		y.t.Errorf("nobody watches web1, and Proxmox was asked %d times", n)
	}
	y.change("web2", func(k *scripted.Container) { k.Keys["hastate"] = "stopped" })
	if s := find(y.t, list(y.t, i, refs(l)...), y.ID("web2")); s.Supervisor == "" {
		y.t.Error("a file has changed, and Proxmox was not asked")
	}
	y.change("web2", func(k *scripted.Container) { delete(k.Keys, "hastate") })
	y.tool("start", "web2")
	if n := calls(func() { l = list(y.t, i, refs(l)...) }); n == 0 || find(y.t, l, y.ID("web2")).State != health.Running {
		y.t.Errorf("web2 was started, and Proxmox was asked %d times", n)
	}
	before := look(y.t, i, id).Init
	y.Die("web1")
	n := calls(func() { y.reached(i, id, before, health.Stopped) })
	if y.kind == "qemu" && n != 0 || n > 1 { // a CT's monitor takes a moment to end
		y.t.Errorf("a death took %d processes", n)
	}
	if y.kind == "qemu" {
		pausedInQuiet(y.t, y, i)
	}
}

// pausedInQuiet: no file tells of a pause, until a person's task does.
func pausedInQuiet(t *testing.T, y *proxmoxYard, i *engine.Instance) {
	y.tool("stop", "web2")
	y.Run("web1")
	l := list(t, i)
	y.says("web1", "paused")
	if s := find(t, list(t, i, refs(l)...), y.ID("web1")); s.State != health.Running {
		t.Errorf("no file tells of a pause, and Proxmox was asked: %+v", s)
	}
	y.h.PVETask("qmpause", y.ID("web1"), "bob@pam", time.Now(), time.Now(), "OK")
	if s := find(t, list(t, i, refs(l)...), y.ID("web1")); s.State != health.Paused {
		t.Errorf("a file has changed, and Proxmox was not asked: %+v", s)
	}
}

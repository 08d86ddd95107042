package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// The trials of Proxmox, on scripted tools: of its CTs and of its VMs, each on hosts of its own, which cost a folder.

// pveKind is "lxc" or "qemu".
type pveKind string

func proxmoxTrials(name string, kind pveKind) stager {
	type h = pveKind
	// by runs tests beside others.
	by := func(tests ...func(*proxmoxYard)) stand[h] {
		var all []func(h, *testing.T)
		for _, run := range tests {
			all = append(all, func(kind h, t *testing.T) {
				t.Parallel()
				run(proxmoxHost(t, string(kind)))
			})
		}
		return stand[h]{by: all}
	}
	y := map[pveKind]func(ct, vm stand[h]) stand[h]{
		"lxc": func(ct, _ stand[h]) stand[h] { return ct }, "qemu": func(_, vm stand[h]) stand[h] { return vm },
	}[kind]
	return stages(name, func(t *testing.T) h { rig.Require(t, "root"); return kind }, nil, map[trial]stand[h]{
		found:         by((*proxmoxYard).found),
		missing:       by((*proxmoxYard).missing),
		rebooted:      by((*proxmoxYard).reboots),
		ignores:       by((*proxmoxYard).deaf),
		failsToStart:  by((*proxmoxYard).causes, (*proxmoxYard).slowStart),
		startLies:     by((*proxmoxYard).lies),
		locked:        by((*proxmoxYard).locks, (*proxmoxYard).backups),
		staleLock:     by((*proxmoxYard).staleLocks),
		daemonStopped: by((*proxmoxYard).stopsDaemon, (*proxmoxYard).faults),
		daemonHung:    by((*proxmoxYard).hangsDaemon),
		daemonAnew:    by((*proxmoxYard).daemonAnew),
		oneHangs:      by((*proxmoxYard).oneHangs, (*proxmoxYard).stale),
		renamed:       by((*proxmoxYard).renames),
		halfMade:      by((*proxmoxYard).half, (*proxmoxYard).nodes),
		breaks:        by((*proxmoxYard).breaks),
		addresses:     by((*proxmoxYard).addrs),
		whoStopped:    y(by((*proxmoxYard).stops, (*proxmoxYard).tasks, (*proxmoxYard).ownStops), by((*proxmoxYard).stops, (*proxmoxYard).ownStops)),
		others:        by((*proxmoxYard).ha),
		strange:       y(by((*proxmoxYard).strange), by((*proxmoxYard).strange, (*proxmoxYard).paused)),
		oneProcess:    by((*proxmoxYard).costs, (*proxmoxYard).quiet),
		takesOver:     by((*proxmoxYard).takesOver),
		keeps:         by((*proxmoxYard).keeps),
	})
}

// up makes guests, has them run, and opens an instance.
func (y *proxmoxYard) up(names ...string) *engine.Instance {
	y.t.Helper()
	for _, n := range names {
		y.Make(n, made{})
		y.Run(n)
	}
	return y.Open(y.t)
}

// within opens an instance whose questions have another limit.
func (y *proxmoxYard) within(limit time.Duration) *engine.Instance {
	return open(y.t, engine.Spec{Engine: "proxmox", Bin: y.h.Bin(), Root: y.h.Root(), Timeout: limit})
}

// conf is the file that defines a guest.
func (y *proxmoxYard) conf(name string) string {
	folder := map[string]string{"lxc": "lxc", "qemu": "qemu-server"}[y.kind]
	return "/etc/pve/nodes/" + scripted.PVENode + "/" + folder + "/" + y.ID(name) + ".conf"
}

// task is the name of a task: "vzstop", "qmstop".
func (y *proxmoxYard) task(verb string) string {
	return map[string]string{"lxc": "vz", "qemu": "qm"}[y.kind] + verb
}

// change changes a guest and its definition.
func (y *proxmoxYard) change(name string, f func(*scripted.Container)) {
	k := y.guest(name)
	f(&k)
	y.h.PVEPut(k)
}

// reached waits until a dead guest is told as it should be, by a look that the kernel's word of its death calls for.
func (y *proxmoxYard) reached(i *engine.Instance, id string, dead health.Process, want health.RunState) (s health.Sighting) {
	y.t.Helper()
	eventually(y.t, id+" is "+string(want), func() bool {
		var err error
		s, err = i.Look(context.Background(), id, dead)
		return err == nil && s.State == want
	})
	return s
}

// found: by its own command, wherever /etc/pve is, even while pmxcfs is down and the folder is empty.
func (y *proxmoxYard) found() {
	bin := runIn{hostexec.New(hostexec.Options{Dir: y.t.TempDir(), Place: hostexec.PlaceDirect}), y.h.Bin()}
	at := func(root string) []engine.Spec { return engine.DiscoverProxmoxAt(context.Background(), bin, root) }
	if l := at(y.h.Root()); len(l) != 1 || l[0].Engine != "proxmox" {
		y.t.Errorf("%+v", l)
	}
	if l := at(y.t.TempDir()); len(l) != 0 {
		y.t.Errorf("there is no /etc/pve: %+v", l)
	}
	empty := y.t.TempDir()
	if err := os.MkdirAll(filepath.Join(empty, "etc/pve"), 0o755); err != nil {
		y.t.Fatal(err)
	}
	if l := at(empty); len(l) != 1 {
		y.t.Errorf("pmxcfs is down: %+v", l)
	}
	y.h.Fault(scripted.Fault{On: "pveversion", Do: scripted.Empty})
	if l := at(y.h.Root()); len(l) != 0 {
		y.t.Errorf("%+v", l)
	}
	if l := engine.DiscoverProxmoxAt(context.Background(), runIn{bin.Runner, y.t.TempDir()}, y.h.Root()); len(l) != 0 {
		y.t.Errorf("there is no pveversion: %+v", l)
	}
}

// runIn runs the commands of a folder.
type runIn struct {
	engine.Runner
	bin string
}

func (r runIn) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	c.Argv = append([]string{filepath.Join(r.bin, c.Argv[0])}, c.Argv[1:]...)
	return r.Runner.Read(ctx, c)
}

// missing: what the list leaves out and the cluster still knows is not removed.
func (y *proxmoxYard) missing() {
	i := y.up("web1", "web2")
	id := y.ID("web1")
	y.change("web1", func(k *scripted.Container) { k.Keys["unlisted"] = "1" })
	if l := list(y.t, i); peek(l, id) != nil || peek(l, y.ID("web2")) == nil || !i.Defined(id) {
		y.t.Errorf("%+v, defined %v", l, i.Defined(id))
	}
	y.h.Update(id, func(k *scripted.Container) { k.Keys["vanished"] = "1" })
	if s := look(y.t, i, id); s.State != health.Removed {
		y.t.Errorf("its definition has just gone: %+v", s)
	}
	y.h.PVEDelete(id)
	if l := list(y.t, i); peek(l, id) != nil || i.Defined(id) || look(y.t, i, id).State != health.Removed {
		y.t.Errorf("it was removed: %+v", l)
	}
}

// renames: by "pct set --hostname" or "qm set --name", which takes at once, while it runs.
func (y *proxmoxYard) renames() {
	i := y.up("web1")
	was := find(y.t, list(y.t, i), y.ID("web1"))
	text, err := os.ReadFile(y.h.File(y.conf("web1")))
	if err != nil {
		y.t.Fatal(err)
	}
	y.h.WriteFile(y.conf("web1"), strings.Replace(string(text), "name: web1", "name: shop", 1)) // pvestatd tells it 10 s later
	for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), y.ID("web1")), "look": look(y.t, i, y.ID("web1"))} {
		if s.Name != "shop" || s.Init != was.Init || s.Mark != was.Mark || s.Mark == "" || s.Config == was.Config {
			y.t.Errorf("%s: %+v, was %+v", how, s, was)
		}
	}
}

// half: a guest whose definition cannot be read is shown by what Proxmox says of it; while it is made, a lock holds it.
func (y *proxmoxYard) half() {
	i := y.up("web1", "web2")
	for name, set := range map[string]func(*scripted.Container){
		"web1": func(k *scripted.Container) { k.Lock = "create" },
		"web2": func(k *scripted.Container) { k.Keys["template"] = "1" },
	} {
		y.h.Update(y.ID(name), set)
		y.h.RemoveFile(y.conf(name))
	}
	for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), y.ID("web1")), "look": look(y.t, i, y.ID("web1"))} {
		if s.Name != "web1" || s.Lock == nil || s.Lock.Operation != "create" || s.Autostart != health.Maybe {
			y.t.Errorf("%s: %+v", how, s)
		}
	}
	if s := peek(list(y.t, i), y.ID("web2")); s != nil || look(y.t, i, y.ID("web2")).State != health.Removed {
		y.t.Errorf("a template: %+v", s)
	}
}

// nodes: guests of other nodes are not ours, nor are those that went there, and templates.
func (y *proxmoxYard) nodes() {
	i := y.up("web1", "web2")
	y.Make("web3", made{})
	other := y.guest("web3")
	other.Keys["node"] = "pve2"
	y.h.PVEDelete(other.ID)
	y.h.PVEPut(other)
	if s := peek(list(y.t, i), other.ID); s != nil || i.Defined(other.ID) {
		y.t.Errorf("it is on another node: %+v", s)
	}
	if s := look(y.t, i, other.ID); s.State != health.Removed || s.Detail != `it is on node "pve2" now` {
		y.t.Errorf("%+v", s)
	}
	y.change("web2", func(k *scripted.Container) { k.Keys["template"] = "1" })
	tpl := y.ID("web2")
	if s := peek(list(y.t, i), tpl); s != nil || i.Defined(tpl) || look(y.t, i, tpl).State != health.Removed {
		y.t.Errorf("a template: %+v, defined %v", s, i.Defined(tpl))
	}
}

// breaks: what was written into a definition is not read as another guest, and no death; a start tells what is wrong.
func (y *proxmoxYard) breaks() {
	i := y.up("web1", "web2")
	id := y.ID("web1")
	was := find(y.t, list(y.t, i), id)
	for _, text := range []string{"\x00\xff garbage\nnet0\n[", "", "net0: name=eth0,bridge=\nonboot: perhaps\nlock: \n"} {
		y.h.WriteFile(y.conf("web1"), text)
		for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), id), "look": look(y.t, i, id)} {
			if s.State != health.Running || s.Init != was.Init || s.Mark != "" && s.Mark != was.Mark || s.Name != "web1" || s.Lock != nil {
				y.t.Errorf("%s of %q: %+v", how, text, s)
			}
		}
	}
	y.h.Update(id, func(k *scripted.Container) { k.Keys["fails"] = "start-gone" })
	y.Die("web1")
	awaitState(y.t, i, id, health.Stopped)
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err == "" || !strings.Contains(a.Cause, "does not exist") {
		y.t.Errorf("%+v", a)
	}
	if s := find(y.t, list(y.t, i), y.ID("web2")); s.State != health.Running {
		y.t.Errorf("%+v", s)
	}
}

// takesOver: a second instance sees all as it is, what a person stopped and what died while none was there.
func (y *proxmoxYard) takesOver() {
	first := y.up("runs", "paused", "stopped", "dead")
	y.Make("never", made{})
	before := find(y.t, list(y.t, first), y.ID("runs")).Init
	y.tool("shutdown", "stopped")
	y.Die("dead")
	y.says("paused", "paused")
	i := y.Open(y.t)
	want := map[string]health.RunState{
		"runs": health.Running, "paused": map[string]health.RunState{"lxc": health.Running, "qemu": health.Paused}[y.kind], // a CT has no such word
		"stopped": health.Stopped, "dead": health.Stopped, "never": health.Stopped,
	}
	eventually(y.t, "all is seen", func() bool {
		l := list(y.t, i)
		for name, state := range want {
			if s := peek(l, y.ID(name)); s == nil || s.State != state {
				return false
			}
		}
		return true
	})
	l := list(y.t, i)
	if s := find(y.t, l, y.ID("runs")); s.Init != before {
		y.t.Errorf("%+v, was %v", s, before)
	}
	for name, purpose := range map[string]string{"stopped": y.task("shutdown") + " by root@pam", "dead": "", "never": ""} {
		s := find(y.t, l, y.ID(name))
		if !strings.HasPrefix(s.OnPurpose, purpose) || (s.OnPurpose == "") != (purpose == "") {
			y.t.Errorf("%s: %q, want %q", name, s.OnPurpose, purpose)
		}
	}
	if y.InitPID("runs") != look(y.t, i, y.ID("runs")).Init.PID {
		y.t.Error("another init")
	}
}

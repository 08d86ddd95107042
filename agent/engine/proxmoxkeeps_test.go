package engine_test

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/scripted"
)

// ha: what HA looks after is only observed; what it ignores is not its own.
func (y *proxmoxYard) ha() {
	i := y.up("web1", "web2")
	for name, state := range map[string]string{"web1": "started", "web2": "ignored"} {
		y.change(name, func(k *scripted.Container) { k.Keys["hastate"] = state })
	}
	check := func(how string, s1, s2 health.Sighting) {
		if s1.Supervisor != "Proxmox HA (started)" || !s1.Elsewhere || s2.Supervisor != "" || s2.Elsewhere {
			y.t.Errorf("%s: %q and %q", how, s1.Supervisor, s2.Supervisor)
		}
	}
	y.h.RemoveFile("/etc/pve/ha/resources.cfg") // the row and the status say it too
	l := list(y.t, i)
	check("list", find(y.t, l, y.ID("web1")), find(y.t, l, y.ID("web2")))
	check("look", look(y.t, i, y.ID("web1")), health.Sighting{})
	y.h.PVEWrite()
	for name, want := range map[string]string{"web1": "Proxmox HA (started)", "web2": ""} {
		before := look(y.t, i, y.ID(name)).Init
		y.Die(name)
		eventually(y.t, "the file alone tells of "+name, func() bool {
			s, err := i.Look(context.Background(), y.ID(name), before)
			return err == nil && s.State == health.Stopped && s.Supervisor == want
		})
	}
}

// paused: a VM that stopped at an I/O error is paused, whatever runs.
func (y *proxmoxYard) paused() {
	i := y.up("web1")
	y.says("web1", "io-error")
	for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), y.ID("web1")), "look": look(y.t, i, y.ID("web1"))} {
		if s.State != health.Paused || s.Detail != "io-error" || s.Init.PID == 0 {
			y.t.Errorf("%s: %+v", how, s)
		}
	}
	y.says("web1", "mangled")
	if s := look(y.t, i, y.ID("web1")); s.State != health.Unknown {
		y.t.Errorf("%+v", s)
	}
}

// strange: new fields, keys twice, numbers as text and text as numbers are read; an unknown state is unknown, told once.
func (y *proxmoxYard) strange() {
	i := y.up("web1", "odd")
	y.h.Fault(scripted.Fault{On: "pvesh /cluster/resources", Do: scripted.Answer, Reply: "strange"})
	l := list(y.t, i)
	if s := find(y.t, l, y.ID("web1")); s.State != health.Running || s.Name != "web1" || s.Lock != nil || s.Init.PID != y.InitPID("web1") {
		y.t.Errorf("%+v", s)
	}
	if s := find(y.t, l, y.ID("odd")); s.State != health.Unknown || s.Detail != "hibernated" || s.Init.PID != 0 || len(l.Containers) != 2 {
		y.t.Errorf("%+v", l)
	}
	told := func(n string) bool { return strings.Contains(n, `"hibernated" is no state`) }
	if !slices.ContainsFunc(l.Notes, told) {
		y.t.Errorf("it was not told: %q", l.Notes)
	}
	if l = list(y.t, i); slices.ContainsFunc(l.Notes, told) {
		y.t.Errorf("told twice: %q", l.Notes)
	}
}

// addrs: those in the definition; those that are not there are asked for, one guest a list, and kept for this life.
func (y *proxmoxYard) addrs() {
	set := func(name, net, agent string, addrs ...string) string {
		y.Make(name, made{})
		y.change(name, func(k *scripted.Container) { k.Keys["net"], k.Keys["agent"], k.Addrs = net, agent, addrs })
		y.Run(name)
		return y.ID(name)
	}
	four := map[string]string{"lxc": "198.51.100.7/24", "qemu": "198.51.100.7"}[y.kind] // a VM's agent tells the length apart
	fixed := set("fixed", "ip=192.0.2.10/24,ip6=2001:db8::10/64", "")
	dhcp := set("dhcp", "ip=dhcp", "enabled=1,fstrim_cloned_disks=1", four, "2001:db8::7/64")
	i := y.Open(y.t)
	l := list(y.t, i)
	has := func(s health.Sighting, want ...string) {
		y.t.Helper()
		for _, w := range want {
			if !slices.ContainsFunc(s.Addrs, func(a health.Addr) bool { return a.Prefix == netip.MustParsePrefix(w) }) {
				y.t.Errorf("%s has %v, want %s", s.Name, s.Addrs, w)
			}
		}
	}
	has(find(y.t, l, fixed), "192.0.2.10/24", "2001:db8::10/64")
	has(find(y.t, l, dhcp), "198.51.100.7/24")
	if y.kind == "lxc" {
		has(find(y.t, l, dhcp), "2001:db8::7/64")
	}
	asked := len(y.h.Calls())
	if l = list(y.t, i); len(y.h.Calls())-asked != 1 || len(find(y.t, l, dhcp).Addrs) == 0 {
		y.t.Errorf("%d processes for a list when all is known: %+v", len(y.h.Calls())-asked, l)
	}
	if y.kind == "qemu" { // of a CT its namespace tells, whatever it has
		set("mute", "", "1")
	}
	none := set("none", "type=veth", "", "", "")
	for range 5 {
		list(y.t, i)
	}
	asked = len(y.h.Calls())
	if l = list(y.t, i); len(y.h.Calls())-asked != 1 || len(find(y.t, l, none).Addrs) != 0 {
		y.t.Errorf("one that does not answer is asked for ever: %+v", l)
	}
}

// keeps: each source is there and shows what it says of this guest; what is not there yet is named all the same.
func (y *proxmoxYard) keeps() {
	i := y.up("web1")
	id := y.ID("web1")
	y.tool("shutdown", "web1")
	y.Run("web1")
	y.h.Run("vzdump", id, "--remove", "0")
	y.h.WriteFile("/run/pve/ct-"+id+".stderr", "lxc_init: 850 Failed to initialize LSM\n")
	shows := map[string]string{
		"proxmox-status.json": `"vmid":` + id, "guest.conf": "onboot", "task-start.log": "TASK OK", "task-stop.log": "TASK OK", "task-backup.log": "TASK OK",
		"vzdump.log": "INFO: Finished Backup of VM " + id, "tasks-active.txt": "", "tasks-index.txt": ":" + y.task("start") + ":" + id + ":",
	}
	y.change("web1", func(k *scripted.Container) { k.Keys["onboot"] = "1" })
	if y.kind == "lxc" {
		shows["lxc-start.stderr"], shows["unit.log"] = "Failed to initialize LSM", ""
	}
	for _, s := range i.Evidence(id, health.Sighting{}) {
		want, ok := shows[s.Name]
		delete(shows, s.Name)
		if !ok || (s.Path == "") == (len(s.Argv) == 0) {
			y.t.Errorf("%+v", s)
			continue
		}
		var text []byte
		switch {
		case s.Name == "unit.log": // of a unit that only a real Proxmox has
			if !strings.Contains(strings.Join(s.Argv, " "), "pve-container@"+id+".service") {
				y.t.Errorf("%+v", s)
			}
		case s.Path != "":
			var err error
			if text, err = os.ReadFile(s.Path); err != nil {
				y.t.Error(err)
			}
			if s.Root == "" && s.Tail == 0 && s.Name != "guest.conf" && s.Name != "tasks-active.txt" {
				y.t.Errorf("%s is not bounded", s.Name)
			}
		default:
			t := y.runner().Read(context.Background(), hostexec.Command{Argv: s.Argv})
			if text = t.Stdout; !t.OK() {
				y.t.Errorf("%s: %v %q", s.Name, t.Err(), t.Stderr)
			}
		}
		if !strings.Contains(string(text), want) {
			y.t.Errorf("%s shows %q, want %q", s.Name, text, want)
		}
	}
	if len(shows) != 0 || i.KeepsLogs() {
		y.t.Errorf("there was no %v", shows)
	}
	if more := i.Evidence("999999", health.Sighting{}); len(more) != 0 {
		y.t.Errorf("of a guest that there is not: %+v", more)
	}
}

package engine_test

import (
	"context"
	"os"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// stops: who stopped it is in the list of tasks; a death is nobody's, and so is a guest's own poweroff.
func (y *proxmoxYard) stops() {
	i := y.up("web1")
	id := y.ID("web1")
	for _, verb := range []string{"shutdown", "stop"} {
		y.tool(verb, "web1")
		want := y.task(verb) + " by root@pam, " + time.Now().Format("2006-01-02")
		for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), id), "look": look(y.t, i, id), "another agent": look(y.t, y.Open(y.t), id)} {
			if s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, want) {
				y.t.Errorf("%s: %+v, want %q", how, s, want)
			}
		}
		y.Run("web1")
		before := look(y.t, i, id).Init
		y.Die("web1")
		if s := y.reached(i, id, before, health.Stopped); s.OnPurpose != "" {
			y.t.Errorf("it died after it was started again: %+v", s)
		}
		y.Run("web1")
	}
	y.h.RemoveFile("/var/log/pve/tasks/index") // it was started behind Proxmox's back
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	hourAgo := time.Now().Add(-time.Hour)
	y.h.PVETask(y.task("stop"), id, "bob@pam", hourAgo, hourAgo, "OK")
	before := look(y.t, i, id).Init
	y.Die("web1")
	if s := y.reached(i, id, before, health.Stopped); s.OnPurpose != "" {
		y.t.Errorf("it was seen running after that stop: %+v", s)
	}
}

// tasks: the same by the tasks of the API, of bulk actions, of backups and of the host's shutdown.
func (y *proxmoxYard) tasks() {
	y.Make("web1", made{})
	id, started := y.ID("web1"), time.Now()
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
		{"by a backup job of a name", "", func() {
			y.h.PVETask("vzdump", "backup-5a1c2d3e", "root@pam", started.Add(-time.Minute), started.Add(time.Minute), "job errors")
			y.h.PVETask("vzshutdown", id, "root@pam", started, started, "OK")
		}},
		{"during the backup of another", "vzshutdown by root@pam", func() {
			y.h.PVETask("vzdump", "105", "root@pam", started.Add(-time.Minute), started.Add(time.Minute), "OK")
			y.h.PVETask("vzshutdown", id, "root@pam", started, started, "OK")
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
		y.h.RemoveFile("/var/log/pve/tasks/index")
		y.h.WriteFile("/var/log/pve/tasks/active", "")
		tt.with()
		i := y.Open(y.t) // one that remembers nothing
		if s := look(y.t, i, id); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, tt.want) || tt.want == "" && s.OnPurpose != "" {
			y.t.Errorf("%s: %q, want %q", tt.what, s.OnPurpose, tt.want)
		}
	}
}

// ownStops: what we ordered is no person's wish, for this agent and for the one after it; what a person does then is.
func (y *proxmoxYard) ownStops() {
	y.up("web1")
	id, dir := y.ID("web1"), y.t.TempDir()
	agent := func() *engine.Instance {
		i, err := engine.Open(engine.Spec{Engine: "proxmox", Bin: y.h.Bin(), Root: y.h.Root(), RunDir: dir}, y.runner(), nil)
		if err != nil {
			y.t.Fatal(err)
		}
		return i
	}
	i := agent()
	for _, verb := range []health.Verb{health.VerbStop, health.VerbKill} {
		if a := i.Do(context.Background(), verb, id, 10*time.Second); a.Err != "" {
			y.t.Fatalf("%+v", a)
		}
		for how, i := range map[string]*engine.Instance{"we": i, "the agent after us": agent()} {
			if s := look(y.t, i, id); s.State != health.Stopped || s.OnPurpose != "" {
				y.t.Errorf("%s: it was our %s: %+v", how, verb, s)
			}
		}
		if s := look(y.t, y.Open(y.t), id); s.OnPurpose == "" {
			y.t.Errorf("an agent that does not know of us takes our %s for nobody's: %+v", verb, s)
		}
		if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
			y.t.Fatalf("%+v", a)
		}
	}
	y.tool("stop", "web1")
	for how, i := range map[string]*engine.Instance{"we": i, "the agent after us": agent()} {
		if s := look(y.t, i, id); s.OnPurpose == "" {
			y.t.Errorf("%s: a person stopped it after our start: %+v", how, s)
		}
	}
}

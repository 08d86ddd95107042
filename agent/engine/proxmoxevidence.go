package engine

import (
	"context"

	"atalaya/agent/health"
)

// pveLogTail is how much is kept of a log's end, in bytes.
const pveLogTail = 256 << 10

// evidence names what Proxmox leaves about a guest: its own word, its definition, what its last start and stop and its
// last backup printed. Redacting is the reader's work: a VM's definition may hold the password of cloud-init.
func (p *proxmox) evidence(id string, _ health.Sighting) []Source {
	kind, err := p.kind(id)
	if err != nil {
		return nil
	}
	h, err := p.gather(context.Background(), id)
	if err != nil {
		return nil
	}
	out := []Source{
		{Name: "proxmox-status.json", Argv: p.pvesh(guestPath(h.node, kind, id, "status/current")), Volatile: true},
		{Name: "guest.conf", Path: p.confPath(h.node, kind, id)},
	}
	if kind == "lxc" {
		out = append(out,
			Source{Name: "lxc-start.stderr", Path: p.file("/run/pve/ct-" + id + ".stderr"), Volatile: true, Tail: pveLogTail},
			Source{Name: "unit.log", Argv: []string{"journalctl", "--no-pager", "-n", "200", "-u", "pve-container@" + id + ".service"}})
	}
	for _, log := range []struct {
		name  string
		kinds []string
	}{
		{"task-start.log", []string{"vzstart", "qmstart", "vzreboot", "qmreboot", "hastart"}},
		{"task-stop.log", pveStops()},
		{"task-backup.log", []string{"vzdump"}},
	} {
		if t, ok := h.history.last(id, log.kinds...); ok {
			out = append(out, Source{Name: log.name, Path: p.file(pveTaskLog(t.upid)), Tail: pveLogTail})
		}
	}
	return append(out,
		Source{Name: "vzdump.log", Path: p.file("/var/log/vzdump/" + kind + "-" + id + ".log"), Tail: pveLogTail},
		Source{Name: "tasks-active.txt", Path: p.file("/var/log/pve/tasks/active"), Volatile: true},
		Source{Name: "tasks-index.txt", Path: p.file("/var/log/pve/tasks/index"), Tail: pveLogTail})
}

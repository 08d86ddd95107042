package engine

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"atalaya/agent/health"
)

// sighting makes one of a row, the files, and what is remembered. The caller holds mu.
func (p *proxmox) sighting(h *pveHost, r pveRow, e *pveEntry) health.Sighting {
	id, word := string(r.VMID), r.word()
	conf, defined := h.confs[id]
	state, known := pveState(word)
	if !known {
		p.notes.add("guest %s: %q is no state that is known", id, tidy(word))
	}
	s := health.Sighting{
		Ref: p.ref(id), Name: tidy(string(r.Name)), Mark: conf.mark, State: state, Config: conf.digest,
		Links: slices.Clone(conf.links), Tags: slices.Clone(conf.tags), At: time.Now(),
	}
	if conf.name != "" {
		s.Name = conf.name // a new name is there at once, and in the rows 10 s later
	}
	if s.Name == "" {
		s.Name = id
	}
	if defined {
		s.Autostart = health.No
		if conf.onboot {
			s.Autostart = health.Yes
		}
	}
	if word != "running" && word != "stopped" {
		s.Detail = tidy(word)
	}
	if state != health.Stopped && state != health.Unknown {
		p.live(&s, int(r.PID), e, conf)
	} else {
		e.init, e.addrs, e.tries = health.Process{}, nil, 0
	}
	p.hold(&s, h, r, conf)
	p.explain(&s, h, e)
	e.state = s.State
	return s
}

// live takes in the process of a guest that is not stopped. Where Proxmox names one that is gone, it is just ending.
func (p *proxmox) live(s *health.Sighting, pid int, e *pveEntry, conf pveConf) {
	proc, ok := p.identify(pid)
	if pid != 0 && !ok {
		s.State, s.Detail = health.Unknown, fmt.Sprintf("Proxmox says that it runs, but its process %d is gone: it is just ending", pid)
		return
	}
	if proc != e.init {
		e.init, e.addrs, e.tries, e.freeze = proc, nil, 0, ""
	}
	s.Init = proc
	s.Addrs = append(slices.Clone(conf.addrs), e.addrs...)
	if s.State == health.Running && e.kind == "lxc" && e.isFrozen() {
		s.State, s.Detail = health.Paused, "frozen"
	}
	if s.State == health.Running {
		e.ran = s.At
	}
}

// isFrozen reads the freezer of a CT, of which Proxmox says "running" all the same.
func (e *pveEntry) isFrozen() bool {
	if e.init.PID == 0 {
		return false
	}
	if e.freeze == "" {
		e.freeze, e.frozen = freezerFile(e.init.PID)
	}
	b, err := os.ReadFile(e.freeze)
	return err == nil && bytes.Contains(b, []byte(e.frozen))
}

// hold fills in who else has a hand on it: a lock in its definition, a task at work on it, HA.
func (p *proxmox) hold(s *health.Sighting, h *pveHost, r pveRow, conf pveConf) {
	id := string(r.VMID)
	lock := conf.lock
	if lock == "" && conf.digest == "" {
		lock = tidy(string(r.Lock)) // the definition could not be read
	}
	task, busy, maybe := h.history.operation(id)
	switch {
	case lock != "":
		s.Lock = &health.Lock{Operation: lock, Dead: !maybe && pveTakenByTask(lock)}
	case busy:
		s.Lock = &health.Lock{Operation: pveOperation(task.kind)}
	}
	if busy {
		s.Lock.Holder, s.Lock.Since = task.proc, task.started
	}
	state := r.ha()
	if state == "" && r.HA == "" && r.Managed == nil {
		state = h.haState(string(r.Type), id)
	}
	if state != "" {
		s.Supervisor, s.Elsewhere = "Proxmox HA ("+state+")", true
	}
	if s.State == health.Stopped && (h.reboots[id] || h.history.rebooting(id)) {
		s.State, s.Detail = health.Busy, "it reboots: Proxmox is starting it again"
	}
}

// haState is the state that HA was told to keep a guest in, from its own file; empty where it looks after none.
func (h *pveHost) haState(kind, id string) string {
	name := "ct:" + id
	if kind == "qemu" {
		name = "vm:" + id
	}
	if state := h.ha[name]; state != "ignored" {
		return state
	}
	return ""
}

// pveTakenByTask tells the locks that a task sets and clears, so that one without a task is left from a task that was
// killed. A person mounts or trims a CT ("pct mount", "pct fstrim"), and a VM is left suspended to disk, with no task.
func pveTakenByTask(lock string) bool {
	switch lock {
	case "backup", "clone", "create", "destroyed", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending":
		return true
	}
	return false
}

// explain tells who stopped it, where the task list does. A stop before it was last seen running explains nothing.
func (p *proxmox) explain(s *health.Sighting, h *pveHost, e *pveEntry) {
	if s.State != health.Stopped {
		return
	}
	id := s.Ref.ID
	if h.confs[id].lock == "suspended" {
		s.OnPurpose = "suspended to disk"
	}
	t, ok := h.history.stop(id, h.boot, p.ours)
	if !ok || !t.ended.IsZero() && e.ran.After(t.ended.Add(2*time.Second)) {
		return
	}
	s.OnPurpose = fmt.Sprintf("%s by %s, %s", t.kind, t.user, t.started.Format("2006-01-02 15:04"))
}

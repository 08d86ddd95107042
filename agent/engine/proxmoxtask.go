package engine

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// Proxmox writes down every task: who ordered what, on which guest, and how it ended. The formats are those of
// proxmox/pve-common, src/PVE/UPID.pm (encode, decode, read_status), src/PVE/RESTEnvironment.pm (active_workers writes
// the index) and src/PVE/INotify.pm (read_active_workers).

// A pveTask is one task of this node.
type pveTask struct {
	upid    string
	node    string
	proc    health.Process // its worker
	started time.Time
	kind    string // "vzstop", "qmstart", "vzdump", …
	id      string // the guest; something else, or empty: several, or none
	user    string // "root@pam", "alice@pve!token"
	ended   time.Time
	status  string // "OK", "WARNINGS: 2", or the text of TASK ERROR; empty: not ended, or not known
	lives   bool   // its worker did when the tasks were read
}

// upidRE is the pattern of PVE::UPID::decode. The start time may have nine digits after 497 days of uptime.
var upidRE = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$`)

// parseUPID reads the name of a task.
func parseUPID(s string) (pveTask, bool) {
	m := upidRE.FindStringSubmatch(s)
	if m == nil {
		return pveTask{}, false
	}
	pid, err1 := strconv.ParseUint(m[2], 16, 31)
	start, err2 := strconv.ParseUint(m[3], 16, 64)
	at, err3 := strconv.ParseInt(m[4], 16, 64)
	return pveTask{
		upid: s, node: m[1], proc: health.Process{PID: int(pid), Start: start}, started: time.Unix(at, 0),
		kind: m[5], id: m[6], user: m[7],
	}, err1 == nil && err2 == nil && err3 == nil
}

// parsePVEIndex reads /var/log/pve/tasks/index: "UPID ENDTIME STATUS", the time in hex. Lines that are cut, as the last
// one may be while it is written, are left out.
func parsePVEIndex(b []byte) []pveTask {
	var out []pveTask
	for line := range strings.Lines(string(b)) {
		line, whole := strings.CutSuffix(line, "\n")
		upid, rest, _ := strings.Cut(line, " ")
		end, status, _ := strings.Cut(rest, " ")
		if t, ok := endPVETask(upid, end, status); ok && whole && !t.ended.IsZero() {
			out = append(out, t)
		}
	}
	return out
}

// parsePVEActive reads /var/log/pve/tasks/active: "UPID SAVED [ENDTIME [STATUS]]". A task that has ended and is not yet
// written down as ended is there too: its worker tells.
func parsePVEActive(b []byte) []pveTask {
	var out []pveTask
	for line := range strings.Lines(string(b)) {
		upid, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		saved, rest, _ := strings.Cut(rest, " ")
		end, status, _ := strings.Cut(rest, " ")
		if t, ok := endPVETask(upid, end, status); ok && (saved == "0" || saved == "1") {
			out = append(out, t)
		}
	}
	return out
}

func endPVETask(upid, end, status string) (pveTask, bool) {
	t, ok := parseUPID(upid)
	if !ok || end == "" {
		return t, ok
	}
	at, err := strconv.ParseInt(end, 16, 64)
	t.ended, t.status = time.Unix(at, 0), tidy(status)
	return t, err == nil
}

// parsePVEResult reads how a task ended from the last line of its log, as PVE::UPID::read_status does.
func parsePVEResult(log []byte) (status string, ok bool) {
	line := lastLine(log)
	switch {
	case line == "TASK OK":
		return "OK", true
	case strings.HasPrefix(line, "TASK ERROR: "):
		return tidy(line[len("TASK ERROR: "):]), true
	case strings.HasPrefix(line, "TASK WARNINGS: "):
		return tidy(line[len("TASK "):]), true
	}
	return "", false
}

// ok tells a task that did what was asked, perhaps with warnings (PVE::UPID::status_is_error).
func (t pveTask) ok() bool { return t.status == "OK" || strings.HasPrefix(t.status, "WARNINGS: ") }

// running tells whether the worker of a task still lives. One whose end is written down does not, whoever has its pid now.
func (t pveTask) running() bool { return t.ended.IsZero() && t.lives }

// many tells a task of several guests, or of none: a backup job has the name of the job, or nothing, where others have the
// number of a guest (proxmox/pve-manager, PVE/API2/VZDump.pm, $taskid).
func (t pveTask) many() bool { return checkVMID(t.id) != nil }

// covers tells whether something that began at that moment began within the task, to the second that tasks are kept in.
func (t pveTask) covers(at time.Time) bool {
	return !at.Before(t.started) && (t.ended.IsZero() || !at.After(t.ended.Add(time.Second)))
}

// pveStops are the tasks after which a guest is off because somebody wanted it, pveStarts those that bring it up or that
// would have: after them an end is no longer explained by an earlier stop. From proxmox/pve-container,
// src/PVE/API2/LXC/Status.pm, and proxmox/qemu-server, src/PVE/API2/Qemu.pm, by their fork_worker.
func pveStops() []string {
	return []string{"vzstop", "vzshutdown", "vzsuspend", "qmstop", "qmshutdown", "qmsuspend", "hastop"}
}

func pveStarts() []string {
	return []string{
		"vzstart", "vzresume", "vzreboot", "qmstart", "qmresume", "qmreboot", "qmreset", "hastart",
		"vzcreate", "vzrestore", "vzclone", "vzmigrate", "vzrollback", "qmcreate", "qmrestore", "qmclone", "qmigrate", "qmrollback",
	}
}

// pveOperations are tasks that hold a guest while they run, and what they are called to people. A start or stop is none:
// one that hangs must not keep us from looking.
func pveOperation(kind string) string {
	switch strings.TrimPrefix(strings.TrimPrefix(kind, "vz"), "qm") {
	case "dump":
		return "backup"
	case "migrate", "igrate", "mtunnel", "tunnel": // CTs: vzmigrate, VMs: qmigrate; the tunnel is the receiving end
		return "migrate"
	case "create", "restore", "clone", "template", "destroy", "snapshot", "delsnapshot", "rollback":
		return strings.TrimPrefix(strings.TrimPrefix(kind, "vz"), "qm")
	}
	switch kind {
	case "move_volume", "qmmove", "resize":
		return "disk"
	case "hamigrate", "harelocate":
		return "migrate"
	}
	return ""
}

// pveHistory is what the tasks of this node tell.
type pveHistory struct {
	byGuest map[string][]pveTask // by start, the latest last
	bulk    []pveTask            // of the whole node, or of several guests: stopall, suspendall, a backup of many
	known   bool                 // the list of running tasks could be read
}

// newPVEHistory joins the index with the list of active tasks. Where both know a task, the one that knows its end counts.
func newPVEHistory(known bool, lists ...[]pveTask) *pveHistory {
	all := map[string]pveTask{}
	for _, list := range lists {
		for _, t := range list {
			if have, ok := all[t.upid]; !ok || have.ended.IsZero() {
				all[t.upid] = t
			}
		}
	}
	h := &pveHistory{byGuest: map[string][]pveTask{}, known: known}
	for _, upid := range sortedKeys(all) {
		t := all[upid]
		if t.many() || t.kind == "vzdump" {
			h.bulk = append(h.bulk, t)
		}
		if !t.many() {
			h.byGuest[t.id] = append(h.byGuest[t.id], t)
		}
	}
	for _, list := range h.byGuest {
		slices.SortStableFunc(list, func(a, b pveTask) int { // of one second, by the start of their workers
			return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.proc.Start, b.proc.Start))
		})
	}
	return h
}

// stop gives the task by which a guest that is off was stopped, or is just being stopped. Ours are not counted, nor is
// what a backup did to copy a guest at rest, nor what Proxmox did because the host went down: see inBulk.
func (h *pveHistory) stop(id string, boot time.Time, ours func(pveTask) bool) (pveTask, bool) {
	list := h.byGuest[id]
	for i := len(list) - 1; i >= 0; i-- {
		t := list[i]
		switch {
		case slices.Contains(pveStarts(), t.kind):
			return pveTask{}, false
		case !slices.Contains(pveStops(), t.kind), !t.ok() && !t.running():
			continue // one that failed has stopped nothing
		}
		return t, !ours(t) && !h.inBulk(t, boot)
	}
	return pveTask{}, false
}

// inBulk tells whether a stop belongs to a larger task that was not about this guest. A backup in mode "stop" starts its
// guest again, or should have. A stopall of an earlier boot was the host's shutdown (pve-guests.service runs it). One of
// this boot was ordered by a person, as a bulk action, or is the shutdown going on now, which the host's own word tells.
func (h *pveHistory) inBulk(stop pveTask, boot time.Time) bool {
	for _, b := range h.bulk {
		if !b.covers(stop.started) {
			continue
		}
		switch b.kind {
		case "vzdump":
			if b.many() || b.id == stop.id {
				return true
			}
		case "stopall", "suspendall":
			if b.started.Before(boot) {
				return true
			}
		}
	}
	return false
}

// operation gives the task that holds a guest now. maybe is true where one could: some other task of this guest runs, or
// one that names no guest, or the running tasks are not known.
func (h *pveHistory) operation(id string) (t pveTask, ok, maybe bool) {
	maybe = !h.known
	for _, t := range h.byGuest[id] {
		if !t.running() {
			continue
		}
		if maybe = true; pveOperation(t.kind) != "" {
			return t, true, true
		}
	}
	for _, b := range h.bulk {
		maybe = maybe || b.many() && b.running()
	}
	return pveTask{}, false, maybe
}

// rebooting tells whether somebody's reboot of a guest is under way, which brings it up again itself.
func (h *pveHistory) rebooting(id string) bool {
	return slices.ContainsFunc(h.byGuest[id], func(t pveTask) bool {
		return (t.kind == "vzreboot" || t.kind == "qmreboot") && t.running()
	})
}

// last gives the latest task of a guest that has a log of its own worth reading.
func (h *pveHistory) last(id string, kinds ...string) (pveTask, bool) {
	list := h.byGuest[id]
	for i := len(list) - 1; i >= 0; i-- {
		if slices.Contains(kinds, list[i].kind) {
			return list[i], true
		}
	}
	return pveTask{}, false
}

// pveTaskLog is where the log of a task lies: in a folder by the last digit of its start (PVE::UPID::decode).
func pveTaskLog(upid string) string {
	f := strings.Split(upid, ":")
	if len(f) < 5 || len(f[4]) != 8 {
		return ""
	}
	return "/var/log/pve/tasks/" + f[4][7:] + "/" + upid
}

package hostexec

import (
	"context"
	"os"
	"time"
)

// Pending is a command that has not ended.
type Pending struct {
	Op      Op        `json:"op"`
	Command []string  `json:"argv"`
	PID     int       `json:"pid"`             // 0 while it is not known
	Start   uint64    `json:"start,omitempty"` // clock ticks after boot: pid and start together name one process
	Started time.Time `json:"started"`
	Unit    string    `json:"unit,omitempty"`
	Remote  string    `json:"remote,omitempty"` // the other host it runs on; PID is then 0: pids there mean nothing here
}

// Unfinished lists the changing commands that run now: of agents before this one, which were found when this Host was
// made, and our own, waited for or not, here and on other hosts. No container may be touched while a command for it is in this list. Safe for
// concurrent use.
func (h *Host) Unfinished() []Pending {
	var out []Pending
	for _, k := range h.kept() {
		if !k.ended() {
			out = append(out, k.pending())
		}
	}
	for _, r := range h.far() {
		out = append(out, r.unfinished()...)
	}
	return out
}

// Await waits until a command that Unfinished listed has ended, or until ctx ends (Abandoned; it goes on). The exit code
// of an earlier agent's command is known where systemd kept it, or the kernel tells it (Linux 6.15); otherwise Exit is -1
// and Failure says so. The command's limit, its agent's, is not enforced.
func (h *Host) Await(ctx context.Context, p Pending) Transcript {
	if p.Remote != "" {
		return h.awaitFar(ctx, p)
	}
	name := ""
	if p.Op.ID != "" {
		name = fileName(p.Op.ID)
	}
	k := h.find(name)
	if k == nil || h.isTaken(k) { // taken, yet there: its files are just being removed
		return Transcript{
			Argv: p.Command, PID: p.PID, Unit: p.Unit, Started: p.Started, Took: time.Since(p.Started), Exit: -1,
			Failure: "it ended before it was awaited, and its ending was not kept",
		}
	}
	select {
	case <-k.done:
		return h.spend(k)
	case <-ctx.Done():
		return k.leave("no longer waited for: " + context.Cause(ctx).Error() + "; it goes on")
	}
}

// adopt finds what the agent before us left running, and starts keeping it. What has ended is taken off the record.
func (h *Host) adopt() {
	h.folder.sweepSockets()
	for _, r := range h.folder.list() {
		k := newKept(r.Op, r.Command)
		k.rec = r
		k.child = h.recover(&k.rec)
		if k.child == nil {
			h.log.Info("a command of an earlier agent has ended", "op", r.Op.ID, "container", r.Op.Container, "argv", r.Command)
			h.folder.remove(r.name)
			continue
		}
		outs, err := h.folder.open(r.name, os.O_RDWR)
		if err != nil {
			outs, err = folder{}.begin(r) // in memory: empty
		}
		if outs.out == nil {
			h.log.Warn("cannot read the output of an earlier agent's command", "op", r.Op.ID, "err", err)
			k.child.release()
			continue
		}
		k.outs = outs
		h.take(k)
		go h.keep(k)
		h.log.Info("a command of an earlier agent still runs", "op", r.Op.ID, "container", r.Op.Container, "argv", r.Command, "pid", k.rec.PID)
	}
}

// recover finds the process of a record, or gives nil when it is gone.
func (h *Host) recover(r *record) child {
	if r.Boot != bootID() {
		return nil
	}
	if r.Unit != "" {
		child, known := h.units.find(r.Unit)
		if known {
			return child
		}
		h.log.Warn("systemd does not answer about the unit of an earlier command", "unit", r.Unit)
	}
	if r.PID == 0 {
		pid, start, err := holder(h.folder.path(r.name, ".out"))
		if err != nil {
			return nil
		}
		r.PID, r.Start = pid, start
	}
	if o := findOrphan(r.PID, r.Start); o != nil {
		return o
	}
	return nil // and not a child that holds no orphan
}

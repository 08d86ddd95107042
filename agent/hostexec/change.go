package hostexec

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// An Op says what a changing command is for. ID is unique among the commands in flight, also over restarts of the agent;
// Container is the container's reference as text.
type Op struct {
	ID        string `json:"id"`
	Container string `json:"container"`
	Verb      string `json:"verb"`
}

// Change runs a command that changes a container. It returns when the command has ended; when it has outlived its limit,
// SIGTERM and a second more (TimedOut and, still running, Abandoned); or when ctx ends (Abandoned). In every case the
// command itself goes on undisturbed until it ends, and Unfinished lists it until then. Its standard input is /dev/null
// and it is in a session of its own.
//
// A second command under the ID of one that still runs is refused. Change never fails: the Transcript says what happened.
func (h *Host) Change(ctx context.Context, op Op, c Command) Transcript {
	t := h.change(ctx, op, c)
	h.metrics.count("change", t)
	return t
}

func (h *Host) change(ctx context.Context, op Op, c Command) Transcript {
	t := Transcript{Argv: c.Argv, Started: time.Now(), Exit: -1}
	if ctx.Err() != nil {
		t.Failure = "not started: " + context.Cause(ctx).Error()
		return t
	}
	path, err := c.lookup()
	if err != nil {
		t.Failure = notStarted(err)
		return t
	}
	c = c.marked(op)
	k, err := h.reserve(op, c)
	if err != nil {
		t.Failure = notStarted(err)
		return t
	}
	go func() {
		if err := h.launch(k, c, path); err != nil {
			h.drop(k, err)
			return
		}
		h.keep(k)
	}()
	select {
	case <-k.done:
		return h.spend(k)
	case <-k.tardy:
		return k.leave(noAnswer(c.timeout()) + ", nor to SIGTERM; it goes on")
	case <-ctx.Done():
		return k.leave("no longer waited for: " + context.Cause(ctx).Error() + "; it goes on")
	}
}

// reserve takes the operation's ID, and puts the command on record.
func (h *Host) reserve(op Op, c Command) (*kept, error) {
	if op.ID == "" {
		return nil, errors.New("the operation has no ID")
	}
	k := newKept(op, c.Argv)
	k.maxOut, k.limit, k.rec.Agent = c.maxOut(), c.timeout(), h.agent
	for !h.take(k) {
		old := h.find(k.rec.name)
		if old == nil {
			continue
		}
		if !old.ended() {
			return nil, fmt.Errorf("operation %q is still under way, by pid %d: await it", op.ID, old.pending().PID)
		}
		<-old.released
	}
	if h.units != nil {
		// The name is used once: a unit of the same operation that was not unloaded must not be in the way.
		k.rec.Unit = h.agent + "-" + k.rec.name + "-" + strconv.FormatInt(k.rec.Started.UnixMicro(), 36) + ".service"
	}
	var err error
	if k.outs, err = h.folder.begin(k.rec); err == nil {
		return k, nil
	}
	if k.outs.out == nil {
		h.spend(k)
		h.forget(k)
		close(k.released)
		return nil, err
	}
	if !errors.Is(err, errNoFolder) {
		h.log.Warn("a changing command is not on record: a successor of this agent could not find it", "op", op.ID, "err", err)
	}
	return k, nil
}

// launch starts k: in a transient unit where we are a systemd service ourselves, else directly.
func (h *Host) launch(k *kept, c Command, path string) error {
	if k.rec.Unit != "" {
		child, err := h.units.start(k.rec, c, path, k.outs)
		if err == nil {
			k.started(child)
			return nil
		}
		if !errors.Is(err, errNotUsable) {
			return err
		}
		h.fellBack(err)
		k.withoutUnit()
	}
	own, err := startOwn(c, path, k.outs, h.service)
	if err != nil {
		return err
	}
	k.started(own)
	if h.folder.dir != "" {
		// Without this write the command is found by its output file; see record.
		if err := h.folder.write(k.rec); err != nil {
			h.log.Warn("cannot complete the record of a changing command", "op", k.rec.Op.ID, "err", err)
		}
	}
	return nil
}

// started notes the child, and its pid where that costs nothing.
func (k *kept) started(c child) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.child = c
	if own, ok := c.(*ownChild); ok {
		k.rec.PID, k.rec.Start = own.process()
	}
}

// withoutUnit notes that systemd does not run it after all.
func (k *kept) withoutUnit() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rec.Unit = ""
}

// drop ends the keeping of a command that never started.
func (h *Host) drop(k *kept, why error) {
	h.folder.remove(k.rec.name)
	k.final = k.transcript()
	k.final.Failure = notStarted(why)
	k.outs.close()
	close(k.done)
	h.forget(k)
	close(k.released)
}

package hostexec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An errand is one changing command on another host, from before it is begun until it is known how it ended. Its keeper
// is the goroutine in Remote.keep; Remote.close ends that, and never the command.
type errand struct {
	rec   record
	max   int
	limit time.Duration // 0: none of ours; an earlier agent began it
	begun bool          // it was seen to have been begun; the keeper's
	done  chan struct{} // closed when it has ended; final is set
	tardy chan struct{} // closed when it outlived its limit and SIGTERM
	final Transcript
}

const (
	// waitWithin is how long the session that begins a command waits for its end: it holds one of few places.
	waitWithin = 10 * time.Second
	// beginWithin is what a command has to arrive there, however short its own limit.
	beginWithin = 5 * time.Second
	// askingWithin bounds each question about it.
	askingWithin = 20 * time.Second
)

// Change runs a command there that changes a container; see Host.Change. When the connection is lost, the command goes
// on, and how it ended is asked for until that is known. Whether it was begun at all is settled in the same way: one that
// was not by then never will be.
func (r *Remote) Change(ctx context.Context, op Op, c Command) Transcript {
	t := r.change(ctx, op, c)
	r.host.metrics.count("change", t)
	return t
}

func (r *Remote) change(ctx context.Context, op Op, c Command) Transcript {
	t := Transcript{Argv: c.Argv, Remote: r.to.Target, Started: time.Now(), Exit: -1}
	if ctx.Err() != nil {
		t.Failure = "not started: " + context.Cause(ctx).Error()
		return t
	}
	err := c.sendable()
	var e *errand
	if err == nil {
		e, err = r.reserve(op, c)
	}
	if err != nil {
		t.Failure = notStarted(err)
		return t
	}
	r.wg.Go(func() {
		r.launch(e, c)
		r.keep(e)
	})
	select {
	case <-e.done:
		return r.spend(e)
	case <-e.tardy:
		return r.leave(e, true, noAnswer(c.timeout())+"; it may go on")
	case <-ctx.Done():
		return r.leave(e, false, "no longer waited for: "+context.Cause(ctx).Error()+"; it may go on")
	case <-r.ctx.Done():
		return r.leave(e, false, "no longer waited for: this agent is ending; it may go on")
	}
}

// reserve takes the operation's name and puts it on record.
func (r *Remote) reserve(op Op, c Command) (*errand, error) {
	if op.ID == "" {
		return nil, errors.New("the operation has no ID")
	}
	e := newErrand(record{Version: recordVersion, Agent: r.host.agent, Op: op, Command: c.Argv, Boot: bootID(), Started: time.Now(), name: fileName(op.ID)}, c.maxOut())
	e.limit = c.timeout()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errands[e.rec.name] != nil {
		return nil, fmt.Errorf("operation %q is still under way on %q: await it", op.ID, r.to.Target)
	}
	r.errands[e.rec.name] = e
	if err := r.folder.note(e.rec); err != nil {
		r.host.log.Warn("a changing command is not on record: a successor of this agent could not find it", "op", op.ID, "err", err)
	}
	return e, nil
}

func newErrand(rec record, max int) *errand {
	return &errand{rec: rec, max: max, done: make(chan struct{}), tardy: make(chan struct{})}
}

// launch begins it, and takes its end when that comes soon.
func (r *Remote) launch(e *errand, c Command) {
	t, came := r.session(r.ctx, r.works, session{argv: c.Argv, body: launchScript(e.rec.name, c), limit: min(waitWithin, max(e.limit, beginWithin)), max: e.max})
	switch {
	case came == nowhere && r.ctx.Err() == nil:
		t.Failure = notStarted(errors.New(t.Failure))
		r.finish(e, t, false)
	case t.Exit == farTaken:
		r.end(e, "not started: another command has its name there")
	case t.Exit == farNoPlace:
		r.end(e, "not started: no folder for it can be made in /run, /var/run or the home folder there: is the disk full?")
	default:
		r.take(e, t)
	}
}

// take takes in what a session said of it.
func (r *Remote) take(e *errand, t Transcript) {
	switch {
	case t.Exit == farNever && !e.begun:
		r.end(e, "not started: the connection was lost, or too slow, before the command arrived")
	case t.Exit == farNever:
		r.end(e, "it has ended, and how is not known: its record there is gone; was that host started anew?")
	case t.Exit == farLost:
		r.end(e, "it has ended, and how is not known: whoever was to write it down was killed")
	case t.Exit == farRuns:
		e.begun = true
	case t.Exit >= 0 && t.Exit <= 255 && t.Failure == "":
		r.finish(e, t, true)
	}
}

// keep asks how it stands, less and less often, until it has ended; past its limit it sends SIGTERM, once.
func (r *Remote) keep(e *errand) {
	var limit, mercy <-chan time.Time
	if e.limit > 0 {
		limit = time.After(e.limit - time.Since(e.rec.Started))
	}
	for pause := 100 * time.Millisecond; ; pause = min(pause*3/2, 5*time.Second) {
		select {
		case <-e.done:
			return
		case <-r.ctx.Done():
			return
		case <-limit:
			limit = nil
			r.terminate(e)
			mercy = time.After(grace)
			pause = 100 * time.Millisecond
		case <-mercy:
			mercy = nil
			if !e.ended() {
				close(e.tardy)
			}
		case <-time.After(pause):
			t, _ := r.session(r.ctx, r.works, session{argv: e.rec.Command, body: askScript(e.rec.name, e.max), limit: askingWithin, max: e.max})
			r.take(e, t)
		}
	}
}

// terminate asks it to end. That is all that is ever done to it.
func (r *Remote) terminate(e *errand) {
	t, _ := r.session(r.ctx, r.works, session{argv: e.rec.Command, body: termScript(e.rec.name), limit: beginWithin, max: 1 << 10})
	r.host.log.Warn("a changing command on another host is past its limit and was sent SIGTERM", "op", e.rec.Op.ID,
		"container", e.rec.Op.Container, "argv", e.rec.Command, "host", r.to.Target, "limit", e.limit, "sent", t.Exit == 0)
}

// end finishes it with words instead of an exit code.
func (r *Remote) end(e *errand, why string) {
	r.finish(e, Transcript{Exit: -1, Failure: why}, false)
}

// finish publishes the ending, then has it forgotten there.
func (r *Remote) finish(e *errand, t Transcript, sweep bool) {
	t.Argv, t.Remote, t.Started, t.Took = e.rec.Command, r.to.Target, e.rec.Started, time.Since(e.rec.Started)
	t.TimedOut = e.limit > 0 && t.Took > e.limit
	e.final = t
	r.folder.remove(e.rec.name)
	r.mu.Lock()
	delete(r.errands, e.rec.name)
	if r.spent = append(r.spent, e); len(r.spent) > maxSpent {
		r.spent = slices.Delete(r.spent, 0, 1)
	}
	r.mu.Unlock()
	close(e.done)
	if sweep && r.ctx.Err() == nil {
		r.wg.Go(func() {
			r.session(r.ctx, r.works, session{argv: t.Argv, body: sweepScript(e.rec.name), limit: askingWithin, max: 1 << 10})
		})
	}
}

func (e *errand) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// spend gives the ending, which is not kept any longer.
func (r *Remote) spend(e *errand) Transcript {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent = slices.DeleteFunc(r.spent, func(x *errand) bool { return x == e })
	return e.final
}

// leave is the transcript of a command that is no longer waited for.
func (r *Remote) leave(e *errand, late bool, why string) Transcript {
	return Transcript{Argv: e.rec.Command, Remote: r.to.Target, Started: e.rec.Started, Took: time.Since(e.rec.Started), Exit: -1,
		TimedOut: late, Abandoned: true, Failure: why}
}

// adopt takes up what an agent before this one began there and did not see the end of.
func (r *Remote) adopt() {
	for _, rec := range r.folder.list() {
		e := newErrand(rec, DefaultMaxOut)
		e.begun = true // what is on record was most probably begun; see take
		r.errands[rec.name] = e
		r.wg.Go(func() { r.keep(e) })
		r.host.log.Info("a command of an earlier agent may still run on another host", "op", rec.Op.ID, "container", rec.Op.Container,
			"argv", rec.Command, "host", r.to.Target)
	}
}

// unfinished lists what is under way there, as far as that is known, oldest first.
func (r *Remote) unfinished() []Pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Pending
	for _, e := range r.errands {
		out = append(out, Pending{Op: e.rec.Op, Command: e.rec.Command, Started: e.rec.Started, Remote: r.to.Target})
	}
	slices.SortFunc(out, func(a, b Pending) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Op.ID, b.Op.ID)) })
	return out
}

// awaitFar is Await for another host.
func (h *Host) awaitFar(ctx context.Context, p Pending) Transcript {
	for _, r := range h.far() {
		if r.to.Target != p.Remote {
			continue
		}
		if e := r.find(fileName(p.Op.ID)); e != nil {
			select {
			case <-e.done:
				return r.spend(e)
			case <-ctx.Done():
				return r.leave(e, false, "no longer waited for: "+context.Cause(ctx).Error()+"; it may go on")
			case <-r.ctx.Done():
				return r.leave(e, false, "no longer waited for: this agent is ending; it may go on")
			}
		}
	}
	return Transcript{Argv: p.Command, Remote: p.Remote, Started: p.Started, Took: time.Since(p.Started), Exit: -1,
		Failure: "it ended before it was awaited, and its ending was not kept"}
}

func (r *Remote) find(name string) *errand {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.errands[name]; e != nil {
		return e
	}
	for _, e := range slices.Backward(r.spent) {
		if e.rec.name == name {
			return e
		}
	}
	return nil
}

package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/sentinel"
)

// hands carry out what the core orders, beside the loop: looks at once, changes one at a time per container. Every
// outcome goes back into the inbox.
type hands struct {
	a       *Agent
	ctx     context.Context
	wg      sync.WaitGroup
	running atomic.Int64

	mu    sync.Mutex
	locks map[health.Ref]chan struct{}
	cases map[string]*dossier
	lines map[string]chan struct{} // of each case: closed when the part that was ordered last is sealed
}

func newHands(a *Agent) *hands {
	return &hands{a: a, locks: map[health.Ref]chan struct{}{}, cases: map[string]*dossier{}, lines: map[string]chan struct{}{}}
}

func (h *hands) begin(ctx context.Context) { h.ctx = ctx }

// wait returns when everything under way has been let go. Commands that change a container go on without us.
func (h *hands) wait() { h.wg.Wait() }

// carryOut does what one Step ordered, in its order, without waiting for it.
func (h *hands) carryOut(w work) {
	h.running.Add(1)
	var done func()
	w.job.turn, done = h.inLine(w.acts)
	h.wg.Go(func() {
		defer h.running.Add(-1)
		defer done()
		for _, act := range w.acts {
			switch act.Kind {
			case health.DoLook:
				h.look(w.job, act)
			case health.DoStart, health.DoRestart:
				h.change(w.job, act)
			case health.DoJob:
				h.jobDo(w.job, act)
			case health.DoCapture:
				h.capture(w.job, act)
			case health.DoDrop:
				h.drop(act.Case)
			case health.DoResolve:
				h.close(w.job, act)
			}
		}
	})
}

// look asks, at the same time, the engine how the container is, /proc who is at it, the host whether it is in order, and,
// where a probe was named, that probe from inside the container.
func (h *hands) look(j job, act health.Action) {
	ctx, cancel := context.WithTimeout(h.ctx, j.setup.Policy.LookWithin)
	defer cancel()
	l := health.Look{Seq: act.Look}
	var s health.Sighting
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { s, err = j.inst.Look(ctx, j.ref.ID, justDied(j)) })
	wg.Go(func() { l.Actor = h.who(ctx, j) })
	if act.Probe != "" {
		wg.Go(func() { l.Inside = h.a.inside(ctx, j, act.Probe) })
	}
	var kernel kernelSaid
	if j.state.Phase == health.Checking {
		wg.Go(func() { kernel = h.kernel(j) })
	}
	w := h.a.freshWord(ctx, j.inst, j.sight.Links)
	l.Host = &w
	wg.Wait()
	if err != nil {
		l.Err = err.Error()
	} else {
		h.a.doubt(j.inst, &s)
		h.arrived(j, &s)
		l.Sighting = &s
	}
	if h.ctx.Err() == nil {
		h.a.inbox.put(func(t *turn) { t.looked(j.ref, l, kernel) })
	}
}

// justDied gives the init whose death ordered this look, and nothing when the look has another reason: what is asked
// after a start must not be told of the death before it.
func justDied(j job) health.Process {
	if j.state.Phase == health.Checking && j.state.Case != nil && j.state.Case.Sure && j.state.Fresh.Equal(j.at) {
		return j.state.Dead
	}
	return health.Process{}
}

// causeWithin is how long before a failure its cause in the kernel's log may lie: a container that lost a process to the
// lack of memory does not die of it an hour later.
const causeWithin = time.Minute

// kernel is what the kernel said of the container shortly before it failed, in the life that did.
func (h *hands) kernel(j job) kernelSaid {
	init := j.state.Init
	if init.PID == 0 {
		init = j.state.Dead
	}
	if init.Start == 0 || j.state.Case == nil {
		return kernelSaid{}
	}
	own, host := evidence.KernelSaid(init, j.memory, h.a.clock.wall(j.state.Case.Since).Add(-causeWithin))
	return kernelSaid{own, host}
}

// arrived fills in what the kernel knows of a new life, and sees to it that it can be reached: the host's neighbour
// entries of its addresses may name the MAC of the life before.
func (h *hands) arrived(j job, s *health.Sighting) {
	if s.State != health.Running || s.Init.PID == 0 || s.Init.PID == j.before.Init.PID && s.Init.Start == j.before.Init.Start {
		return
	}
	if len(s.Addrs) == 0 {
		if addrs, err := sentinel.Addresses(s.Init); err == nil {
			s.Addrs = addrs
		}
	}
	dropped, err := sentinel.DropStaleNeighbours(s.Init)
	if err != nil {
		h.a.log.Warn("stale neighbour entries of a started container could not be dropped", "container", j.ref.String(), "err", err)
	}
	if len(dropped) > 0 {
		h.a.log.Info("dropped the host's stale neighbour entries of a started container", "container", j.ref.String(), "addresses", dropped)
		init := s.Init
		h.wg.Go(func() {
			if err := sentinel.Announce(init); err != nil {
				h.a.log.Warn("the addresses of a started container could not be announced", "container", j.ref.String(), "err", err)
			}
		})
	}
}

func deed(a *health.Actor) string {
	return fmt.Sprintf("%s by pid %d (uid %d): %s", a.Verb, a.Process.PID, a.UID, strings.Join(a.Argv, " "))
}

// looked takes in the answer to a look.
func (t *turn) looked(ref health.Ref, l health.Look, kernel kernelSaid) {
	g := t.guests[ref]
	if g == nil {
		return
	}
	if len(kernel.own)+len(kernel.host) > 0 {
		g.kernel = kernel
	}
	if l.Actor != nil {
		g.remember(t.clock.wall(t.at), "seen at the container: "+deed(l.Actor))
	}
	s := sensed{sensor: sensorLook, outcome: "no answer", detail: l.Err, record: record{Look: &l}}
	if w := g.state.Looking; w != nil && w.Seq == l.Seq {
		s.Asked = w.Asked
	}
	if l.Sighting == nil {
		g.remember(t.clock.wall(t.at), "the engine did not answer: "+l.Err)
		t.take(g, s, health.Observation{Look: &l})
		return
	}
	if len(l.Sighting.Addrs) == 0 && l.Sighting.State == health.Running {
		l.Sighting.Addrs = g.addrs
	}
	dead := t.hold(g, l.Sighting)
	moved := g.see(*l.Sighting)
	s.outcome, s.detail = string(l.Sighting.State), l.Sighting.Detail
	t.take(g, s, health.Observation{Look: &l})
	if moved {
		t.aim(g)
	}
	if dead != nil {
		t.ended(g, *dead)
	}
}

// lock waits until nothing else is at the container. ok is false when the agent ends first.
func (h *hands) lock(ref health.Ref) (unlock func(), ok bool) {
	h.mu.Lock()
	l := h.locks[ref]
	if l == nil {
		l = make(chan struct{}, 1)
		h.locks[ref] = l
	}
	h.mu.Unlock()
	select {
	case l <- struct{}{}:
	case <-h.ctx.Done():
		return nil, false
	}
	for h.a.o.Busy != nil && h.a.o.Busy(ref.String()) {
		select {
		case <-h.ctx.Done():
			<-l
			return nil, false
		case <-time.After(100 * time.Millisecond):
		}
	}
	return func() { <-l }, true
}

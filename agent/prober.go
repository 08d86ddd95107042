package agent

import (
	"container/heap"
	"context"
	"hash/fnv"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/probes"
)

const (
	// slot is the grain in time of probes: what starts together shares one wake-up of an idle core. Evenly spread, the same
	// probes cost four times the CPU.
	slot = 100 * time.Millisecond
	// perSlot is how many probes a slot holds before another one is used: enough to share the wake-up, few enough not to
	// look like a flood.
	perSlot = 128
)

// A prober runs all probes of all containers, each at its own pace, with one cap for the host.
type prober struct {
	a      *Agent
	wake   chan struct{}
	atOnce int
	wg     sync.WaitGroup

	mu      sync.Mutex
	targets map[health.Ref]*target
	queue   queue
	began   time.Time
	ready   []aimed // due, and not begun
	urgent  []aimed // the same, of those in a hurry
	turns   int     // what was begun: every second one may be of those in no hurry
	workers int
}

// A slot begins with a few workers: those that wait for an answer share the wake-ups that answers bring, and those that need
// not wait, as for a connection within the host, run the slot between them in a burst. When what is due still waits after
// slack, there are twice as many.
const (
	atFirst = 8
	slack   = 5 * time.Millisecond
)

// A target is one running container with its probes.
type target struct {
	ref   health.Ref
	init  health.Process
	guest probes.Guest
	runs  []*run
}

// A run is one probe of one container.
type run struct {
	target *target
	place  int // in the queue; -1: it is not wanted any more
	probe  Probe
	hash   uint32
	due    time.Time
	seq    uint64
	busy   bool
	hurry  time.Duration // how soon again, until it passes; 0: at its own pace
}

func newProber(a *Agent, atOnce int) *prober {
	return &prober{a: a, wake: make(chan struct{}, 1), atOnce: max(1, atOnce), targets: map[health.Ref]*target{}, began: time.Now()}
}

// limit changes how many probes are under way at most. Workers beyond it end with the probe they are at.
func (p *prober) limit(atOnce int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.atOnce = max(1, atOnce)
	p.poke()
}

// aim says what is to be probed of a container: nothing, unless it runs. A life that begins is probed at once, and
// again within milliseconds, until each probe has passed: that is how a recovery is noticed when it happens.
func (t *turn) aim(g *guest) {
	s := &g.state
	if s.RunState != health.Running || s.Phase == health.Off || s.Phase == health.Gone || len(g.setup.Probes) == 0 {
		t.prober.remove(g.ref)
		return
	}
	in, id := g.inst, g.ref.ID
	tg := &target{ref: g.ref, init: s.Init, guest: probes.Guest{Addrs: g.sight.Addrs,
		Exec: func(ctx context.Context, argv []string) (int, []byte, error) {
			limit := probes.MaxTimeout
			if d, ok := ctx.Deadline(); ok {
				limit = time.Until(d)
			}
			tr := in.Exec(ctx, id, argv, limit)
			if tr.Exit < 0 {
				return 0, nil, tr.Err()
			}
			return tr.Exit, append(tr.Stdout, tr.Stderr...), nil
		}}}
	hurry := s.Phase == health.Settling || s.Phase == health.Up && t.at.Sub(s.Life) < slot
	for _, pr := range g.setup.Probes {
		h := fnv.New32a()
		h.Write([]byte(g.ref.String() + "/" + pr.Spec.Name))
		tg.runs = append(tg.runs, &run{probe: pr, hash: h.Sum32(), seq: s.Probes[pr.Spec.Name].Seq})
	}
	t.prober.put(tg, hurry)
}

func (p *prober) put(tg *target, hurry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	old := p.targets[tg.ref]
	p.unqueue(old)
	p.targets[tg.ref] = tg
	for _, r := range tg.runs {
		r.target = tg
		r.due = p.next(r, now)
		if o := old.find(r.probe.Spec.Name); o != nil && old.init == tg.init {
			r.seq, r.hurry = max(r.seq, o.seq), o.hurry
			if o.probe.Every == r.probe.Every {
				r.due = o.due
			}
		}
		if hurry && (old == nil || old.init != tg.init || r.hurry == 0) {
			r.due, r.hurry = now, 20*time.Millisecond
		}
		heap.Push(&p.queue, r)
	}
	p.poke()
}

func (tg *target) find(name string) *run {
	if tg == nil {
		return nil
	}
	for _, r := range tg.runs {
		if r.probe.Spec.Name == name {
			return r
		}
	}
	return nil
}

func (p *prober) remove(ref health.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unqueue(p.targets[ref])
	delete(p.targets, ref)
}

func (p *prober) unqueue(tg *target) {
	if tg == nil {
		return
	}
	for _, r := range tg.runs {
		heap.Remove(&p.queue, r.place)
	}
}

func (p *prober) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// next is the first moment after now at which a probe is due, at an offset hashed from its name. There are no more slots
// in use than fill well.
func (p *prober) next(r *run, now time.Time) time.Time {
	every := r.probe.Every
	n := max(1, min(int64(every/slot), int64(len(p.queue)/perSlot)))
	offset := (time.Duration(int64(r.hash)%n) * every / time.Duration(n)).Truncate(slot)
	at := now.Add(offset - now.Sub(p.began)%every) // by the monotonic clock: a step of the other one moves no probe
	for !at.After(now) {
		at = at.Add(every)
	}
	return at
}

func (p *prober) run(ctx context.Context) {
	defer p.wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.dispatch(ctx, time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// An aimed run is one that starts now.
type aimed struct {
	tg  *target
	r   *run
	seq uint64
}

// dispatch sees to it that what is due is begun, and says for how long nothing else is to be done.
func (p *prober) dispatch(ctx context.Context, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	hurried, until := p.takeDue(now)
	waiting := len(p.ready) + len(p.urgent)
	if waiting == 0 {
		return until
	}
	more := max(atFirst, hurried, p.workers)
	more = max(0, min(more, waiting, p.atOnce-p.workers))
	for range more {
		p.workers++
		p.wg.Go(func() { p.work(ctx) })
	}
	if p.workers < p.atOnce && more < waiting {
		return min(until, slack)
	}
	return until
}

// takeDue makes ready what is due. It gives how many of those are in a hurry, and how long nothing else will be due.
func (p *prober) takeDue(now time.Time) (hurried int, until time.Duration) {
	for len(p.queue) > 0 && !p.queue[0].due.After(now) {
		r := p.queue[0]
		r.due = p.next(r, now)
		heap.Fix(&p.queue, 0)
		if r.busy {
			continue
		}
		r.busy = true
		r.seq++
		d := aimed{r.target, r, r.seq}
		if r.hurry > 0 {
			hurried++
			p.urgent = append(p.urgent, d)
		} else {
			p.ready = append(p.ready, d)
		}
	}
	if len(p.queue) == 0 {
		return hurried, time.Hour
	}
	return hurried, p.queue[0].due.Sub(now)
}

// pick takes what is to be run next: what is in a hurry, but a host full of what will not come back must not keep the others
// from being probed.
func (p *prober) pick() (d aimed, ok bool) {
	from := &p.urgent
	if p.turns++; len(p.urgent) == 0 || len(p.ready) > 0 && p.turns%2 == 0 {
		from = &p.ready
	}
	if len(*from) == 0 {
		return d, false
	}
	d = (*from)[0]
	*from = (*from)[1:]
	return d, true
}

// work runs what is ready, one after the other, until nothing is.
func (p *prober) work(ctx context.Context) {
	for {
		p.mu.Lock()
		var d aimed
		more := p.workers <= p.atOnce && ctx.Err() == nil
		if more {
			d, more = p.pick()
		}
		if !more {
			p.workers--
			last := p.workers == 0
			p.mu.Unlock()
			if last {
				p.a.inbox.hurry()
			}
			return
		}
		p.mu.Unlock()
		p.probe(ctx, d)
	}
}

func (p *prober) probe(ctx context.Context, d aimed) {
	res := probes.Run(ctx, d.r.probe.Spec, d.r.probe.Run, d.tg.guest)
	if w := p.a.o.Watcher; w != nil && res.Outcome == health.Fail && res.Peer.IsValid() {
		if why := w.CutOff(ctx, res.Peer); why != "" { // nothing is known of who may be well
			res.Outcome, res.Detail = health.Unsure, why+": "+res.Detail
		}
	}
	hurried := p.again(d.r, res.Outcome)
	if ctx.Err() != nil {
		return
	}
	sig := health.Signal{Probe: d.r.probe.Spec.Name, Seq: d.seq, Outcome: res.Outcome, Detail: res.Detail, Took: res.Took, Init: d.tg.init}
	e := func(t *turn) { t.probed(d.tg.ref, d.r.probe.Every, sig, res) }
	if hurried || res.Outcome == health.Fail {
		p.a.inbox.put(e)
	} else {
		p.a.inbox.putSoon(e)
	}
}

// again decides when the probe runs next, and reports whether it was in a hurry.
func (p *prober) again(r *run, o health.Outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.busy = false
	hurried := r.hurry > 0
	switch {
	case !hurried:
	case o == health.Pass:
		r.hurry = 0
	default:
		if soon := time.Now().Add(r.hurry); soon.Before(r.due) && r.place >= 0 {
			r.due = soon
			heap.Fix(&p.queue, r.place)
			p.poke()
		}
		r.hurry = r.hurry * 3 / 2
		if r.hurry > r.probe.Every {
			r.hurry = 0
		}
	}
	return hurried
}

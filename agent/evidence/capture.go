package evidence

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"atalaya/agent/hostexec"
)

// A stage is the folder of a bundle in which an item lands.
type stage string

// The stages.
const (
	before stage = "before"
	action stage = "action"
	after  stage = "after"
)

// An entry is one item of a capture and what came of it. It is written once, under the capture's lock.
type entry struct {
	stage    stage
	item     Item
	done     bool
	started  time.Time // zero: not started
	took     time.Duration
	late     bool // the action began before this was in, although it would destroy it
	found    found
	argv     []string // of a transcript that was handed in
	deadline time.Duration
}

// A Capture is the evidence of one part of one incident, from Begin to Seal or Drop. Its methods are safe for concurrent
// use.
type Capture struct {
	r        *Recorder
	q        Request
	began    time.Time
	ctx      context.Context //nolint:containedctx // of the collectors: they outlive the call that started them
	cancel   context.CancelFunc
	volatile <-chan struct{}

	mu       sync.Mutex
	entries  []*entry
	excess   []string  // items beyond MaxItems
	held     bool      // Volatile was called
	released time.Time // when it let the action go
	closed   bool      // nothing more is taken
	over     bool      // sealed or dropped
	rounds   []*round
}

// A round is the items that were started together.
type round struct {
	volatile chan struct{} // closed when the volatile ones are in
	all      chan struct{} // closed when all are in
}

// start takes items, the volatile ones first and else in their order, each within its own limit and that of the round.
func (c *Capture) start(s stage, items []Item, limit time.Duration) *round {
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b Item) int { return order(a) - order(b) })
	rd := &round{volatile: make(chan struct{}), all: make(chan struct{})}
	c.mu.Lock()
	if len(items) > MaxItems {
		c.excess = append(c.excess, fmt.Sprintf("%s/: %d of %d items were not taken: a round takes %d",
			s, len(items)-MaxItems, len(items), MaxItems))
		items = items[:MaxItems]
	}
	var mine []*entry
	if !c.closed {
		for _, i := range items {
			e := &entry{stage: s, item: i, deadline: i.timeout()}
			if limit > 0 {
				e.deadline = min(e.deadline, limit)
			}
			mine = append(mine, e)
		}
		c.entries = append(c.entries, mine...)
		c.rounds = append(c.rounds, rd)
	}
	c.mu.Unlock()
	go c.drive(rd, mine, limit)
	return rd
}

func order(i Item) int {
	if i.Volatile {
		return 0
	}
	return 1
}

// drive starts the entries as slots get free, and closes the round's channels.
func (c *Capture) drive(rd *round, mine []*entry, limit time.Duration) {
	defer close(rd.all)
	ctx := c.ctx
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	var volatile, rest sync.WaitGroup
	n := slices.IndexFunc(mine, func(e *entry) bool { return !e.item.Volatile })
	if n < 0 {
		n = len(mine)
	}
	c.run(ctx, mine[:n], &volatile)
	var told sync.WaitGroup
	told.Go(func() {
		volatile.Wait()
		close(rd.volatile)
	})
	c.run(ctx, mine[n:], &rest)
	told.Wait()
	rest.Wait()
}

func (c *Capture) run(ctx context.Context, entries []*entry, wg *sync.WaitGroup) {
	for _, e := range entries {
		release, err := c.r.slot(ctx)
		if err != nil {
			c.finish(e, time.Time{}, found{err: fmt.Errorf("not started: %w", err)})
			continue
		}
		wg.Go(func() {
			defer release()
			started := time.Now()
			c.finish(e, started, c.r.collect(ctx, e.item, e.deadline))
		})
	}
}

// finish notes what came of e. After Seal or Drop it is too late, and nothing is changed any more.
func (c *Capture) finish(e *entry, started time.Time, f found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	e.done, e.started, e.found = true, started, f
	if !started.IsZero() {
		e.took = time.Since(started)
	}
	e.late = e.item.Volatile && e.stage == before && !c.released.IsZero()
}

// Volatile returns when everything that the action would destroy is in, when the budget before the action is over
// (counted from Begin), or when ctx ends, whichever is first. What is still under way goes on beside the action. An action
// of several commands asks before each: only the first waits, because from then on what would be destroyed is.
func (c *Capture) Volatile(ctx context.Context) {
	c.mu.Lock()
	again := c.held
	c.held = true
	c.mu.Unlock()
	if again {
		return
	}
	asked := time.Now()
	t := time.NewTimer(time.Until(c.began.Add(c.r.tuning.Load().Budget.Before)))
	defer t.Stop()
	select {
	case <-c.volatile:
	case <-t.C:
	case <-ctx.Done():
	}
	now := time.Now()
	c.mu.Lock()
	c.released = now
	c.mu.Unlock()
	c.r.metrics.held.Observe(now.Sub(asked).Seconds())
}

// Add keeps something that is at hand, and what it shows in one line: a log, a timeline, an alert.
func (c *Capture) Add(name, shows string, data []byte) {
	i := Item{Name: name, Shows: shows}
	c.keep(&entry{item: i, started: time.Now(), found: bounded(bytes.Clone(data), int64(len(data)), i)})
}

// AddTranscript keeps what a command of the action said, with its argv, exit code and times for the manifest.
func (c *Capture) AddTranscript(name string, t hostexec.Transcript) {
	i := Item{Name: name}
	c.keep(&entry{item: i, argv: t.Argv, started: t.Started, took: t.Took, found: fromTranscript(t, i)})
}

func (c *Capture) keep(e *entry) {
	e.stage, e.done = action, true
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.entries = append(c.entries, e)
	}
}

// After takes the second round and returns when it is in, at the latest when the budget after the action is over and the
// commands of it have been ended.
func (c *Capture) After(items []Item) {
	<-c.start(after, items, c.r.tuning.Load().Budget.After).all
}

// Drop ends the capture and keeps nothing: the case came to nothing. After Seal it does nothing.
func (c *Capture) Drop() {
	c.mu.Lock()
	c.closed, c.over, c.entries = true, true, nil
	c.mu.Unlock()
	c.cancel()
}

// settle waits until every round is in, or ctx ends, and closes the capture: what comes later is not taken any more.
func (c *Capture) settle(ctx context.Context) ([]*entry, []string, error) {
	c.mu.Lock()
	rounds := slices.Clone(c.rounds)
	c.mu.Unlock()
	for _, rd := range rounds {
		select {
		case <-rd.all:
		case <-ctx.Done():
		}
	}
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.over {
		return nil, nil, fmt.Errorf("seal the evidence of incident %q: it was sealed or dropped before", c.q.Incident)
	}
	return c.entries, c.excess, nil
}

// end lets go of what was taken, once it is sealed.
func (c *Capture) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.entries = true, nil
}

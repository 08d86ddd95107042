package notify

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// DispatcherOptions say what is dispatched, where to, and for how long.
type DispatcherOptions struct {
	Store      *store.Store
	Channels   []Channel
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	GiveUp     time.Duration         // a message that failed for so long is a dead letter; 0: 72 h
	Now        func() time.Time      // nil: time.Now
}

const (
	perChannel = 4               // messages under way to one channel
	idle       = time.Minute     // look at least so often: the wall clock may have been set
	troubled   = 5 * time.Second // when the store fails
	unknown    = 5 * time.Minute // when a channel is not configured (any more)
	grace      = 3 * time.Second // for what is under way when we stop
	recordIn   = 5 * time.Second // for the store to take an outcome
	lateAfter  = time.Minute     // less is not worth a word
)

// A Dispatcher delivers the outbox of a store. Within an incident and channel the order holds: while the first message
// fails, those behind it wait, and nothing else does.
type Dispatcher struct {
	o    DispatcherOptions
	log  *slog.Logger
	m    *metrics
	kick chan struct{} // buffered 1

	mu       sync.Mutex
	channels map[string]Channel
	backlogs []store.Backlog // as they were last read
}

// NewDispatcher makes a dispatcher; Run starts it.
func NewDispatcher(o DispatcherOptions) *Dispatcher {
	if o.GiveUp <= 0 {
		o.GiveUp = 72 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{o: o, log: o.Log, m: newMetrics(o.Registerer), kick: make(chan struct{}, 1)}
	d.Swap(o.Channels)
	return d
}

// Kick says that something was queued or sealed. It never waits.
func (d *Dispatcher) Kick() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Swap replaces the channels, as after a reload. What is under way ends on the old ones.
func (d *Dispatcher) Swap(channels []Channel) {
	next := make(map[string]Channel, len(channels))
	for _, c := range channels {
		next[c.Name()] = c
		d.m.known(c.Name())
	}
	d.mu.Lock()
	d.channels = next
	d.mu.Unlock()
	d.Kick()
}

func (d *Dispatcher) channel(name string) Channel {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channels[name]
}

func (d *Dispatcher) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.channels))
}

// Channels tells what each channel, and each that is no longer configured, has not delivered, as far as the outbox could be
// read last. It never waits for the store.
func (d *Dispatcher) Channels() []health.ChannelView {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]health.ChannelView{}
	for name := range d.channels {
		all[name] = health.ChannelView{Name: name}
	}
	for _, b := range d.backlogs {
		all[b.Channel] = b.View()
	}
	var out []health.ChannelView
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}

// Run delivers until ctx ends. Then it starts nothing new, gives what is under way 3 s, cancels the rest, and returns when
// all have returned. What was cancelled, or taken by the receiver but not recorded, is sent again by the next Run, with
// the same key. It returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	sends, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	f := &flight{d: d, ctx: sends, flying: map[int64]string{}, busy: map[string]int{}, results: make(chan result), unrecorded: map[int64]outcome{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.kick:
		case <-timer.C:
		case r := <-f.results:
			f.land(r)
		}
		if ctx.Err() == nil {
			timer.Reset(f.sweep(ctx))
		}
	}
	f.end(cancel)
	return nil
}

// A flight is what one Run has under way. Only Run's goroutine touches it, but for results.
type flight struct {
	d          *Dispatcher
	ctx        context.Context
	flying     map[int64]string  // delivery -> channel
	busy       map[string]int    // by channel
	unrecorded map[int64]outcome // known to us, not to the store
	results    chan result
	troubled   bool
}

// A result is what came of one delivery; recorded: the store knows.
type result struct {
	delivery store.Delivery
	outcome  outcome
	recorded bool
}

// sweep starts what is due and has room, and gives when to look again at the latest.
func (f *flight) sweep(ctx context.Context) time.Duration {
	now := f.d.o.Now()
	due, err := f.d.o.Store.Due(ctx, now, 4*perChannel)
	if err != nil {
		return f.trouble(ctx, err)
	}
	for _, x := range due {
		if f.mayStart(x, now) {
			f.start(x)
		}
	}
	next, err := f.d.o.Store.NextDue(ctx, now)
	if err != nil {
		return f.trouble(ctx, err)
	}
	backlogs, err := f.d.o.Store.Backlogs(ctx)
	if err != nil {
		return f.trouble(ctx, err)
	}
	f.d.mu.Lock()
	f.d.backlogs = backlogs
	f.d.mu.Unlock()
	f.d.m.backlog(backlogs, f.d.names())
	if f.troubled {
		f.troubled = false
		f.d.log.Info("notify: the outbox can be read again")
	}
	wait := idle
	if !next.IsZero() {
		wait = min(max(next.Sub(now), time.Millisecond), idle)
	}
	if len(f.unrecorded) > 0 {
		wait = min(wait, troubled)
	}
	return wait
}

func (f *flight) mayStart(x store.Delivery, now time.Time) bool {
	if _, flying := f.flying[x.ID]; flying || f.busy[x.Channel] >= perChannel {
		return false
	}
	o, known := f.unrecorded[x.ID]
	return !known || now.Sub(o.tried) >= troubled || now.Before(o.tried)
}

func (f *flight) trouble(ctx context.Context, err error) time.Duration {
	if !f.troubled && ctx.Err() == nil {
		f.troubled = true
		f.d.log.Error("notify: the outbox cannot be read: nothing is sent until it can", "err", err)
	}
	return troubled
}

func (f *flight) start(x store.Delivery) {
	f.flying[x.ID] = x.Channel
	f.busy[x.Channel]++
	known, done := f.unrecorded[x.ID]
	go func() { // waited for by its result
		o := known
		if !done {
			o = f.d.send(f.ctx, x)
		}
		f.results <- result{x, o, f.d.record(f.ctx, x, o)}
	}()
}

func (f *flight) land(r result) {
	id := r.delivery.ID
	f.busy[f.flying[id]]--
	delete(f.flying, id)
	delete(f.unrecorded, id)
	if !r.recorded {
		r.outcome.tried = f.d.o.Now()
		f.unrecorded[id] = r.outcome // the store is told again before the receiver is
	}
}

// end waits for what is under way, first kindly.
func (f *flight) end(cancel context.CancelFunc) {
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for len(f.flying) > 0 {
		select {
		case r := <-f.results:
			f.land(r)
		case <-limit.C:
			cancel()
		}
	}
}

// maxOthers is of how many of its containers an event of the host has the evidence with it; the rest is named.
const maxOthers = 2

// send makes one try.
func (d *Dispatcher) send(ctx context.Context, x store.Delivery) outcome {
	now := d.o.Now()
	c := d.channel(x.Channel)
	if c == nil {
		return d.judge(x, now, fmt.Errorf("channel %q is not configured", x.Channel), unknown)
	}
	m := Message{Alert: x.Alert, Key: x.Key, Tries: x.Tries}
	if late := now.Sub(x.Queued); late >= lateAfter {
		m.Late = late
	}
	for n, incident := range append([]string{x.Alert.Incident}, x.Alert.Incidents...) {
		if incident == "" || n > maxOthers {
			continue
		}
		all, err := d.o.Store.Bundles(ctx, incident)
		if err != nil {
			d.log.Warn("notify: an alert goes out without its evidence", "channel", x.Channel, "incident", incident, "err", err)
		}
		m.Bundles = append(m.Bundles, all...)
	}
	began := time.Now()
	r, err := guarded(ctx, c, m)
	o := outcome{kind: cancelled}
	switch {
	case err == nil:
		o = outcome{kind: sent, at: d.o.Now(), words: r.Status + ", " + r.Remote}
	case ctx.Err() == nil:
		o = d.judge(x, d.o.Now(), err, backoff(x.Tries+1, rand.Float64())) //nolint:gosec // jitter needs no secrecy
	}
	if o.kind != cancelled {
		d.m.tried(x.Channel, string(o.kind), time.Since(began))
	}
	return o
}

// guarded keeps a fault in one channel from ending the agent.
func guarded(ctx context.Context, c Channel, m Message) (r Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("channel %q panicked, which is a fault in atalaya: %v", c.Name(), p)
		}
	}()
	return c.Send(ctx, m)
}

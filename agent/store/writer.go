package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	retryEvery = 5 * time.Second        // what is owed is tried again so often even if nobody commits
	stallAfter = 500 * time.Millisecond // an operation older than this counts as stuck: nobody else waits behind it
	maxOwed    = 256                    // more batches than this are merged into one
)

// A call is a write other than a batch: it is tried once and belongs to its caller.
type call struct {
	f    func(*sql.Tx) error
	done chan error // buffered
}

// A writer is the one goroutine that writes, with its queue. The queue of batches is at the same time what is owed: a
// batch leaves it only when it is durable, or refused.
type writer struct {
	log  *slog.Logger
	m    *metrics
	exec func(f func(*database) error) error // runs f on the current database; see Store.exec
	rest func()                              // called now and then while all is well

	mu      sync.Mutex
	serial  int64
	owed    []*batch
	calls   []*call
	since   time.Time // when the operation under way began; zero: none
	failing error     // why the head of owed is still there
	closed  bool

	wake chan struct{} // buffered 1
	done chan struct{} // closed when run has returned
}

// run writes until the writer is closed, then once more, so that nothing that can be written is left.
func (w *writer) run() {
	defer close(w.done)
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-w.wake:
		case <-retry.C:
			if w.err() == nil {
				w.rest()
				continue
			}
		}
		w.round()
		if w.isClosed() {
			return
		}
	}
}

// round writes batches until one fails, and all calls.
func (w *writer) round() {
	for failed := false; ; {
		b, c := w.next(failed)
		switch {
		case b != nil:
			began := time.Now()
			err := w.exec(func(d *database) error { return d.apply(b) })
			w.m.observe(time.Since(began), err)
			failed = w.settle(b, err)
		case c != nil:
			c.done <- w.exec(func(d *database) error { return d.tx(c.f) })
			w.idle()
		default:
			return
		}
	}
}

func (w *writer) next(failed bool) (*batch, *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	if len(w.owed) > 0 && !failed {
		return w.owed[0], nil
	}
	if len(w.calls) > 0 {
		c := w.calls[0]
		w.calls = w.calls[1:]
		return nil, c
	}
	w.since = time.Time{}
	return nil, nil
}

func (w *writer) idle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
}

// settle takes note of what became of the head of owed. It says whether the rest must wait for the next round.
func (w *writer) settle(b *batch, err error) (failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
	switch {
	case err == nil:
		if w.failing != nil {
			w.log.Info("store: the disk answers again", "owed", len(w.owed)-1)
		}
		w.failing = nil
		w.pop(b, nil)
		return false
	case classify(err) == faultOurs:
		w.log.Error("store: a batch is refused and dropped", "serial", b.serial, "ops", len(b.ops), "err", err)
		w.pop(b, fmt.Errorf("commit: %w: %w", ErrRefused, err))
		return false
	}
	err = explain("commit", err)
	if w.failing == nil {
		w.log.Error("store: a commit failed: what follows is kept in memory until the disk takes it", "err", err)
	}
	w.failing = err
	for _, o := range w.owed {
		o.tell(err)
	}
	return true
}

func (w *writer) pop(b *batch, err error) {
	w.owed[0] = nil
	w.owed = w.owed[1:]
	w.m.owed.Set(float64(len(w.owed)))
	b.tell(err)
}

func (b *batch) tell(err error) {
	for _, c := range b.waiters {
		select {
		case c <- err:
		default: // its caller has had a word already
		}
	}
}

// take queues a batch and gives where the first word about it will be heard. No channel: the operation under way is so
// late that waiting behind it makes no sense.
func (w *writer) take(b *batch) (<-chan error, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	var word chan error
	if !w.stuckNow() {
		word = make(chan error, 1)
		b.waiters = append(b.waiters, word)
	}
	w.serial++
	b.serial = w.serial
	w.owed = append(w.owed, b)
	if len(w.owed) > maxOwed {
		// The head stays alone: it may have been tried, and what was tried must keep its serial number.
		w.owed = []*batch{w.owed[0], merge(w.owed[1:])}
		w.log.Warn("store: what is owed was merged", "ops", len(w.owed[1].ops))
	}
	w.m.owed.Set(float64(len(w.owed)))
	w.kick()
	return word, nil
}

func (w *writer) stuckNow() bool { return !w.since.IsZero() && time.Since(w.since) > stallAfter }

func (w *writer) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// post queues f without waiting for it.
func (w *writer) post(f func(*sql.Tx) error) *call {
	c := &call{f: f, done: make(chan error, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		c.done <- ErrClosed
		return c
	}
	w.calls = append(w.calls, c)
	w.kick()
	return c
}

// do has f run in a transaction. When ctx ends first, f is withdrawn if it has not begun; if it has, whether it took
// effect is not known.
func (w *writer) do(ctx context.Context, what string, f func(*sql.Tx) error) error {
	c := w.post(f)
	select {
	case err := <-c.done:
		if err != nil {
			return explain(what, err)
		}
		return nil
	case <-ctx.Done():
		w.withdraw(c)
		return stalled(ctx, what)
	}
}

func (w *writer) withdraw(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range w.calls {
		if o == c {
			w.calls = append(w.calls[:i:i], w.calls[i+1:]...)
			return
		}
	}
}

func (w *writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing == nil && w.stuckNow() {
		return fmt.Errorf("%w for %s, %d batches are owed", ErrStalled, time.Since(w.since).Round(time.Second), len(w.owed))
	}
	return w.failing
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// close lets the goroutine end after a last round; nothing is taken from now on.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.kick()
}

package agent

import (
	"sync"
	"time"
)

// soon is how long an event that changes little may wait for others: each wake-up of the loop costs more than the event.
const soon = 50 * time.Millisecond

// An inbox collects events from anywhere for the one goroutine that drains it. It never blocks and has no bound of its
// own: each sensor has at most a few events under way.
type inbox struct {
	ready chan struct{}

	mu     sync.Mutex
	events []func(*turn)
	later  *time.Timer // wakes the loop for what may wait; nil when nothing does
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

// put adds an event and wakes the loop.
func (b *inbox) put(e func(*turn)) {
	b.mu.Lock()
	b.events = append(b.events, e)
	b.mu.Unlock()
	b.wake()
}

// putSoon adds an event that the loop may read up to 50 ms later, or at hurry.
func (b *inbox) putSoon(e func(*turn)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	if b.later == nil {
		b.later = time.AfterFunc(soon, b.wake)
	}
}

// hurry says that nothing more will come soon: what waits for company need wait no longer. The loop then runs while this
// process is awake anyway, rather than wake it once more.
func (b *inbox) hurry() {
	b.mu.Lock()
	waits := b.later != nil
	b.mu.Unlock()
	if waits {
		b.wake()
	}
}

func (b *inbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *inbox) drain() []func(*turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.events
	b.events = nil
	if b.later != nil {
		b.later.Stop()
		b.later = nil
	}
	return out
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events)
}

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
	armed  bool
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

// put adds an event and wakes the loop.
func (b *inbox) put(e func(*turn)) {
	b.mu.Lock()
	b.events = append(b.events, e)
	b.mu.Unlock()
	b.wake()
}

// putSoon adds an event that the loop may read up to 50 ms later.
func (b *inbox) putSoon(e func(*turn)) {
	b.mu.Lock()
	b.events = append(b.events, e)
	arm := !b.armed
	b.armed = true
	b.mu.Unlock()
	if arm {
		time.AfterFunc(soon, b.wake)
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
	b.events, b.armed = nil, false
	return out
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events)
}

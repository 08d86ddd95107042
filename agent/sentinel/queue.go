package sentinel

import (
	"context"
	"sync"
)

// queue carries deaths from a sensor, which must never wait, to a reader who may be slow. Its length is bounded by the
// number of watches: each reports once. An event is never lost and never overtaken.
type queue struct {
	out  chan Event
	kick chan struct{}

	mu      sync.Mutex
	waiting []Event // the first one stays here until the reader has it, so that push cannot overtake it
}

func newQueue() *queue { return &queue{out: make(chan Event, 16), kick: make(chan struct{}, 1)} }

// push hands e over at once where the reader has room, and otherwise keeps it.
func (q *queue) push(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		select {
		case q.out <- e:
			return
		default:
		}
	}
	q.waiting = append(q.waiting, e)
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// run delivers what is kept, until ctx ends.
func (q *queue) run(ctx context.Context) {
	for {
		e, ok := q.first()
		if !ok {
			select {
			case <-q.kick:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case q.out <- e:
			q.drop()
		case <-ctx.Done():
			return
		}
	}
}

func (q *queue) first() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return Event{}, false
	}
	return q.waiting[0], true
}

func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[0] = Event{}
	q.waiting = q.waiting[1:]
}

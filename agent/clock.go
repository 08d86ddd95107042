package agent

import "time"

// A clock gives the time by which is decided. It begins no earlier than the newest time that was stored, and runs
// monotonically from there, so that no step of the host's clock moves budgets, backoffs or holds.
type clock struct {
	base  time.Time
	start time.Time // carries the monotonic reading
}

func newClock(stored time.Time) clock {
	c := clock{start: time.Now()}
	c.base = c.start.Round(0)
	if stored.After(c.base) {
		c.base = stored.Round(0)
	}
	return c
}

func (c clock) now() time.Time { return c.base.Add(time.Since(c.start)) }

// wall tells what the host's clock shows, or showed, at t: for people.
func (c clock) wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	n := time.Now()
	return n.Round(0).Add(t.Sub(c.base.Add(n.Sub(c.start))))
}

// at translates a moment that was read with time.Now.
func (c clock) at(t time.Time) time.Time { return c.base.Add(t.Sub(c.start)) }

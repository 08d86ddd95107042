package schedule

import (
	"errors"
	"fmt"
	"time"
)

// A Window is a time in which nobody shall be surprised by work on containers: it opens by the clock and closes by itself.
type Window struct {
	Name string
	Spec Spec          // when it opens
	For  time.Duration // how long it stays open, in time that passes: 3h are 3h also when the clocks change
}

// overlaps bounds how many openings of one window may lie in one another.
const overlaps = 10_000

// NewWindow checks that a window can open and close.
func NewWindow(name string, spec Spec, length time.Duration) (Window, error) {
	w := Window{Name: name, Spec: spec, For: length}
	if !spec.Clock() {
		return w, errors.New("a window opens by the clock: give minute hour day-of-month month day-of-week, or @daily")
	}
	at := spec.Next(time.Now())
	for n := 0; n < 60 && !at.IsZero(); n++ {
		next := spec.Next(at)
		if next.IsZero() || next.Sub(at) > length {
			return w, nil
		}
		at = next
	}
	if at.IsZero() {
		return w, nil
	}
	return w, fmt.Errorf("it would never close: it lasts %s, and opens anew before that is over", length)
}

// Open tells until when the window is open at t; zero: it is closed. Where it opens anew while it is open, it stays open.
func (w Window) Open(t time.Time) time.Time {
	start := w.Spec.Next(t.Add(-w.For))
	if start.IsZero() || start.After(t) {
		return time.Time{}
	}
	for range overlaps {
		next := w.Spec.Next(start)
		if next.IsZero() || next.After(start.Add(w.For)) {
			break
		}
		start = next
	}
	return start.Add(w.For)
}

// Next is when the window opens next after t; zero: never.
func (w Window) Next(t time.Time) time.Time { return w.Spec.Next(t) }

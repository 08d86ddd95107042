package health

import (
	"math"
	"testing"
	"time"
)

// The percentages are those of Nagios: nagioscore, t/test_checks.c and base/flapping.c give 20 changes of 20 as 100, and
// weigh the newest 1.25, the oldest 0.75.
func TestFlapPercent(t *testing.T) {
	at := epoch
	var f Flap
	if f.Percent() != 0 {
		t.Error("steady", f.Percent())
	}
	for i := range flapStates {
		f.push(i%2 == 0, at)
	}
	if p := f.Percent(); math.Abs(p-100) > 1e-9 || f.Changes() != 20 {
		t.Errorf("each differs from the one before: %v, %d changes", p, f.Changes())
	}
	newest, oldest := Flap{}, Flap{}
	newest.push(true, at)
	for i := range flapStates {
		oldest.push(i > 0, at)
	}
	if math.Abs(newest.Percent()-6.25) > 1e-9 || math.Abs(oldest.Percent()-3.75) > 1e-9 {
		t.Errorf("newest %v, oldest %v", newest.Percent(), oldest.Percent())
	}
}

// What time alone makes of it does not depend on how often Step is called meanwhile.
func TestFlapIsTheSameHoweverOftenItIsStepped(t *testing.T) {
	run := func(every time.Duration) Flap {
		m := machine{p: DefaultPolicy(), at: epoch}
		m.s.Clear, m.s.Phase = epoch, Up
		m.flap()
		m.s.Incident, m.s.Phase = &Incident{}, Exhausted
		m.flap()
		m.s.Incident, m.s.Phase = nil, Up
		m.flap()
		for m.at.Before(epoch.Add(10 * time.Minute)) {
			m.at = m.at.Add(every)
			m.flap()
		}
		return m.s.Flap
	}
	if a, b := run(time.Second), run(5*time.Minute); a.Was != b.Was || a.Was == 0 {
		t.Errorf("%b and %b", a.Was, b.Was)
	}
}

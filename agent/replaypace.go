package agent

import (
	"strings"
	"time"

	"atalaya/agent/health"
)

// idle reports whether nothing is going on, so that more of the same changes nothing.
func (w *world) idle(g *guest) bool {
	s := &g.state
	if !g.born || w.mode != asRecorded || s.Case != nil || s.Looking != nil {
		return false
	}
	switch s.Phase {
	case health.Up:
		return s.RunState == health.Running && health.FailingSince(*s).IsZero()
	case health.Off, health.New:
		return s.RunState == health.Stopped && s.Actor == nil
	}
	return false
}

// leaps reports whether more of the same as this fact can be passed over.
func (w *world) leaps(g *guest, f *fact) bool {
	if g == nil {
		return true
	}
	if !f.reel.still || !w.idle(g) {
		return false
	}
	if name, ok := strings.CutPrefix(f.sensor, sensorProbe); ok {
		return f.outcome != string(health.Fail) || !g.state.Probes[name].Ever
	}
	return f.Sight != nil
}

// pace has the tape pass over what can change nothing, and come back when it can.
func (r *replay) pace(t *turn, facts []*fact) {
	for _, f := range facts {
		if f.reel.Period > 0 && r.world(f.ref).leaps(t.guests[f.ref], f) {
			r.tape.leap(f.reel)
		}
	}
	after := 0
	if len(facts) > 0 {
		after = (facts[0].order/perTurn + 1) * perTurn
	}
	for g := range t.dirty {
		r.wake(g, t.at, after)
	}
	for _, f := range facts {
		if g := t.guests[f.ref]; g != nil && len(f.deeds) > 0 {
			r.wake(g, t.at, after)
		}
	}
}

func (r *replay) wake(g *guest, at time.Time, order int) {
	if r.world(g.ref).idle(g) {
		return
	}
	for _, reel := range r.tape.of[g.ref] {
		r.tape.back(reel, at, order)
	}
}

package agent

import (
	"time"

	"atalaya/agent/health"
)

// ordered answers what the core ordered here: by the record where that has the same, else by what is assumed.
func (w *world) ordered(t *turn, g *guest, act health.Action) {
	switch act.Kind {
	case health.DoLook:
		if w.mode == asRecorded && w.facts != nil {
			if l := w.facts.look(t.at); l != nil {
				l.seq = act.Look
				return
			}
		}
		w.r.later.add(t.at.Add(aLookTakes), func(t *turn) { w.answer(t, act) })
	case health.DoJob:
		if w.facts == nil || !w.facts.jobs[act.Case] {
			w.r.out.assume("a scheduled job that was not done then, or at another time, ends well after a minute", w.ref)
			w.r.later.add(t.at.Add(time.Minute), func(t *turn) {
				if g := t.guests[w.ref]; g != nil {
					t.step(g, health.Observation{Ended: &health.JobDone{ID: act.Case}})
				}
			})
		}
	case health.DoStart, health.DoRestart:
		if w.mode == asRecorded && w.facts != nil {
			if tr := w.facts.try(t.at, act.Kind); tr != nil {
				tr.made = act.Attempt
				return
			}
			if tr := w.facts.under(t.at.Add(alike)); tr != nil && tr.made == act.Attempt && tr.ordered(t.at) {
				return
			}
		}
		w.assume(t, g, act)
	}
}

// ordered reports whether an attempt had an order at about that time.
func (t *tried) ordered(at time.Time) bool {
	for _, o := range t.orders {
		if o.Sub(at).Abs() <= alike {
			return true
		}
	}
	return false
}

// now is what its engine would say.
func (w *world) now(g *guest) (health.Sighting, bool) {
	s := w.ours
	if w.mode == asRecorded {
		if s = w.sight; s.State == "" {
			s = g.sight
		}
	}
	s.At = time.Time{}
	return s, s.State != ""
}

// answer is the answer to a look that is not recorded: what is known from the latest list.
func (w *world) answer(t *turn, act health.Action) {
	g := t.guests[w.ref]
	if g == nil || g.state.Looking == nil || g.state.Looking.Seq != act.Look {
		return
	}
	l := health.Look{Seq: act.Look}
	if s, ok := w.now(g); ok {
		l.Sighting = &s
		g.see(s)
	} else {
		l.Err = "nothing is recorded of it"
	}
	if c := g.state.Case; c != nil && !w.looked.Before(c.Since.Add(-alike)) {
		l.Actor = w.actor
		if act.Probe != "" {
			l.Inside = w.inside
		}
	}
	w.r.out.looks++
	t.step(g, health.Observation{Look: &l})
}

// assume answers an attempt that is not recorded. It goes as the next one that was made then, before it was well; where none
// was, it helps.
func (w *world) assume(t *turn, g *guest, act health.Action) {
	verb := health.VerbStart
	if act.Kind == health.DoRestart {
		verb = health.VerbRestart
	}
	done, took, runs, helps, lag := health.Done{Attempt: act.Attempt, Verb: verb}, anAttemptTakes, true, true, time.Duration(0)
	var like *tried
	if w.facts != nil {
		if like = w.facts.next(t.at); like == nil {
			like = w.facts.under(t.at)
		}
	}
	why := "an attempt that was not made then helps at once, after a second"
	if like != nil {
		why = "an attempt that was not made then goes as the nearest one of then"
		runs, helps = like.runs, !like.well.IsZero()
		done.Err, done.Cause = like.done.Err, like.done.Cause
		if like.answers > 0 {
			took = like.took
		}
		if helps {
			done.Err, done.Cause = "", ""
			lag = max(0, like.well.Sub(like.at.Add(like.took)))
		}
	}
	w.r.out.assume(why, w.ref)
	if w.mode == asRecorded {
		w.stay(g, t.at)
	}
	w.r.later.add(t.at.Add(took), func(t *turn) { w.done(t, done, runs, helps, lag) })
}

// done is the outcome of such an attempt.
func (w *world) done(t *turn, d health.Done, runs, helps bool, lag time.Duration) {
	g := t.guests[w.ref]
	if g == nil {
		return
	}
	recorded := health.Phase("")
	if w.facts != nil {
		recorded, w.until = w.facts.phase(t.at), w.facts.again(t.at, w.sick())
	}
	switch {
	case helps && recorded == health.Up && w.sight.State == health.Running && !w.until.at.After(t.at):
		w.mode = asRecorded
	case helps:
		w.mode = better
		w.runs()
	case runs:
		w.runs()
	default:
		w.ours.State, w.ours.Init = health.Stopped, health.Process{}
	}
	t.survey.End(w.ref)
	t.answered(g, d)
	if helps {
		w.r.later.add(t.at.Add(2*aLookTakes+lag), w.passes)
	}
}

// sick reports whether a probe that is recorded fails.
func (w *world) sick() bool {
	for _, s := range w.last {
		if s.outcome == health.Fail {
			return true
		}
	}
	return false
}

// runs gives it a new life.
func (w *world) runs() {
	w.ghosts++
	w.ours.State, w.ours.Init, w.ours.Detail = health.Running, health.Process{}, ""
	if w.sight.Init.PID != 0 || w.ghosts > 0 {
		w.ours.Init = health.Process{PID: 1<<22 + w.ghosts, Start: uint64(w.ghosts)} // beyond what the kernel gives
	}
}

// passes has all probes that ever passed do so.
func (w *world) passes(t *turn) {
	g := t.guests[w.ref]
	if g == nil || g.state.RunState != health.Running {
		return
	}
	for name, ps := range g.state.Probes {
		if ps.Ever {
			t.step(g, health.Observation{Signal: &health.Signal{Probe: name, Seq: g.state.Probes[name].Seq + 1, Outcome: health.Pass}})
		}
	}
}

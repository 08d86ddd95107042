package agent

import (
	"maps"
	"strings"
	"time"

	"atalaya/agent/health"
)

// A world is one container as a replay finds it: as recorded for as long as the replay does what was done then, and else as
// it is assumed to be.
type world struct {
	r     *replay
	ref   health.Ref
	facts *history // nil: nothing was asked or tried

	sight  health.Sighting      // what its engine said last, recorded
	last   map[string]said      // what each probe said last, recorded
	asked  map[string]time.Time // when each probe was heard here last
	inside health.Outcome       // what a probe said from inside, at the latest look
	actor  *health.Actor        // who was seen at it then
	looked time.Time            // when that was
	boot   string

	mode   mode
	ours   health.Sighting // in other modes than as recorded: what its engine would say
	probes map[string]said // kept: what its probes would say
	since  time.Time       // of the mode
	until  phased          // better: it was well then by itself, or by what was done then
	life   health.Process  // kept: the life that an attempt of then began
	ghosts int             // lives that are not recorded
}

type said struct {
	outcome health.Outcome
	detail  string
}

// mode is how a world stands to the record.
type mode int

const (
	asRecorded mode = iota
	kept            // what was mended then is not: it stays as it was, for nothing was done
	better          // it is well already: something was done that was not, or later
)

// alookTakes is how long a look takes of which nothing is recorded.
const aLookTakes = 20 * time.Millisecond

// anAttemptTakes is how long an attempt takes when none was recorded that would say so.
const anAttemptTakes = time.Second

// tell has one recorded observation of this container be stepped, as far as it holds.
func (w *world) tell(t *turn, f *fact) {
	g := t.guests[w.ref]
	if f.sensor == sensorBirth {
		w.born(t, g, f)
		return
	}
	w.keepInMind(f)
	if g == nil || !g.born && f.record.Order == nil || !f.exact && dozes(g, f.at) {
		return
	}
	switch {
	case f.sensor == sensorTime:
		t.step(g, health.Observation{})
	case f.Host != nil:
		own := *f.Host
		g.word = &own
		t.openWindows() // it may be why the host spoke
		word := t.wordOf(g)
		t.step(g, health.Observation{Host: &word})
	case f.record.Order != nil:
		t.obey(g, *f.record.Order)
	case f.Job != nil:
		t.step(g, health.Observation{Job: f.Job})
	case f.Ended != nil:
		t.step(g, health.Observation{Ended: f.Ended})
	case f.Backup != nil:
		t.step(g, health.Observation{Backup: f.Backup})
	case f.Sight != nil:
		w.listed(t, g, f)
	case f.Death != nil:
		if w.holds(t, g, f) {
			t.step(g, health.Observation{Death: f.Death})
		}
	case f.Done != nil:
		w.answered(t, g, f)
	case f.Look != nil:
		w.looks(t, g, f)
	case strings.HasPrefix(f.sensor, sensorProbe):
		w.probed(t, g, f)
	}
}

// dozes reports whether a container is to be woken at this moment: when it was is recorded.
func dozes(g *guest, at time.Time) bool {
	w := g.state.Wake
	return !w.IsZero() && !at.Before(w) && at.Before(w.Add(wakeSlack))
}

// keepInMind takes in what is recorded, whether or not it holds here.
func (w *world) keepInMind(f *fact) {
	switch {
	case f.Sight != nil:
		w.sight = *f.Sight
	case f.Death != nil:
		w.sight.State, w.sight.Init = health.Stopped, health.Process{}
	case f.Look != nil:
		if f.Look.Sighting != nil {
			w.sight = *f.Look.Sighting
		}
		w.inside, w.actor, w.looked = f.Look.Inside, f.Look.Actor, f.at
	case strings.HasPrefix(f.sensor, sensorProbe):
		w.last[strings.TrimPrefix(f.sensor, sensorProbe)] = said{health.Outcome(f.outcome), f.detail}
	}
}

func (w *world) born(t *turn, g *guest, f *fact) {
	if g == nil {
		g = w.r.guestOf(health.State{Ref: w.ref, Hold: f.Hold})
		t.guests[w.ref] = g
	}
	if w.boot != "" && w.boot != f.Birth.Boot {
		w.mode = asRecorded // the host was rebooted: whatever was, ends with that
	}
	w.boot, g.born = f.Birth.Boot, true
	if g.setup.Policy.Attempts == 0 {
		g.setup = t.setup(health.Sighting{Ref: g.ref, Name: g.name()})
	}
	t.step(g, health.Observation{Birth: f.Birth})
}

// listed is what a list said.
func (w *world) listed(t *turn, g *guest, f *fact) {
	s := *f.Sight
	s.At = f.at.Add(-f.Marks[0].At.Sub(f.Sight.At))
	t.equip(g, s)
	if g.setup.Ignore {
		t.ignore(g, configuredOut)
		return
	}
	if !w.holds(t, g, f) {
		at := s.At
		s = w.ours
		s.At = at
	}
	if s.At.Before(g.state.Fresh) {
		return
	}
	g.see(s)
	f.reel.still = !w.steps(t, g, health.Observation{Sight: &s})
}

func (w *world) steps(t *turn, g *guest, o health.Observation) bool {
	changed, _ := t.step(g, o)
	return changed
}

// probed is what a probe said.
func (w *world) probed(t *turn, g *guest, f *fact) {
	name := strings.TrimPrefix(f.sensor, sensorProbe)
	s := said{health.Outcome(f.outcome), f.detail}
	if !w.holds(t, g, f) {
		if w.ours.State != health.Running {
			return
		}
		if s = (said{health.Pass, ""}); w.mode == kept {
			s = w.probes[name]
			if w.asked[name].Add(f.reel.Period * 9 / 10).After(f.at) { // those in a hurry would not have been
				return
			}
		}
	}
	w.asked[name] = f.at
	sig := health.Signal{Probe: name, Seq: g.state.Probes[name].Seq + 1, Outcome: s.outcome, Detail: s.detail}
	f.reel.still = !w.steps(t, g, health.Observation{Signal: &sig})
}

// looks is the answer to a look, if the same was asked for here.
func (w *world) looks(t *turn, g *guest, f *fact) {
	if w.facts == nil || !w.holds(t, g, f) {
		return
	}
	for _, l := range w.facts.looks {
		if l.reel == f.reel && l.seq != 0 {
			answer := *f.Look
			answer.Seq = l.seq
			if answer.Sighting != nil {
				g.see(*answer.Sighting)
			}
			t.step(g, health.Observation{Look: &answer})
			return
		}
	}
}

// answered is what an engine answered to an attempt, if the same was made here.
func (w *world) answered(t *turn, g *guest, f *fact) {
	tr := w.facts.under(f.at)
	if tr == nil || tr.made == 0 || !w.holds(t, g, f) {
		return
	}
	d := *f.Done
	d.Attempt = tr.made
	t.survey.End(w.ref)
	t.answered(g, d)
}

// holds reports whether what is recorded holds here, too. It ends the other modes when the record shows what would have
// happened all the same.
func (w *world) holds(t *turn, g *guest, f *fact) bool {
	switch w.mode {
	case better:
		if !w.until.at.IsZero() && w.until.reached(f) {
			w.mode = asRecorded
		}
	case kept:
		if w.othersDid(f) {
			w.r.out.assume("somebody or something else started it in the end, as recorded", w.ref)
			w.mode = asRecorded
		}
	}
	return w.mode == asRecorded
}

// oursWithin is how long after an attempt of then a new life counts as its doing.
const oursWithin = 2 * time.Minute

// othersDid reports whether the record shows that it was started, or ended, by another than the agent of then.
func (w *world) othersDid(f *fact) bool {
	s := f.Sight
	if s == nil && f.Look != nil {
		s = f.Look.Sighting
	}
	if s == nil {
		return false
	}
	if s.State == health.Removed || s.OnPurpose != "" {
		return true
	}
	if s.State != health.Running || s.Init.PID == 0 || s.Init == w.ours.Init {
		return false
	}
	tr := w.facts.under(f.at)
	switch {
	case w.life.PID == 0, tr != nil && f.at.Sub(tr.at) < oursWithin:
		w.life = s.Init
	case w.life != s.Init:
		return true
	}
	return false
}

// undone sees to an attempt that is recorded and was not made here: what it mended is not mended.
func (w *world) undone(t *turn, f *fact) {
	g := t.guests[w.ref]
	if g == nil || w.mode != asRecorded || w.facts == nil {
		return
	}
	for _, d := range f.deeds {
		if d.Kind != health.DoStart && d.Kind != health.DoRestart {
			continue
		}
		tr := w.facts.under(f.at)
		if tr == nil || tr.made != 0 {
			continue
		}
		w.r.out.assume("an attempt of then is not made: it stays as it was until something else happens to it", w.ref)
		w.stay(g, t.at)
	}
}

// stay keeps it as it is.
func (w *world) stay(g *guest, at time.Time) {
	w.mode, w.since, w.ours, w.probes, w.life = kept, at, g.sight, maps.Clone(w.last), health.Process{}
	w.ours.Ref, w.ours.Name, w.ours.State, w.ours.Init = g.ref, g.name(), g.state.RunState, g.state.Init
}

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

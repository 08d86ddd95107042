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

// aLookTakes is how long a look takes of which nothing is recorded.
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
	if g == nil || !g.born && f.Order == nil || !f.exact && dozes(g, f.at) {
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
	case f.Order != nil:
		t.obey(g, *f.Order)
	case f.Job != nil:
		t.step(g, health.Observation{Job: f.Job})
	case f.Ended != nil:
		t.step(g, health.Observation{Ended: f.Ended})
	case f.Backup != nil:
		t.step(g, health.Observation{Backup: f.Backup})
	case f.Sight != nil:
		w.listed(t, g, f)
	case f.Death != nil:
		if w.holds(f) {
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
	if !w.holds(f) {
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
	if !w.holds(f) {
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
	if w.facts == nil || !w.holds(f) {
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
	if tr == nil || tr.made == 0 || !w.holds(f) {
		return
	}
	d := *f.Done
	d.Attempt = tr.made
	t.survey.End(w.ref)
	t.answered(g, d)
}

// holds reports whether what is recorded holds here, too. It ends the other modes when the record shows what would have
// happened all the same.
func (w *world) holds(f *fact) bool {
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

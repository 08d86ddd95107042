package health

import (
	"fmt"
	"time"
)

// An Explanation says why a container is judged as it is, and what happens next. It is made of what the decisions are made
// of, by the same functions.
type Explanation struct {
	Ref      Ref           `json:"ref"`
	Name     string        `json:"name"`
	Tags     []string      `json:"tags,omitempty"`
	At       time.Time     `json:"at"`
	State    RunState      `json:"state"`
	Phase    Phase         `json:"phase"`
	Since    time.Time     `json:"since"` // of the phase
	Intent   Intent        `json:"intent"`
	Mode     Mode          `json:"mode"`
	Wrong    string        `json:"wrong,omitempty"`    // what is wrong with it; empty: nothing
	Incident string        `json:"incident,omitempty"` //
	Barrier  string        `json:"barrier,omitempty"`  // what stands in the way of an attempt, the first that does; empty: nothing
	Rests    Phase         `json:"rests,omitempty"`    // where it comes to rest because of that
	Probes   []ProbeWord   `json:"probes"`             //
	Attempts []Attempt     `json:"attempts"`           // those that count against the budget, oldest first
	Budget   int           `json:"budget"`             //
	Window   time.Duration `json:"window_ns"`          //
	Flapping float64       `json:"flapping_percent"`   //
	Next     string        `json:"next"`               // what happens next
	NextAt   time.Time     `json:"next_at,omitzero"`   // and when, at the latest; zero: not by the clock
	Words    []string      `json:"words"`              // all of it for people, in order

	Event   string   `json:"event,omitempty"` // what befalls the whole host
	Room    string   `json:"room,omitempty"`  // why the host has no room for an attempt now
	Moments []Moment `json:"moments"`         // the latest that are recorded of it, oldest first
	Rules   []string `json:"rules"`           // the keys of the configuration that hold, each with its place
}

// A ProbeWord is how one probe counts.
type ProbeWord struct {
	Probe     string    `json:"probe"`
	Fails     int       `json:"fails"` // in a row
	FailAfter int       `json:"fail_after"`
	Passes    int       `json:"passes"` // in a row
	PassAfter int       `json:"pass_after"`
	Failing   bool      `json:"failing"`
	Ever      bool      `json:"ever"` // has passed at all: before that it never counts
	Since     time.Time `json:"since,omitzero"`
	Detail    string    `json:"detail,omitempty"`
	OnFail    OnFail    `json:"on_fail"`
}

// A Moment is one line of what is recorded.
type Moment struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// Explain explains a container at a moment. Wall turns a time of the decisions into one for people.
func Explain(p Policy, s State, at time.Time, wall func(time.Time) time.Time) Explanation {
	m := machine{p: p, s: s.clone(), at: at}
	e := Explanation{Ref: s.Ref, Name: s.Name, Tags: s.Tags, At: wall(at), State: s.RunState, Phase: s.Phase, Since: wall(s.Since), Intent: Intended(p, s), Mode: p.Mode,
		Attempts: []Attempt{}, Budget: p.Attempts, Window: p.Window, Flapping: s.Flap.Percent(), Probes: []ProbeWord{}, Moments: []Moment{}, Rules: []string{}}
	e.Rests, e.Barrier = m.barrier()
	if s.Case != nil {
		e.Wrong = s.Case.What
	}
	if s.Incident != nil {
		e.Incident = s.Incident.ID
	}
	m.forgetAttempts(p.Window)
	for _, a := range m.s.Attempts {
		a.At, a.Done = wall(a.At), wall(a.Done)
		e.Attempts = append(e.Attempts, a)
	}
	for _, name := range sortedKeys(s.Probes) {
		ps, pp := s.Probes[name], p.Probes[name]
		if pp.FailAfter > 0 {
			e.Probes = append(e.Probes, ProbeWord{name, ps.Fails, pp.FailAfter, ps.Passes, pp.PassAfter, ps.Failing, ps.Ever, wall(ps.From), ps.Detail, pp.OnFail})
		}
	}
	e.Next, e.NextAt = m.next()
	e.NextAt = wall(e.NextAt)
	x := explainer{machine: &m, e: &e, wall: wall}
	x.say()
	return e
}

// next says what happens next, and when at the latest.
func (m *machine) next() (string, time.Time) {
	s := &m.s
	switch s.Phase {
	case Waiting:
		if s.Queue {
			return "an attempt as soon as the host has room for it: " + s.Why, time.Time{}
		}
		return "another look, and then an attempt", s.Due
	case Exhausted:
		return "one attempt; sooner when its configuration, a lock or the host changes", s.Due
	case Checking:
		if s.Looking != nil {
			return "the answer to the look that is out; without one it is asked again", s.Looking.Asked.Add(m.p.LookWithin)
		}
		return "another look", s.Due
	case Stopping, Starting:
		return "the engine's answer; without one it is looked at again", s.Since.Add(m.phaseLimit())
	case Settling:
		return "it is well when each probe that ever passed has passed in this life; what still fails then is dealt with anew", s.Due
	case Up:
		return m.nextWell()
	case Alerted:
		if s.RunState == Running {
			return "nothing is done to it; the incident is closed when its probes pass again", time.Time{}
		}
		return "nothing is done to it; the incident is closed when it runs again", time.Time{}
	case Deferred:
		return m.nextHeld()
	case Off:
		return "nothing, until somebody starts it, or says 'atalaya want'", time.Time{}
	}
	return "nothing, until it is seen running, or somebody says 'atalaya want'", time.Time{}
}

// nextWell is what follows for one that is well: a probe that has begun to fail may end that.
func (m *machine) nextWell() (string, time.Time) {
	for _, name := range sortedKeys(m.s.Probes) {
		ps, pp := m.s.Probes[name], m.p.Probes[name]
		if ps.Fails > 0 && !ps.Failing {
			return fmt.Sprintf("if probe %q fails %s in a row, it is looked at, and then dealt with", name, more(pp.FailAfter-ps.Fails)), time.Time{}
		}
	}
	if n := len(m.s.Attempts); n > 0 {
		return fmt.Sprintf("if it stays well, %s made lately no longer counts", attempts(n)), m.s.Clear.Add(m.p.Forget)
	}
	return "nothing, for as long as it is well", time.Time{}
}

// nextHeld is what follows when it is no longer held.
func (m *machine) nextHeld() (string, time.Time) {
	s := &m.s
	switch {
	case s.Hold != nil:
		return "it is looked at again when the hold ends ('atalaya release' ends it sooner)", s.Hold.Until
	case s.Lock != nil && !s.Lock.Dead:
		return "it is looked at again when the lock is gone", time.Time{}
	case s.Supervisor != "" && s.Case != nil && !m.patienceOver():
		return "if the other supervisor has not brought it back by then, it is dealt with here", m.patience()
	case s.Host.Root != "":
		return "it is looked at again when what it depends on is well", time.Time{}
	}
	return "it is looked at again when that is over", time.Time{}
}

func more(n int) string {
	if n == 1 {
		return "once more"
	}
	return fmt.Sprintf("%d more times", n)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

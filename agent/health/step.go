package health

import (
	"fmt"
	"maps"
	"time"
)

// Step decides what one observation of one container means: the next state, and what is to be done, in order. See the
// package comment for the contract.
func Step(p Policy, s State, o Observation) (State, []Action) {
	m := machine{p: p, s: s.clone(), at: o.At, room: o.Room}
	if m.at.Before(s.Last) {
		m.at = s.Last
	}
	m.s.Last = m.at
	if m.s.Phase == "" {
		m.enter(New, "not seen running yet")
	}
	maps.DeleteFunc(m.s.Probes, func(name string, _ ProbeState) bool { _, ok := p.Probes[name]; return !ok })
	m.hear(o)
	m.timers()
	m.flap()
	m.s.Wake = m.wake()
	return m.s, m.acts
}

// A machine is one Step under way. Its methods are the events and the transitions; each changes m.s and appends to acts.
type machine struct {
	p    Policy
	s    State
	at   time.Time
	room Room
	acts []Action
	news bool // a stop by a person was seen in this Step, which was not known before
}

func (m *machine) hear(o Observation) {
	if m.s.Phase == Gone {
		return
	}
	switch {
	case o.Birth != nil:
		m.birth(*o.Birth)
	case o.Host != nil:
		m.hostSays(*o.Host)
	case o.Order != nil:
		m.order(*o.Order)
	case o.Death != nil:
		m.death(*o.Death)
	case o.Signal != nil:
		m.signal(*o.Signal)
	case o.Done != nil:
		m.done(*o.Done)
	case o.Look != nil:
		m.look(*o.Look)
	case o.Job != nil:
		m.job(*o.Job)
	case o.Ended != nil:
		m.jobDone(*o.Ended)
	case o.Backup != nil:
		m.backedUp(o.Backup.At, o.Backup.Said, "")
	case o.Sight != nil:
		m.sight(*o.Sight)
	}
}

func (m *machine) enter(ph Phase, why string) {
	if m.s.Phase != ph {
		m.s.Since = m.at
	}
	m.s.Phase, m.s.Why, m.s.Due, m.s.Queue = ph, why, time.Time{}, false
}

func (m *machine) do(a Action) { m.acts = append(m.acts, a) }

// ask orders a look. An older one that is still out will be dropped when it comes.
func (m *machine) ask() {
	m.s.LookSeq++
	m.s.Looking = &Looking{Seq: m.s.LookSeq, Asked: m.at}
	m.s.Due, m.s.Queue = time.Time{}, false
	a := Action{Kind: DoLook, Look: m.s.LookSeq}
	if c := m.s.Case; c != nil {
		a.Case = c.ID
		if c.Kind == CaseSick {
			a.Probe = c.Probe
		}
	}
	m.do(a)
}

// death is the kernel's word: it proves that this life is over, and nothing about what is wanted.
func (m *machine) death(d Death) {
	if !sameLife(d.Init, m.s.Init) {
		return
	}
	m.lifeEnds()
	m.s.RunState, m.s.Detail = Stopped, fmt.Sprintf("init %d has ended", d.Init.PID)
	switch m.s.Phase {
	case Stopping, Starting, New:
		return
	}
	m.suspect(CaseDown, true, "", fmt.Sprintf("its init process %d has ended", d.Init.PID))
}

// sight is a list's word. It opens nothing by itself: what looks wrong is looked at again.
func (m *machine) sight(g Sighting) {
	if g.State == Unknown || (!g.At.IsZero() && g.At.Before(m.s.Fresh)) {
		return
	}
	before := m.s
	m.learn(g)
	switch g.State {
	case Running:
		m.seenRunning(m.s.Life != before.Life)
	case Stopped:
		m.seenStopped()
	case Paused, Busy:
		m.seenHeld()
	case Broken, Missing:
		m.seenUnreadable()
	case Removed:
		m.gone(removedWhy)
	}
}

// stopPatience is how long a person's stop may take before a container that still runs is taken for one that goes on:
// lxc-stop kills after one minute.
const stopPatience = 2 * time.Minute

func (m *machine) seenRunning(anew bool) {
	switch m.s.Phase {
	case New:
		m.up()
	case Checking:
		if m.s.Looking == nil && m.s.Case.Kind == CaseDown {
			m.alive()
		}
	case Waiting, Exhausted, Alerted:
		if anew || m.s.Case == nil || m.s.Case.Kind == CaseDown {
			m.settle("running again", false)
		}
	case Off:
		if m.s.Actor != nil && m.at.Sub(m.s.Since) >= stopPatience {
			m.s.Actor = nil // whoever was stopping it did not: it runs
		}
		m.reconsider()
	case Deferred:
		m.reconsider()
	case Settling:
		m.settled()
	}
}

func (m *machine) seenStopped() {
	switch m.s.Phase {
	case Up, Settling:
		m.suspect(CaseDown, false, "", "the engine lists it as stopped")
	case Waiting:
		if m.s.Case != nil && m.s.Case.Kind != CaseDown { // it waited to be restarted; a start is another matter
			m.suspect(CaseDown, false, "", "the engine lists it as stopped")
		}
	case Alerted, Off, Deferred:
		m.reconsider()
	}
}

func (m *machine) seenHeld() {
	switch m.s.Phase {
	case Up, Settling, Waiting, Alerted, Exhausted:
		m.rest(Deferred, m.held())
	}
}

func (m *machine) seenUnreadable() {
	switch m.s.Phase {
	case Up, Settling, Waiting, Exhausted:
		m.suspect(CaseDown, false, "", m.unreadable())
	case Deferred:
		m.reconsider()
	}
}

func (m *machine) unreadable() string {
	what := "the engine lists it no longer, yet its definition is there"
	if m.s.RunState == Broken {
		what = "the engine cannot read its configuration"
	}
	if m.s.Detail != "" {
		what += ": " + m.s.Detail
	}
	return what
}

// look is the answer to an ordered look, the only thing that anything is decided upon.
func (m *machine) look(l Look) {
	if m.s.Looking == nil || l.Seq != m.s.Looking.Seq {
		return
	}
	m.s.Looking = nil
	if l.Host != nil {
		root, window := m.s.Host.Root, m.s.Host.Window // of these the host knows nothing
		m.s.Host = *l.Host
		m.s.Host.Root, m.s.Host.Window = root, window
	}
	if l.Sighting == nil || l.Sighting.State == Unknown {
		m.noAnswer(l.Err)
		return
	}
	if m.s.Case != nil {
		m.s.Case.Asked = 0
	}
	m.learn(*l.Sighting)
	m.witness(l.Actor)
	switch m.s.Phase {
	case Starting:
		m.startLooked()
	case Stopping:
		m.stopLooked()
	case Checking, Exhausted:
		m.confirm(l.Inside)
	}
	m.jobLooked()
}

// witness notes who was seen at the container. What the host or its engine does while going down is nobody's purpose.
func (m *machine) witness(a *Actor) {
	if a == nil || m.s.Host.Going {
		return
	}
	switch a.Verb {
	case VerbStop, VerbKill:
		m.news = m.s.Actor == nil || m.s.Actor.Process != a.Process
		m.s.Actor = copied(a)
	default:
		m.s.Lock = &Lock{Operation: fmt.Sprintf("%s (%s)", a.Verb, argvText(a.Argv)), Holder: a.Process, Since: m.at}
		m.lockSeen()
	}
}

// confirm decides on the answer of a look at something that seemed wrong.
func (m *machine) confirm(inside Outcome) {
	c := m.s.Case
	if c == nil {
		m.reconsider()
		return
	}
	switch m.s.RunState {
	case Running:
		switch {
		case c.Kind == CaseDown && m.stale():
			m.noAnswer("the engine still shows the life that has ended")
		case c.Kind == CaseDown:
			m.alive()
		case c.Kind == CasePlan:
			m.planned()
		default:
			m.sick(inside)
		}
	case Stopped:
		if c.Kind != CaseDown {
			c.fails()
			c.Kind, c.What = CaseDown, "it stopped while it was being looked at: "+c.What
		}
		m.down()
	case Paused, Busy:
		m.rest(Deferred, m.held())
	case Broken, Missing:
		c.fails()
		c.What = m.unreadable()
		m.alert("nothing can be done from here: "+c.What, false)
	case Removed:
		m.gone(removedWhy)
	}
}

// noAnswer: without an answer nothing is done but asking again, less and less often.
func (m *machine) noAnswer(why string) {
	if m.s.Case == nil {
		return
	}
	m.s.Case.Asked++
	m.s.Why = "the engine has not answered: " + why
	if m.s.Phase == Exhausted {
		m.exhaustedAgain()
		return
	}
	m.s.Due = m.at.Add(min(50*time.Millisecond<<min(m.s.Case.Asked-1, 8), 10*time.Second))
}

// alive: what seemed down is running. A guest's own reboot ends here, with no incident.
func (m *machine) alive() {
	if m.s.Incident != nil {
		m.settle("running again", false)
		return
	}
	m.up()
}

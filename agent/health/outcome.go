package health

import (
	"slices"
	"time"
)

// done takes down what an action of ours came to. It decides nothing: exit 0 proves nothing, so a fresh look follows.
func (m *machine) done(d Done) {
	a := m.trying()
	if a == nil || d.Attempt != a.N || (m.s.Phase != Starting && m.s.Phase != Stopping) {
		return
	}
	if m.s.Phase == Starting || d.Verb == VerbRestart {
		a.Done = m.at
	}
	if d.Verb == VerbRestart { // the engine has a restart of its own: what follows is judged as a start
		m.enter(Starting, m.s.Why)
	}
	a.Err, a.Cause, a.Already = d.Err, d.Cause, d.Already
	m.s.Fresh = m.at
	m.ask()
}

func (m *machine) trying() *Attempt {
	if n := len(m.s.Attempts); n > 0 && m.s.Case != nil && m.s.Case.Tried > 0 {
		return &m.s.Attempts[n-1]
	}
	return nil
}

// startLooked judges a start by the look that followed it.
func (m *machine) startLooked() {
	a := m.trying()
	if a == nil {
		m.suspect(CaseDown, false, "", "a start without an attempt")
		return
	}
	switch m.s.RunState {
	case Running:
		switch {
		case m.stale():
			m.noAnswer("the engine still shows the life that has ended")
		case a.Already && m.s.Incident == nil && a.Verb == VerbStart:
			m.rebooted()
		default:
			if a.Verb == VerbRestart && m.s.Init.PID == 0 && !m.s.Life.After(a.At) {
				m.lifeBegins(Process{}) // nothing else tells this life from the one before it
			}
			a.Err, a.Cause = "", ""
			if !m.s.Case.Ordered {
				m.open()
				m.do(Action{Kind: DoCapture, Attempt: a.N, Case: m.s.Case.ID, After: true})
			}
			m.settle("it runs; now it must prove that it is well", true)
		}
	case Paused, Busy:
		m.open()
		m.do(Action{Kind: DoCapture, Attempt: a.N, Case: m.s.Case.ID, After: true})
		m.rest(Deferred, m.held())
	case Removed:
		m.gone(removedWhy)
	default:
		if m.unwantedNow() {
			return
		}
		m.failed("the engine reported a start, and it does not run")
	}
}

// unwantedNow rests what is stopped because a person wanted just that while we dealt with it.
func (m *machine) unwantedNow() bool {
	if m.s.RunState != Stopped || m.s.Actor == nil && m.s.Want != No && !m.onRecord() {
		return false
	}
	ph, why := m.barrier()
	m.rest(ph, why)
	return true
}

// rebooted: the engine brought it back by itself before our start. It cost nothing and was no failure.
func (m *machine) rebooted() {
	m.s.Attempts = slices.Clip(m.s.Attempts[:len(m.s.Attempts)-1])
	m.s.Case.Tried--
	m.endCase("the guest rebooted")
	m.settle("rebooted", false)
}

// stopLooked follows the stopping half of a restart.
func (m *machine) stopLooked() {
	a := m.trying()
	if a == nil {
		m.suspect(CaseDown, false, "", "a stop without an attempt")
		return
	}
	switch {
	case m.s.Host.Closed != "":
		m.rest(Deferred, m.s.Host.Closed)
		m.s.Granted = true // what we stopped is started again, whatever the budget says by then
	case m.unwantedNow():
	case m.s.RunState == Stopped:
		m.enter(Starting, m.s.Why)
		m.do(Action{Kind: DoStart, Attempt: a.N, Case: m.s.Case.ID, Reason: m.s.Case.What})
	case m.s.RunState == Running && m.s.Life.After(a.At):
		m.s.Phase = Starting
		m.startLooked()
	case m.s.RunState == Running && m.stale():
		m.noAnswer("the engine still shows the life that has ended")
	case m.s.RunState == Running && m.forbidden() != "":
		ph, why := m.barrier()
		m.rest(ph, why)
	case m.s.RunState == Running && !a.Hard:
		a.Hard, a.Err, a.Cause = true, "", ""
		m.s.Since = m.at
		m.do(Action{Kind: DoRestart, Attempt: a.N, Hard: true, Case: m.s.Case.ID, Reason: "it did not stop when asked"})
	case m.s.RunState == Removed:
		m.gone(removedWhy)
	case m.s.RunState == Paused, m.s.RunState == Busy:
		m.rest(Deferred, m.held())
	default:
		m.failed("it cannot be stopped")
	}
}

// forbidden is where a container that would not stop rests instead of being killed: a person said hands off meanwhile.
func (m *machine) forbidden() Phase {
	if ph, _ := m.barrier(); ph == Deferred || ph == Off {
		return ph
	}
	return ""
}

// failed ends one attempt without success: told when it is news, tried again when the budget allows.
func (m *machine) failed(why string) {
	a := m.trying()
	if a.Err == "" {
		a.Err = why
	}
	if a.Done.IsZero() {
		a.Done = m.at
	}
	if m.s.RunState == Stopped {
		m.s.Case.Kind = CaseDown
	}
	if m.planFailed(a.Err) {
		return
	}
	m.open()
	m.do(Action{Kind: DoCapture, Attempt: a.N, Case: m.s.Case.ID, After: true})
	if m.s.Retry > 0 || len(m.s.Attempts) >= m.p.Attempts {
		m.exhaust()
		return
	}
	m.wait(m.nextAttempt(), "the attempt failed; another follows")
}

// timers does what is due. Every waiting phase has its end here, so that an answer that never comes wedges nothing.
func (m *machine) timers() {
	s := &m.s
	if s.Hold != nil && m.due(s.Hold.Until) {
		s.Hold = nil
		m.reconsider()
	}
	m.windowOver()
	m.lockOld()
	if s.Phase == Deferred && s.Supervisor != "" && m.patienceOver() {
		m.reconsider()
	}
	if l := s.Looking; l != nil && m.due(l.Asked.Add(m.p.LookWithin)) {
		s.Looking = nil
		m.noAnswer("nothing within " + m.p.LookWithin.String())
		if s.Phase == Up { // a look without a case has nothing to wait for
			s.Due = time.Time{}
		}
	}
	m.phaseTimers()
	if m.openLate() {
		m.open()
	}
	if s.Phase != Gone {
		m.jobs()
		m.backups()
	}
	m.letOut()
}

func (m *machine) phaseTimers() {
	s := &m.s
	switch s.Phase {
	case Checking, Exhausted:
		if s.Looking == nil && m.due(s.Due) {
			s.Granted = s.Granted || s.Phase == Exhausted
			m.ask()
		}
	case Waiting:
		switch {
		case s.Looking == nil && (m.due(s.Due) || s.Queue && m.hasRoom()):
			m.enter(Checking, s.Why)
			m.ask()
		case s.Queue && !m.hasRoom() && m.room.Why != "":
			s.Why = m.room.Why
		}
	case Starting, Stopping:
		if s.Looking == nil && (m.due(s.Due) || m.due(s.Since.Add(m.phaseLimit()))) {
			s.Since = m.at
			m.ask()
		}
	case Settling:
		m.settled()
		if s.Phase == Settling && m.due(s.Due) {
			m.settleOver()
		}
	case Up:
		if len(s.Attempts) > 0 && m.due(s.Clear.Add(m.p.Forget)) {
			s.Attempts, s.Retry = nil, 0
		}
	}
}

// settleOver: the grace is over. A probe that fails will say so within its fail_after; one that cannot tell does not
// hold up a container that runs.
func (m *machine) settleOver() {
	switch {
	case m.s.RunState != Running:
		m.suspect(CaseDown, false, "", "it did not come to run")
	case m.failing(""):
		m.suspectSick()
	case m.probesSilent():
		m.up()
	default:
		m.s.Due = m.at.Add(time.Second)
	}
}

// probesSilent reports whether no probe that counts has failed since the grace ended.
func (m *machine) probesSilent() bool {
	for _, ps := range m.s.Probes {
		if ps.Ever && ps.Fails > 0 {
			return false
		}
	}
	return true
}

func (m *machine) hasRoom() bool {
	if m.s.Case != nil && m.s.Case.Kind != CaseDown {
		return m.room.Restart
	}
	return m.room.Start
}

// openLate reports whether a confirmed case has waited long enough for the outcome of an attempt.
func (m *machine) openLate() bool {
	c := m.s.Case
	if c == nil || c.Ordered || m.s.Incident != nil || !m.due(c.Begun.Add(m.p.OpenWithin)) {
		return false
	}
	return m.s.Phase == Starting || m.s.Phase == Stopping || m.s.Phase == Waiting || m.s.Phase == Checking && c.Sure
}

func (m *machine) phaseLimit() time.Duration {
	if m.s.Phase == Stopping {
		return m.p.StopWithin + m.p.StartWithin
	}
	return m.p.StartWithin
}

func (m *machine) due(t time.Time) bool { return !t.IsZero() && !m.at.Before(t) }

// wake is when Step is wanted again, if nothing else comes: the earliest of what timers looks at.
func (m *machine) wake() time.Time {
	s := &m.s
	var w time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (w.IsZero() || t.Before(w)) {
			w = t
		}
	}
	if s.Hold != nil {
		at(s.Hold.Until)
	}
	if m.inWindow() {
		at(s.Host.Window.Until)
	}
	if in := s.Incident; in != nil && in.Window != "" && !m.inWindow() && s.Phase == Checking {
		at(s.Case.Begun.Add(m.p.OpenWithin))
	}
	m.jobsWake(at)
	at(m.overdueAt())
	if s.Lock != nil && !s.Locked.Told {
		at(s.Locked.Since.Add(m.p.LockLimits.of(s.Locked.Operation)))
	}
	if s.Phase == Deferred && s.Case != nil && s.Supervisor != "" && !m.patienceOver() {
		at(m.patience())
	}
	if s.Flap.On {
		at(s.Flap.At.Add(flapEvery))
	}
	if s.Looking != nil {
		at(s.Looking.Asked.Add(m.p.LookWithin))
	} else {
		at(s.Due)
	}
	if c := s.Case; c != nil && s.Incident == nil && !c.Ordered &&
		(s.Phase == Starting || s.Phase == Stopping || s.Phase == Waiting || s.Phase == Checking && c.Sure) {
		at(c.Begun.Add(m.p.OpenWithin))
	}
	switch s.Phase {
	case Waiting:
		if s.Queue { // whether there is room by then is seen without asking anybody
			at(m.at.Add(time.Second))
		}
	case Starting, Stopping:
		at(s.Since.Add(m.phaseLimit()))
	case Settling:
		if over := s.Since.Add(m.p.SettleWithin); s.RunState == Running && m.at.Before(over) {
			at(over)
		}
	case Up:
		if len(s.Attempts) > 0 {
			at(s.Clear.Add(m.p.Forget))
		}
	case Gone:
		return time.Time{}
	}
	if !w.IsZero() && !w.After(m.at) { // what is due and could not be done now is tried again soon, never at once
		w = m.at.Add(100 * time.Millisecond)
	}
	return w
}

package health

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// down decides about a container of which a fresh look says that it is stopped.
func (m *machine) down() {
	switch ph, why := m.barrier(); ph {
	case "":
		m.attempt(VerbStart)
	case Alerted:
		m.alert(why, true)
	case Deferred:
		m.shelve(why)
	default:
		m.rest(ph, why)
	}
}

// sick decides about a container that runs, by a fresh look, while a probe fails.
func (m *machine) sick(inside Outcome) {
	if !m.failing("") {
		m.settle("the probe passes again", false)
		return
	}
	m.s.Case.Inside = inside
	ph, why := m.barrier()
	switch {
	case ph == Deferred:
		m.shelve(why)
	case ph != "" && ph != Alerted:
		m.rest(ph, why)
	case ph == Alerted:
		m.alert(why, true)
	case inside == Pass:
		m.alert("the service answers inside the container and not from the host: the network path is broken, and a restart would not mend it", false)
	case !m.failing(FailRestart):
		m.alert("its probe is configured to alert only", false)
	case m.s.Case.Tried > 0 && !m.passedThisLife():
		m.alert("it was restarted, and the probe has not passed since: another restart would not mend it", false)
	case m.s.Flap.On:
		m.alert(m.flapping(), false)
	case m.maybeMany():
	default:
		m.attempt(VerbRestart)
	}
}

// maybeMany waits for one period where a single failure confirms: that others fail at the same time, which tells the
// host's trouble from a container's, cannot be seen sooner.
func (m *machine) maybeMany() bool {
	c := m.s.Case
	pp := m.p.Probes[c.Probe]
	if due := c.Since.Add(pp.Every); pp.FailAfter == 1 && c.Tried == 0 && m.at.Before(due) {
		c.Begun = due // nobody is told before it is known whose trouble it is
		m.wait(due, "one failure is enough: one period is waited for, to see whether others fail as well")
		return true
	}
	return false
}

// attempt starts or restarts, if the budget, the backoff and the host allow it now.
func (m *machine) attempt(verb Verb) {
	m.forgetAttempts(m.p.Window)
	if !m.s.Granted {
		if m.s.Retry > 0 || len(m.s.Attempts) >= m.p.Attempts {
			m.open()
			m.exhaust()
			return
		}
		if due := m.nextAttempt(); m.at.Before(due) {
			m.wait(due, fmt.Sprintf("attempt %d of %d follows", len(m.s.Attempts)+1, m.p.Attempts))
			return
		}
	}
	if verb == VerbStart && !m.room.Start || verb == VerbRestart && !m.room.Restart {
		m.wait(time.Time{}, m.room.Why)
		m.s.Queue = true
		return
	}
	c := m.s.Case
	c.Tried++
	m.s.Granted = false
	m.s.Attempts = append(m.s.Attempts, Attempt{N: c.Tried, Verb: verb, At: m.at})
	if over := len(m.s.Attempts) - m.p.Attempts; over > 0 {
		m.s.Attempts = m.s.Attempts[over:]
	}
	if m.s.Incident != nil {
		m.s.Incident.Attempts = c.Tried
	}
	m.do(Action{Kind: DoCapture, Attempt: c.Tried, Case: c.ID, Reason: c.What})
	ph, kind := Starting, DoStart
	if verb == VerbRestart {
		ph, kind = Stopping, DoRestart
		m.s.Overruled = true // the stop that the engine will have on record is ours
	}
	m.enter(ph, c.What)
	m.s.Fresh = m.at
	m.do(Action{Kind: kind, Attempt: c.Tried, Case: c.ID, Reason: c.What, First: m.cures(verb)})
}

// cures are what is tried before a start: the lock of a dead holder is broken where that is allowed, and what an attempt
// before this one could not start is repaired. Only what the engine itself calls safe is behind these verbs.
func (m *machine) cures(verb Verb) []Verb {
	var first []Verb
	if l := m.s.Lock; verb == VerbStart && m.p.Unlock && l != nil && l.Dead {
		first = append(first, VerbUnlock)
	}
	if verb == VerbStart && m.p.Repair && m.s.Case.Tried > 1 {
		first = append(first, VerbRepair)
	}
	return first
}

// patienceOver reports whether another supervisor has had its time with a container that fails. One that may start it on
// another host is never overruled: then people are told.
func (m *machine) patienceOver() bool {
	return m.s.Case != nil && m.due(m.patience())
}

func (m *machine) patience() time.Time {
	d := m.p.DeferFor
	if d < 0 {
		d = DefaultPolicy().DeferFor
	}
	return m.s.Case.Since.Add(d)
}

func (m *machine) wait(until time.Time, why string) {
	m.enter(Waiting, why)
	m.s.Due = until
}

// forgetAttempts lets attempts older than d go, but not while the budget is spent: then only health renews it.
func (m *machine) forgetAttempts(d time.Duration) {
	if m.s.Retry > 0 {
		return
	}
	for len(m.s.Attempts) > 0 && m.at.Sub(m.s.Attempts[0].At) >= d {
		m.s.Attempts = m.s.Attempts[1:]
	}
}

// nextAttempt is the earliest moment of the next attempt by the backoff.
func (m *machine) nextAttempt() time.Time {
	n := len(m.s.Attempts)
	if n == 0 || len(m.p.Delays) == 0 {
		return m.at
	}
	last := m.s.Attempts[n-1]
	from := last.At
	if last.Done.After(from) {
		from = last.Done
	}
	return from.Add(m.jitter(m.p.Delays[min(n, len(m.p.Delays))-1]))
}

// jitter lengthens d by up to a quarter, the same for the same container and number of attempts, so that what failed
// together is not tried together.
func (m *machine) jitter(d time.Duration) time.Duration {
	h := fnv.New32a()
	fmt.Fprint(h, m.s.Ref, len(m.s.Attempts))
	return d + time.Duration(float64(d)/4*float64(h.Sum32())/(1<<32))
}

// exhaust ends the quick attempts: told once, tried seldom from here on.
func (m *machine) exhaust() {
	if m.s.Retry == 0 {
		m.s.Retry = m.p.RetryMin
	} else {
		m.s.Retry = min(2*m.s.Retry, m.p.RetryMax)
	}
	m.exhaustedAgain()
	if in := m.s.Incident; in != nil && !in.Escalated {
		in.Escalated = true
		m.do(Action{Kind: DoEscalate, Case: in.ID, Reason: m.s.Why, Incident: copied(in)})
	}
}

// crashLoop says what all attempts have in common, where there is something: a loop is told by its cause.
func (m *machine) crashLoop() string {
	all := m.s.Attempts
	if len(all) < 3 {
		return ""
	}
	for _, a := range all {
		if gist(a.Cause) != gist(all[0].Cause) || (a.Err == "") != (all[0].Err == "") {
			return ""
		}
	}
	switch {
	case all[0].Cause != "":
		return ", each time because of the same: " + all[len(all)-1].Cause
	case all[0].Err == "" && m.s.RunState == Stopped:
		return ": a crash loop, it starts each time and ends again"
	}
	return ""
}

func (m *machine) exhaustedAgain() {
	m.enter(Exhausted, fmt.Sprintf("%d attempts within %s did not help%s; the next one follows, or comes at once when its configuration, a lock or the host changes",
		len(m.s.Attempts), m.p.Window, m.crashLoop()))
	m.s.Due = m.at.Add(m.jitter(m.s.Retry))
}

// hope: something changed that may have been the cause. What waits is tried at once, yet never sooner after the last
// attempt than the first delay.
func (m *machine) hope(why string) {
	if m.s.Phase != Exhausted && m.s.Phase != Waiting || m.s.Looking != nil {
		return
	}
	due := m.at
	if n := len(m.s.Attempts); n > 0 && len(m.p.Delays) > 0 {
		if soonest := m.s.Attempts[n-1].At.Add(m.p.Delays[0]); soonest.After(due) {
			due = soonest
		}
	}
	if m.s.Due.IsZero() || due.Before(m.s.Due) {
		m.s.Due, m.s.Why, m.s.Granted = due, why, true
	}
}

// reconsider looks again at a container that rests, if what it rested for no longer holds.
func (m *machine) reconsider() {
	ph, why := m.barrier()
	if m.s.RunState == Running {
		m.reconsiderRunning(ph)
		return
	}
	switch m.s.Phase {
	case New, Off, Deferred, Alerted:
	case Waiting, Checking, Exhausted:
		if ph == "" || ph == Alerted || m.s.Looking != nil { // the look that is out will tell
			return
		}
	default:
		return
	}
	switch {
	case ph == m.s.Phase:
		m.s.Why = why
	case m.s.Phase == Deferred && (m.s.RunState == Broken || m.s.RunState == Missing):
		m.suspect(CaseDown, false, "", m.unreadable())
	case m.s.RunState != Stopped:
	case ph == "" || m.s.Phase == Deferred:
		m.suspect(CaseDown, false, "", "the engine says that it is stopped")
	case ph == Alerted: // it rests already, or has not run here
	default:
		m.rest(ph, why)
	}
}

func (m *machine) reconsiderRunning(ph Phase) {
	switch {
	case m.s.Phase == New, m.s.Phase == Off && ph != Off:
		m.up()
	case m.s.Phase != Deferred || m.handsOff() != "" || m.working() != "":
	case m.s.Case == nil:
		m.up()
	case m.s.Case.Kind == CaseDown:
		m.settle("running again", false)
	case ph != Deferred:
		m.settle("no longer deferred", false)
	}
}

// failing reports whether a probe that counts is failing; of one consequence, if that is not empty.
func (m *machine) failing(of OnFail) bool {
	for name, ps := range m.s.Probes {
		if ps.Failing && (of == "" || m.p.Probes[name].OnFail == of) {
			return true
		}
	}
	return false
}

// passedThisLife reports whether a failing probe that may cause a restart has passed since this start.
func (m *machine) passedThisLife() bool {
	for name, ps := range m.s.Probes {
		if ps.Failing && ps.Life && m.p.Probes[name].OnFail == FailRestart {
			return true
		}
	}
	return false
}

// failures names the failing probes, for people.
func (m *machine) failures() string {
	var out []string
	for _, name := range sortedKeys(m.s.Probes) {
		if ps := m.s.Probes[name]; ps.Failing {
			out = append(out, fmt.Sprintf("probe %q fails: %s", name, ps.Detail))
		}
	}
	return strings.Join(out, "; ")
}

package health

import (
	"fmt"
	"strings"
	"time"
)

// learn takes over what the engine says. Another creation mark is another container under an old id: what was known of
// the old one ends with it.
func (m *machine) learn(g Sighting) {
	if m.s.Mark != "" && g.Mark != "" && m.s.Mark != g.Mark {
		m.replaced()
	}
	if g.Mark != "" {
		m.s.Mark = g.Mark
	}
	m.s.Ref, m.s.Name = g.Ref, g.Name
	freed := m.s.Lock != nil && g.Lock == nil
	changed := m.s.Config != "" && g.Config != "" && m.s.Config != g.Config
	if g.Config != "" {
		m.s.Config = g.Config
	}
	m.s.Tags = g.Tags
	if g.Autostart != Maybe {
		m.s.Autostart = g.Autostart
	}
	if g.OnPurpose != "" && m.s.OnPurpose == "" && m.s.Host.Going {
		m.s.Overruled = true // the host's shutdown, or its engine's, asked each that still ran to stop
	}
	m.s.Lock, m.s.Supervisor, m.s.Elsewhere, m.s.Finished, m.s.OnPurpose = copied(g.Lock), g.Supervisor, g.Elsewhere, g.Finished, g.OnPurpose
	m.lockSeen()
	m.s.Overruled = m.s.Overruled && (g.State != Running || m.s.Phase == Stopping) // the next stop is another one
	m.life(g)
	if g.State == Paused && m.s.RunState != Paused {
		m.doubtsEnd()
	}
	m.s.RunState, m.s.Detail = g.State, g.Detail
	switch {
	case changed:
		m.hope("its configuration changed")
	case freed:
		m.hope("its lock is gone")
	}
}

// life follows which life of the container this is: probes are judged within one life.
func (m *machine) life(g Sighting) {
	switch g.State {
	case Running:
		if sameLife(g.Init, m.s.Dead) && g.Init.PID != 0 {
			return // the engine is behind the kernel
		}
		m.s.Absent = false // it did not stop while nobody watched, and from here on somebody does
		if g.Init.PID != 0 && !sameLife(g.Init, m.s.Init) || m.s.Life.IsZero() || g.Init.PID == 0 && m.s.RunState == Stopped {
			m.lifeBegins(g.Init)
		} else if g.Init.Start != 0 {
			m.s.Init = g.Init
		}
	case Stopped, Removed:
		m.lifeEnds()
	}
}

func (m *machine) lifeBegins(init Process) {
	if m.s.Init.PID != 0 {
		m.s.Dead = m.s.Init
	}
	m.s.Init, m.s.Life, m.s.Ran, m.s.Absent, m.s.Actor, m.s.Overruled, m.s.ToldOff = init, m.at, true, false, nil, false, ""
	for name, ps := range m.s.Probes {
		m.s.Probes[name] = ProbeState{Seq: ps.Seq, Ever: ps.Ever}
	}
}

// doubtsEnd forgets failures that have confirmed nothing yet: nobody probes for a while, and what fails afterwards begins then.
func (m *machine) doubtsEnd() {
	for name, ps := range m.s.Probes {
		if !ps.Failing {
			ps.Fails, ps.From, ps.Detail = 0, time.Time{}, ""
			m.s.Probes[name] = ps
		}
	}
}

func (m *machine) lifeEnds() {
	if m.s.Init.PID != 0 {
		m.s.Dead = m.s.Init
	}
	m.s.Init, m.s.Life, m.s.Fresh = Process{}, time.Time{}, m.at
}

// stale reports whether the engine still shows the life that the kernel has seen end.
func (m *machine) stale() bool { return m.s.Init.PID == 0 && m.s.Dead.PID != 0 && m.s.Life.IsZero() }

// replaced ends what is known of a container whose id now belongs to another. Orders of people are for the name, and stay.
func (m *machine) replaced() {
	m.endCase("it was removed, and another was created under its id")
	m.backupResolved("it was removed, and another was created under its id")
	old := m.s
	m.s = State{Ref: old.Ref, Name: old.Name, Last: old.Last, LookSeq: old.LookSeq, Boot: old.Boot, Host: old.Host,
		Want: old.Want, WantBy: old.WantBy, Hold: old.Hold, Jobs: Jobs{Heard: old.Jobs.Heard}}
	m.enter(New, "created anew under an old id")
}

// removedWhy is how it ends with a container that nobody has any more.
const removedWhy = "its definition was removed"

// gone ends everything. What was told is resolved: nobody will look at it any more.
func (m *machine) gone(why string) {
	m.endCase(why)
	m.backupResolved(why)
	m.enter(Gone, why)
	m.s.Looking, m.s.Jobs = nil, Jobs{}
}

func (m *machine) hostSays(w HostWord) {
	old := m.s.Host
	m.s.Host = w
	if m.inWindow() && old.Window.Name == "" {
		m.windowOpens()
	}
	if len(w.Faults) < len(old.Faults) {
		m.hope("gone: " + strings.Join(missingFrom(old.Faults, w.Faults), ", "))
	}
	if m.s.Phase == Deferred {
		m.reconsider()
	}
}

func missingFrom(old, now []string) []string {
	var out []string
	for _, f := range old {
		found := false
		for _, g := range now {
			found = found || f == g
		}
		if !found {
			out = append(out, f)
		}
	}
	return out
}

func (m *machine) order(o Order) {
	switch o.Kind {
	case OrderWant:
		m.s.Want, m.s.WantBy, m.s.Plan = Yes, o.By, Plan{}
		m.wantedNow("wanted, by " + o.By)
	case OrderUnwant:
		m.s.Want, m.s.WantBy = No, o.By
		m.reconsider()
	case OrderHold:
		m.s.Hold = &Hold{Until: o.Until, Reason: o.Reason, By: o.By}
		switch m.s.Phase {
		case Checking, Waiting, Exhausted:
			m.rest(Deferred, m.held())
		}
	case OrderRelease:
		m.s.Hold = nil
		m.reconsider()
	case OrderForget:
		m.gone(o.Reason)
	}
}

// birth is a new agent taking over. Whatever was under way when the old one ended is looked at afresh.
func (m *machine) birth(b Birth) {
	rebooted := m.s.Boot != "" && m.s.Boot != b.Boot
	unanswered := m.s.Looking != nil
	m.jobBorn()
	m.s.Boot = b.Boot
	m.s.Looking = nil
	m.doubtsEnd()
	if rebooted {
		m.lifeEnds()
		m.s.Dead, m.s.Lock, m.s.Locked = Process{}, nil, Locked{}
	} else if b.Orderly && (m.s.RunState == Running || m.s.RunState == Paused || m.s.RunState == Busy) && m.s.Phase != Starting && m.s.Phase != Stopping {
		m.s.Absent = true
	}
	if unanswered || m.s.Phase == Checking || m.s.Phase == Starting || m.s.Phase == Stopping {
		m.ask()
	}
}

// held says what holds the container, for people.
func (m *machine) held() string {
	switch {
	case m.s.Hold != nil:
		return fmt.Sprintf("on hold until %s, by %s: %s", m.s.Hold.Until.Format(time.RFC3339), m.s.Hold.By, m.s.Hold.Reason)
	case m.s.Lock != nil && !m.s.Lock.Dead:
		return fmt.Sprintf("held by %s since %s: %s", m.s.Lock.Operation, m.s.Locked.Since.Format(time.RFC3339), holder(*m.s.Lock))
	case m.s.Detail != "":
		return fmt.Sprintf("%s (%s)", m.s.RunState, m.s.Detail)
	default:
		return string(m.s.RunState)
	}
}

// sameLife compares two processes. Where one side has no start time, the pid must do.
func sameLife(a, b Process) bool {
	return a.PID == b.PID && (a.Start == b.Start || a.Start == 0 || b.Start == 0)
}

func argvText(argv []string) string {
	s := strings.Join(argv, " ")
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}

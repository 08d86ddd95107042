package health

import (
	"fmt"
	"strings"
)

// barrier says where a container that is not well comes to rest instead of being touched, and why. An empty phase means
// that nothing is in the way. The order matters: the first that holds is what people are told.
func (m *machine) barrier() (Phase, string) {
	s := &m.s
	if why := m.handsOff(); why != "" {
		return Deferred, why
	}
	switch {
	case s.Actor != nil:
		return Off, stoppedBy(*s.Actor)
	case m.onRecord():
		return Off, "stopped on purpose, says the engine: " + s.OnPurpose
	case s.Finished:
		return Off, "it ended by itself, without an error, and nothing asks for it to run again"
	}
	want, proof := m.intent()
	switch {
	case want == No:
		return Off, "not wanted: " + proof
	case !s.Ran && s.Want != Yes && s.Plan.Want != Yes:
		return New, "not seen running here yet: 'atalaya want' starts it"
	case m.working() != "":
		return Deferred, m.working()
	case m.inWindow():
		return Deferred, m.windowWhy()
	case s.Host.Root != "" && (s.RunState != Running || s.Case != nil):
		return Deferred, "it depends on " + s.Host.Root
	case len(s.Host.Faults) > 0 && s.RunState == Running && s.Case != nil: // what has died is tried all the same: links may be made by a start
		return Deferred, "it lacks what only the host can give: " + strings.Join(s.Host.Faults, "; ")
	case s.Supervisor != "" && !m.patienceOver():
		return Deferred, "another supervisor looks after it: " + s.Supervisor
	case s.Supervisor != "" && (s.Elsewhere || m.p.DeferFor < 0):
		return Alerted, "it is left to another supervisor: " + s.Supervisor
	case want == Maybe:
		return Alerted, "nothing says that it should be running: " + proof
	case s.Absent && s.Want != Yes && s.Plan.Want != Yes:
		return Alerted, "it stopped while no agent was watching; whether on purpose is not known"
	case m.p.Mode != ModeHeal:
		return Alerted, fmt.Sprintf("mode is %q: only watched", m.p.Mode)
	}
	return "", ""
}

// handsOff says why nothing is done whatever is wrong with it.
func (m *machine) handsOff() string {
	s := &m.s
	switch {
	case s.Hold != nil:
		return m.held()
	case s.Host.Closed != "":
		return s.Host.Closed
	case s.RunState == Paused, s.RunState == Busy, s.Lock != nil && !s.Lock.Dead:
		return m.held()
	}
	return ""
}

// onRecord reports whether the engine has a stop on record that somebody wanted, and that still counts.
func (m *machine) onRecord() bool { return m.s.OnPurpose != "" && !m.s.Overruled }

// Intended says whether the container should be running, and how we know. A person's word counts before the
// configuration, and that before the engine's autostart. What a schedule did last counts as a person's later word would,
// but for one: what a person does not want, no schedule starts.
func Intended(p Policy, s State) Intent {
	switch {
	case s.Want == No:
		return Intent{No, "atalaya unwant, by " + s.WantBy}
	case s.Plan.Want == No:
		return Intent{No, fmt.Sprintf("stopped by schedule %q, until one starts it", s.Plan.By)}
	case s.Want == Yes:
		return Intent{Yes, "atalaya want, by " + s.WantBy}
	case s.Plan.Want == Yes:
		return Intent{Yes, fmt.Sprintf("started by schedule %q", s.Plan.By)}
	case p.Want != Maybe:
		return Intent{p.Want, "want: " + string(p.Want) + ", in the configuration"}
	case s.Autostart == Yes:
		return Intent{Yes, "its engine starts it at boot"}
	case s.Autostart == No:
		return Intent{Maybe, "its engine does not start it at boot"}
	}
	return Intent{Maybe, "its engine does not say whether it starts at boot"}
}

func (m *machine) intent() (Tri, string) {
	i := Intended(m.p, m.s)
	return i.Want, i.Proof
}

func stoppedBy(a Actor) string {
	who := fmt.Sprintf("uid %d", a.UID)
	if a.Login >= 0 && a.Login != a.UID {
		who += fmt.Sprintf(", logged in as uid %d", a.Login)
	}
	if len(a.Parents) > 0 {
		who += ", started by " + strings.Join(a.Parents, " of ")
	}
	if a.Terminal != "" {
		who += ", on " + a.Terminal
	}
	return fmt.Sprintf("stopped on purpose by '%s' (pid %d, %s)", argvText(a.Argv), a.Process.PID, who)
}

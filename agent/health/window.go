package health

import (
	"fmt"
	"time"
)

// A Window is a maintenance window that is open for a container. While it is, nothing is started or restarted, and what
// fails is recorded, and told only when it outlasts the window. The zero Window is none.
type Window struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}

// Same tells whether two are the same.
func (w Window) Same(v Window) bool { return w.Name == v.Name && w.Until.Equal(v.Until) }

func (m *machine) inWindow() bool { return m.s.Host.Window.Name != "" }

// windowWhy says which window holds the container, for people.
func (m *machine) windowWhy() string {
	w := m.s.Host.Window
	return fmt.Sprintf("maintenance window %q until %s", w.Name, w.Until.Format(time.RFC3339))
}

// windowOver ends a window by its own time, though nobody says so.
func (m *machine) windowOver() {
	if w := m.s.Host.Window; m.inWindow() && m.due(w.Until) {
		m.s.Host.Window = Window{}
		if m.s.Phase == Deferred {
			m.reconsider()
		}
	}
}

// windowOpens lets go of what was about to be tried.
func (m *machine) windowOpens() {
	if m.s.Phase != Waiting && m.s.Phase != Exhausted {
		return
	}
	if ph, why := m.barrier(); ph == Deferred {
		m.shelve(why)
	}
}

// shelve lets go of a container that is not well. In a window that becomes an incident which is not told, with its evidence.
func (m *machine) shelve(why string) {
	known := m.s.Incident != nil
	if m.inWindow() && m.handsOff() == "" && m.working() == "" {
		m.open()
	}
	if m.s.Incident != nil && !known {
		m.do(Action{Kind: DoCapture, Case: m.s.Case.ID, Reason: m.s.Case.What, After: true})
	}
	m.rest(Deferred, why)
}

// Untold tells whether people are not told of the incident by itself: an event of the host was told instead, or it began in
// a maintenance window that is still open.
func (in Incident) Untold() bool { return in.Parent != "" || in.Window != "" }

// letOut has incidents told that were not: the event of the host that they belonged to is over, or the window in which they
// began. What outlasts a window is looked at afresh before it is told.
func (m *machine) letOut() {
	if in := m.s.Incident; in != nil && in.Untold() && m.letOutOf(in) {
		m.do(Action{Kind: DoOpen, Case: in.ID, Attempt: m.s.Case.Tried, Reason: in.Reason, Incident: copied(in)})
		if in.Escalated && !in.Untold() {
			m.do(Action{Kind: DoEscalate, Case: in.ID, Reason: m.s.Why, Incident: copied(in)})
		}
	}
	if in := m.s.Backup.Incident; in != nil && in.Window != "" && !m.inWindow() {
		in.Window = ""
		m.do(Action{Kind: DoOpen, Case: in.ID, Reason: in.Reason, Incident: copied(in)})
	}
}

// letOutOf brings up to date what keeps an incident from being told, and reports whether that is news.
func (m *machine) letOutOf(in *Incident) bool {
	was := *in
	if in.Parent != "" {
		in.Parent = m.room.Event
	}
	if in.Window != "" && !m.inWindow() && !m.lookingAgain() {
		in.Window = ""
	}
	return in.Parent != was.Parent && in.Window == "" || in.Window != was.Window && in.Parent == ""
}

// lookingAgain reports whether it is about to be seen how a container is whose window is over.
func (m *machine) lookingAgain() bool {
	switch m.s.Phase {
	case Settling:
		return true
	case Checking:
		return !m.due(m.s.Case.Begun.Add(m.p.OpenWithin))
	}
	return false
}

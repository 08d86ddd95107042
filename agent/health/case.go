package health

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// suspect opens a case, or turns the open one, and looks.
func (m *machine) suspect(kind CaseKind, sure bool, probe, what string) {
	c := m.s.Case
	if c == nil {
		c = &Case{ID: m.newID(), Since: m.at, Confirmed: m.at}
		m.s.Case = c
	}
	if m.s.Phase == Up || m.s.Phase == Deferred || c.Begun.IsZero() {
		c.Begun = m.at
	}
	c.Ordered = c.Ordered && !sure // what dies after it was started is a failure
	c.fails()
	c.Kind, c.Sure, c.Probe, c.What, c.Asked = kind, c.Sure || sure, probe, what, 0
	m.enter(Checking, what)
	m.ask()
}

// fails makes a failure of what a schedule wanted and nothing was wrong with.
func (c *Case) fails() {
	if c.Kind == CasePlan || c.Plan != nil {
		c.Kind, c.Ordered, c.Plan = CaseDown, false, nil
	}
}

// newID makes the id of a case of this container.
func (m *machine) newID() string { return idAt(m.at, m.s.Ref) }

// idAt makes the id of an incident: its time, for people and for sorting, and a hash of what it is about.
func idAt(at time.Time, about ...any) string {
	h := fnv.New32a()
	fmt.Fprint(h, about...)
	t := at.UTC()
	return fmt.Sprintf("%s-%03d-%08x", t.Format("20060102-150405"), t.Nanosecond()/1e6, h.Sum32())
}

// open makes the case an incident, or brings the open one up to date, and tells when the reader should know.
func (m *machine) open() {
	c, last := m.s.Case, m.lastAttempt()
	if c == nil {
		return
	}
	if in := m.s.Incident; in != nil {
		in.Attempts = c.Tried
		news := last.Err != "" && (gist(last.Cause) != gist(in.Cause) || last.Cause == "" && gist(last.Err) != gist(in.LastErr))
		if last.Err != "" {
			in.LastErr, in.Cause = last.Err, last.Cause
		}
		if news {
			m.do(Action{Kind: DoUpdate, Case: in.ID, Attempt: last.N, Reason: "another failure than before", Incident: copied(in)})
		}
		return
	}
	c.Open = true
	m.s.Incident = &Incident{ID: c.ID, Ref: m.s.Ref, Name: m.s.Name, Reason: c.What, Opened: c.Since, Confirmed: c.Confirmed, Parent: m.room.Event,
		Window: m.s.Host.Window.Name, Attempts: c.Tried}
	if c.Tried > 0 {
		m.s.Incident.LastErr, m.s.Incident.Cause = last.Err, last.Cause
	}
	m.do(Action{Kind: DoOpen, Case: c.ID, Attempt: c.Tried, Reason: c.What, Incident: copied(m.s.Incident)})
}

// gist is what stays the same of a message when the same failure happens again: not the names in quotes, nor numbers.
func gist(text string) string {
	var out strings.Builder
	quoted := false
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case !quoted && (r < '0' || r > '9'):
			out.WriteRune(r)
		}
	}
	return out.String()
}

func (m *machine) lastAttempt() Attempt {
	if n := len(m.s.Attempts); n > 0 && m.s.Case != nil && m.s.Case.Tried > 0 {
		return m.s.Attempts[n-1]
	}
	return Attempt{}
}

// alert opens the incident and leaves the container alone.
func (m *machine) alert(why string, barred bool) {
	opened := m.s.Incident != nil
	m.open()
	m.enter(Alerted, why)
	m.s.Barred = barred
	if !opened {
		m.do(Action{Kind: DoCapture, Case: m.s.Case.ID, Reason: m.s.Case.What, After: true})
	}
}

// rest lets go of a container that is not to be touched. Off ends its case: it is as somebody wants it. Deferred keeps
// it: when the reason is gone, it is looked at again.
func (m *machine) rest(ph Phase, why string) {
	m.jobPutOff(ph)
	if ph == Off || ph == New {
		fresh := m.onRecord() && m.s.Case != nil && m.s.ToldOff != m.s.OnPurpose
		if ph == Off && (m.news || fresh) && m.s.Incident == nil {
			m.do(Action{Kind: DoTell, Reason: why})
		}
		if ph == Off && m.onRecord() {
			m.s.ToldOff = m.s.OnPurpose
		}
		m.endCase(why)
	}
	m.enter(ph, why)
	m.s.Looking = nil
}

// settle waits for the container to prove that it is well; ours tells whether an attempt of ours made it run.
func (m *machine) settle(why string, ours bool) {
	if m.s.Case != nil {
		m.s.Case.Ours = ours
	}
	m.enter(Settling, why)
	m.s.Looking, m.s.Actor = nil, nil
	m.s.Due = m.at.Add(m.p.SettleWithin)
	for name, ps := range m.s.Probes {
		if due := m.at.Add(m.p.Probes[name].Grace); ps.Ever && due.After(m.s.Due) {
			m.s.Due = due
		}
	}
	m.settled()
}

// settled ends the waiting when every probe that has ever passed has passed in this life, and none is failing. Without
// such probes, running for a while must do.
func (m *machine) settled() {
	if m.s.RunState != Running {
		return
	}
	counting, passing := 0, 0
	for _, ps := range m.s.Probes {
		if ps.Ever {
			counting++
		}
		if ps.Ever && ps.Life && !ps.Failing && ps.Fails == 0 {
			passing++
		}
	}
	if counting > 0 && passing == counting || counting == 0 && m.at.Sub(m.s.Since) >= m.p.SettleWithin {
		m.up()
	}
}

// up is well again.
func (m *machine) up() {
	if m.s.Phase == Settling && m.s.Incident != nil && m.s.Flap.On { // told when it is steady
		m.s.Why = m.flapping()
		if !m.s.Due.After(m.at) {
			m.s.Due = m.at.Add(flapEvery)
		}
		return
	}
	if m.s.Case != nil {
		m.endCase(m.how())
	}
	if m.s.Phase != Up {
		m.s.Clear = m.at
	}
	m.enter(Up, "")
	m.s.Looking, m.s.Actor, m.s.Granted = nil, nil, false
}

// how tells in which way it became well.
func (m *machine) how() string {
	took := round(m.at.Sub(m.s.Case.Since))
	switch n := m.s.Case.Tried; {
	case !m.s.Case.Ours && n == 0:
		return fmt.Sprintf("recovered by itself after %s", took)
	case !m.s.Case.Ours:
		return fmt.Sprintf("recovered by itself after %s; %s of ours had not helped", took, attempts(n))
	case n == 1:
		return fmt.Sprintf("recovered by us in %s", took)
	default:
		return fmt.Sprintf("recovered by us after %s, in %s", attempts(n), took)
	}
}

// round keeps what people read of a duration: milliseconds below a second, tenths below a minute, else seconds.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// endCase closes the incident, or drops a case that became none.
func (m *machine) endCase(how string) {
	c := m.s.Case
	if c == nil {
		return
	}
	if c.Plan != nil && m.s.Incident == nil { // it was no failure, and took nothing of the budget
		m.s.Attempts = slices.Clip(m.s.Attempts[:max(0, len(m.s.Attempts)-c.Tried)])
	}
	if in := m.s.Incident; in != nil {
		in.Resolved, in.How, in.Attempts = m.at, how, c.Tried
		m.do(Action{Kind: DoResolve, Case: in.ID, Reason: how, Incident: copied(in)})
	} else {
		m.do(Action{Kind: DoDrop, Case: c.ID, Reason: how})
	}
	m.s.Case, m.s.Incident, m.s.Looking, m.s.Retry, m.s.Granted = nil, nil, nil, 0, false
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

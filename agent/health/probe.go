package health

import (
	"maps"
	"slices"
	"time"
)

// signal judges one outcome of one probe. Unsure never counts and never clears; a probe that has never passed does not
// count; neither does a failure in the grace after a start, before the first pass of that life.
func (m *machine) signal(g Signal) {
	pp, ok := m.p.Probes[g.Probe]
	ps := m.s.Probes[g.Probe]
	if !ok || g.Seq <= ps.Seq || g.Init.PID != 0 && !sameLife(g.Init, m.s.Init) {
		return
	}
	before := ps
	switch g.Outcome {
	case Pass:
		ps = passed(pp, ps)
	case Fail:
		if m.counts(pp, ps) {
			if ps.From.IsZero() {
				ps.From = m.at
			}
			ps.Fails, ps.Passes, ps.Detail = min(ps.Fails+1, pp.FailAfter), 0, g.Detail
			ps.Failing = ps.Failing || ps.Fails >= pp.FailAfter
		}
	}
	if ps != before || ps.Seq != 0 { // a probe about which nothing is known leaves no trace
		ps.Seq = g.Seq
		if m.s.Probes == nil {
			m.s.Probes = map[string]ProbeState{}
		}
		m.s.Probes[g.Probe] = ps
	}
	if g.Outcome != Unsure {
		m.judge()
	}
}

func passed(pp ProbePolicy, ps ProbeState) ProbeState {
	ps.Ever, ps.Life = true, true
	ps.Passes = min(ps.Passes+1, pp.PassAfter)
	ps.Fails = 0
	if ps.Passes >= pp.PassAfter {
		ps.Failing = false
	}
	if !ps.Failing {
		ps.Detail, ps.From = "", time.Time{}
	}
	return ps
}

// counts reports whether a failure says anything about the container.
func (m *machine) counts(pp ProbePolicy, ps ProbeState) bool {
	switch {
	case !ps.Ever || m.s.RunState != Running:
		return false
	case ps.Life:
		return true
	}
	return !m.at.Before(m.s.Life.Add(pp.Grace))
}

// judge acts on what the probes say together.
func (m *machine) judge() {
	switch m.s.Phase {
	case Up:
		if m.failing("") {
			m.suspectSick()
		}
	case Settling:
		if m.failing("") {
			m.suspectSick()
			return
		}
		m.settled()
	case Alerted, Exhausted, Waiting, Deferred:
		c := m.s.Case
		switch {
		case c == nil || c.Kind != CaseSick || m.s.RunState != Running || m.s.Phase == Deferred && (m.handsOff() != "" || m.working() != ""):
		case !m.failing(""):
			m.settle("the probe passes again", false)
		case m.s.Phase == Alerted && m.failing(FailRestart) && m.worse(c):
			m.suspectSick()
		}
	}
}

// worse reports whether a restart, which was not to be thought of when the case was told, is so now: a probe that may
// cause one has joined one that may not, or what forbade it is gone.
func (m *machine) worse(c *Case) bool {
	if !m.s.Barred && (c.Tried > 0 || m.p.Probes[c.Probe].OnFail == FailRestart) {
		return false
	}
	ph, _ := m.barrier()
	return ph == ""
}

// suspectSick opens a case for the failing probe of the gravest consequence.
func (m *machine) suspectSick() {
	name := ""
	for _, n := range sortedKeys(m.s.Probes) {
		if m.s.Probes[n].Failing && (name == "" || m.p.Probes[name].OnFail != FailRestart && m.p.Probes[n].OnFail == FailRestart) {
			name = n
		}
	}
	known := m.s.Case != nil
	m.suspect(CaseSick, true, name, m.failures())
	m.s.Case.Detail, m.s.Case.Inside = m.s.Probes[name].Detail, ""
	if !known {
		m.s.Case.Since = m.firstFailure()
	}
}

// firstFailure is since when the service has been failing: an outage begins with the first failure of the run that
// confirmed it, not with the last.
func (m *machine) firstFailure() time.Time {
	first := m.at
	for _, ps := range m.s.Probes {
		if ps.Failing && !ps.From.IsZero() && ps.From.Before(first) {
			first = ps.From
		}
	}
	return first
}

func sortedKeys(ps map[string]ProbeState) []string { return slices.Sorted(maps.Keys(ps)) }

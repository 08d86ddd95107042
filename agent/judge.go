package agent

import (
	"fmt"

	"atalaya/agent/diagnose"
	"atalaya/agent/health"
)

// judge asks for the verdict on the open case, from what is known now.
func (t *turn) judge(g *guest, before health.State) health.Verdict {
	c := g.state.Case
	if c == nil {
		c = before.Case
	}
	if c == nil {
		return health.Verdict{}
	}
	f := diagnose.Facts{Failure: diagnose.Died, Sighting: g.sight, Faults: g.state.Host.Faults, Actor: g.state.Actor,
		Log: g.engineLog, Siblings: t.siblings(g)}
	if c.Kind == health.CaseSick {
		f.Failure = diagnose.Sick
		f.Probe = health.Signal{Probe: c.Probe, Outcome: health.Fail, Detail: g.signals[c.Probe].Detail}
	}
	for _, tr := range g.tried {
		d := health.Done{Attempt: tr.Attempt, Verb: tr.Verb, Cause: tr.Cause}
		if tr.Exit != 0 {
			d.Err = tr.Answer
			if d.Err == "" {
				d.Err = fmt.Sprintf("exit %d", tr.Exit)
			}
		}
		f.Dones = append(f.Dones, d)
	}
	if n := len(f.Dones); n > 0 && f.Dones[n-1].Verb == health.VerbStart && f.Dones[n-1].Err != "" {
		f.Failure = diagnose.WontStart
		f.Files = map[diagnose.Fact]string{diagnose.FactEngine: "action/"}
	}
	return diagnose.Judge(f)
}

// siblings counts the other containers that should run, and those that fail at this time as well.
func (t *turn) siblings(g *guest) diagnose.Siblings {
	var s diagnose.Siblings
	for _, o := range t.guests {
		if o == g || !o.state.Ran || o.state.Phase == health.Off {
			continue
		}
		s.Total++
		if c := o.state.Case; c != nil && g.state.Case != nil && c.Since.Sub(g.state.Case.Since).Abs() <= 2*t.set.Poll {
			s.Failing++
		}
	}
	return s
}

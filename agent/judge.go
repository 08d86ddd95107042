package agent

import (
	"encoding/json"
	"fmt"
	"path"
	"time"

	"atalaya/agent/diagnose"
	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A finding is the verdict of a case, with the failure that it was made from.
type finding struct {
	Verdict health.Verdict `json:"verdict"`
	Of      failure        `json:"of"`
}

// A failure tells one thing that went wrong with a container from the next. While it is the same, its first firm verdict
// stands: what is seen later, when our own repair has stirred it all up, is worth less.
type failure struct {
	Kind   diagnose.Failure `json:"kind"`
	Failed int              `json:"failed,omitempty"` // attempts that did
	Inside health.Outcome   `json:"inside,omitempty"`
}

// firm says that it names somebody.
func (f finding) firm() bool {
	return f.Verdict.Layer != "" && f.Verdict.Layer != diagnose.Undetermined
}

// judge asks for the verdict on the open case, from what is known now, and keeps it with the case.
func (t *turn) judge(g *guest, before health.State) health.Verdict {
	c := g.state.Case
	if c == nil {
		c = before.Case
	}
	if c == nil {
		return health.Verdict{}
	}
	facts, of := t.facts(g, c)
	now, was := finding{diagnose.Judge(facts), of}, g.finding
	over := was.Of.Kind == diagnose.WontStart && of.Kind == diagnose.Died // an attempt worked at last
	if was.firm() && (!now.firm() || of == was.Of || over) {
		return was.Verdict
	}
	if now.firm() && (c.Tried > 0 || g.state.Incident != nil) {
		g.finding = now
		if now.Verdict.Sentence != was.Verdict.Sentence {
			t.noteFinding(g, c.ID)
		}
	}
	return now.Verdict
}

// changeMatters is how long before a failure a change may have caused it.
const changeMatters = time.Hour

// facts are what is known of the case: its symptom as it was when that was confirmed, because what a probe meets while we
// restart its container is our own doing.
func (t *turn) facts(g *guest, c *health.Case) (diagnose.Facts, failure) {
	f := diagnose.Facts{Failure: diagnose.Died, Sighting: g.sight, Faults: g.state.Host.Faults, Actor: g.state.Actor,
		Closed: g.state.Host.Closed, Going: g.state.Host.Going, Log: g.engineLog, Siblings: t.siblings(g), Kernel: g.kernel.own, Host: g.kernel.host, Cgroup: g.memory,
		Files: map[diagnose.Fact]string{diagnose.FactKernel: "before/kernel.log"}}
	if len(f.Faults) > 0 { // what is missing is a link
		f.Files[diagnose.FactHost] = "before/network-host.txt"
	}
	if c.Kind == health.CaseSick {
		f.Failure, f.Inside = diagnose.Sick, c.Inside
		f.Probe = health.Signal{Probe: c.Probe, Outcome: health.Fail, Detail: c.Detail}
		f.Files[diagnose.FactProbe] = path.Join("before", probeFile(c.Probe))
	}
	if ago := c.Since.Sub(g.changed); !g.changed.IsZero() && ago < changeMatters {
		f.Changes = append(f.Changes, diagnose.Change{Layer: diagnose.Guest, What: "its configuration was changed at " + t.clock.wall(g.changed).Format(time.RFC3339)})
	}
	of := failure{Inside: f.Inside}
	for _, tr := range g.tried {
		a := diagnose.Attempt{Exit: tr.Exit, Done: health.Done{Attempt: tr.Attempt, Verb: tr.Verb, Cause: tr.Cause}}
		if tr.Exit != 0 || tr.Cause != "" { // some tools exit with 0 and say that they failed
			of.Failed++
			if a.Err = tr.Answer; a.Err == "" {
				a.Err = fmt.Sprintf("exit %d", tr.Exit)
			}
		}
		f.Attempts = append(f.Attempts, a)
	}
	if g.wontStart(f.Attempts) {
		f.Failure = diagnose.WontStart
		f.Files[diagnose.FactEngine] = "action/"
	}
	of.Kind = f.Failure
	return f, of
}

// wontStart says that the latest attempt was to make it run, and that it does not, by the engine's answer or by a look
// that followed it.
func (g *guest) wontStart(dones []diagnose.Attempt) bool {
	if len(dones) == 0 {
		return false
	}
	d := dones[len(dones)-1]
	down := g.state.Looking == nil && g.state.RunState == health.Stopped && g.sight.State == health.Stopped
	return d.Verb == health.VerbStart && (d.Err != "" || down) || d.Verb == health.VerbRestart && down
}

// noteFinding keeps the verdict with the incident, for people and for a successor of this agent.
func (t *turn) noteFinding(g *guest, id string) {
	data, err := json.Marshal(g.finding)
	if err != nil { // it holds nothing that does not marshal
		t.log.Error("a verdict could not be kept", "container", g.ref.String(), "err", err)
	}
	text := "it looks like this: " + g.finding.Verdict.Sentence
	g.remember(t.clock.wall(t.at), text)
	t.batch.Notes = append(t.batch.Notes, store.Note{Ref: g.ref, Incident: id, At: t.at, Kind: "verdict", Text: text, Data: data})
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

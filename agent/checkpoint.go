package agent

import (
	"maps"
	"slices"
	"time"

	"atalaya/agent/health"
)

// How often the journal keeps how all containers stand, so that a replay can begin there: as soon as nothing is wrong, at
// the latest when so much more has passed.
const (
	checkpointEvery = 24 * time.Hour
	checkpointAtAll = 48 * time.Hour
)

// remarkAgent keeps in the journal what became of the agent itself.
func (t *turn) remarkAgent(what string) {
	m := mark{At: t.at, Order: t.journal.next()}
	t.journal.observe(sensed{sensor: sensorAgent + ":" + what, outcome: what}, m, true)
}

// begin keeps how all containers stand: from here on they can be followed.
func (t *turn) begin(how string) {
	t.journal.begun = t.at
	m := mark{At: t.at, Order: t.journal.next()}
	var event *health.HostEvent
	if e := t.survey.Event(); e != nil {
		now := *e // the survey goes on with it
		event = &now
	}
	t.journal.observe(sensed{sensor: sensorAgent, outcome: how, record: record{Event: event}}, m, true)
	for _, g := range sorted(slices.Collect(maps.Values(t.guests))) {
		s := g.state
		m := mark{At: t.at, Order: t.journal.next(), Phase: s.Phase}
		t.journal.observe(sensed{ref: g.ref, sensor: sensorState, outcome: how, record: record{State: &s}}, m, true)
	}
}

// checkpoint does so once a day, at a moment at which nothing is wrong: then nothing but the states is to be known.
func (t *turn) checkpoint() {
	age := t.at.Sub(t.journal.begun)
	if t.journal.begun.IsZero() || age < checkpointEvery || age < checkpointAtAll && !t.calm() {
		return
	}
	t.begin(agentGoesOn)
}

func (t *turn) calm() bool {
	if t.survey.Event() != nil || t.survey.Busy() > 0 {
		return false
	}
	for _, g := range t.guests {
		if g.state.Case != nil || health.FailingSince(g.state) != (time.Time{}) {
			return false
		}
	}
	return true
}

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
)

// An outlook is what the agent would do about a container that it sees so, found by asking the core itself: a copy of the
// state is stepped with what was seen, and nothing that it orders is done.
type outlook struct {
	policy health.Policy
	state  health.State
	at     time.Time
	acts   []health.Action
}

// foresee steps a state, stored or blank, with what an engine and the host say at this moment; with a birth, as an agent would
// that begins now.
func foresee(p health.Policy, s health.State, b *health.Birth, g health.Sighting, w health.HostWord, now time.Time) *outlook {
	u := &outlook{policy: p, state: s, at: now}
	if s.Last.After(now) {
		u.at = s.Last
	}
	g.At = time.Time{} // it is as fresh as can be
	if b != nil {
		u.step(health.Observation{Birth: b})
	}
	u.step(health.Observation{Host: &w})
	u.step(health.Observation{Sight: &g})
	u.looked(g, w)
	return u
}

// looked answers the looks that the core orders with the same word again.
func (u *outlook) looked(g health.Sighting, w health.HostWord) {
	for range 4 {
		if u.state.Looking == nil {
			return
		}
		u.step(health.Observation{Look: &health.Look{Seq: u.state.Looking.Seq, Sighting: &g, Host: &w}})
	}
}

func (u *outlook) step(o health.Observation) {
	o.At, o.Room = u.at, health.Room{Start: true, Restart: true}
	var acts []health.Action
	u.state, acts = health.Step(u.policy, u.state, o)
	u.acts = append(u.acts, acts...)
}

// ordered reports whether the core ordered such an action.
func (u *outlook) ordered(k health.ActionKind) bool {
	return slices.ContainsFunc(u.acts, func(a health.Action) bool { return a.Kind == k })
}

// text says it for people.
func (u *outlook) text() string {
	why := ""
	if u.state.Why != "" {
		why = ": " + u.state.Why
	}
	switch {
	case u.ordered(health.DoStart):
		return "would start it" + why
	case u.ordered(health.DoRestart):
		return "would restart it" + why
	}
	switch u.state.Phase {
	case health.Up:
		return ""
	case health.New:
		return "would only watch: not seen running here yet; 'atalaya want' has it started"
	case health.Off:
		return "would leave it" + why
	case health.Deferred:
		return "hands off" + why
	case health.Alerted:
		if u.policy.Mode == health.ModeObserve {
			return "would record it" + why
		}
		return "would alert" + why
	case health.Waiting, health.Exhausted:
		return fmt.Sprintf("next attempt at %s%s", moment(u.state.Due), why)
	}
	return string(u.state.Phase) + why
}

// failing says what would come of it if a probe that fails now went on failing.
func (u *outlook) failing(name string, g health.Sighting, w health.HostWord) string {
	pp, ok := u.policy.Probes[name]
	if !ok || u.state.Phase != health.Up {
		return ""
	}
	if !u.state.Probes[name].Ever {
		return fmt.Sprintf("probe %q fails, and has not passed yet: it does not count", name)
	}
	next := &outlook{policy: u.policy, state: u.state, at: u.at}
	for n := range uint64(pp.FailAfter) {
		seq := next.state.Probes[name].Seq + n + 1
		next.step(health.Observation{Signal: &health.Signal{Probe: name, Seq: seq, Outcome: health.Fail}})
	}
	next.looked(g, w)
	switch {
	case next.ordered(health.DoRestart):
		return fmt.Sprintf("would restart it after %d failures of %q in a row", pp.FailAfter, name)
	case next.ordered(health.DoOpen):
		return fmt.Sprintf("would alert after %d failures of %q in a row", pp.FailAfter, name)
	}
	return fmt.Sprintf("probe %q fails; %s", name, next.state.Why)
}

// sortedProbes are the names of the probes that a state knows.
func sortedProbes(s health.State) []string { return slices.Sorted(maps.Keys(s.Probes)) }

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

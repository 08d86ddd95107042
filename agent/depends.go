package agent

import (
	"fmt"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// What a container depends on is configured (depends_on). While one of them fails, what depends on it is neither restarted
// nor told of: it is named in the alert about that one. What all of them need of the host, a bridge or the engine's daemon,
// is derived: see strained.

// fails tells whether a container does not do what others need of it. A first failure counts that is not confirmed yet, so
// that whoever depends on it is not restarted a moment sooner.
func (g *guest) fails() bool {
	switch g.state.RunState {
	case health.Stopped, health.Broken, health.Missing:
		return true
	}
	return !health.FailingSince(g.state).IsZero()
}

// needed gives the containers that one depends on, as far as they are known.
func (a *Agent) needed(g *guest) []*guest {
	var out []*guest
	for _, want := range g.setup.DependsOn {
		found := false
		for _, d := range a.called()[want] {
			if d != g && a.guests[d.ref] == d {
				out, found = append(out, d), true
			}
		}
		a.unmetBy(g, want, found)
	}
	slices.SortFunc(out, func(x, y *guest) int { return strings.Compare(x.ref.String(), y.ref.String()) })
	return out
}

// called gives the containers by what depends_on may call them. It is made anew once a turn, where it is needed at all, and
// when one came or went.
func (a *Agent) called() map[string][]*guest {
	if a.byName == nil || a.named != len(a.guests) {
		a.byName, a.named = make(map[string][]*guest, 2*len(a.guests)), len(a.guests)
		for _, g := range a.guests {
			a.byName[g.ref.String()] = append(a.byName[g.ref.String()], g)
			if n := g.name(); n != g.ref.String() {
				a.byName[n] = append(a.byName[n], g)
			}
		}
	}
	return a.byName
}

// unmetBy says once that a dependency names nothing.
func (a *Agent) unmetBy(g *guest, want string, found bool) {
	key := g.ref.String() + " " + want
	if found || !a.settled() || a.unmet[key] {
		return
	}
	if a.unmet == nil {
		a.unmet = map[string]bool{}
	}
	a.unmet[key] = true
	a.log.Warn("a container depends on one that is not there: correct depends_on in the configuration", "container", g.ref.String(), "depends_on", want)
}

// settled tells whether every instance has been listed once, or could not be.
func (a *Agent) settled() bool {
	return !slices.ContainsFunc(a.inst, func(in *instance) bool { return !in.heard })
}

// root says what a container depends on and that fails, in words for people: of a chain its end. Empty: nothing.
func (a *Agent) root(g *guest) string {
	if len(g.setup.DependsOn) == 0 {
		return ""
	}
	r := a.rootOf(g, map[*guest]bool{})
	if r == nil {
		return ""
	}
	what := "fails"
	if r.state.RunState != health.Running {
		what = "is " + string(r.state.RunState)
	}
	return fmt.Sprintf("%s, which %s", a.saying(r.ref), what)
}

func (a *Agent) rootOf(g *guest, seen map[*guest]bool) *guest {
	seen[g] = true
	for _, d := range a.needed(g) {
		if seen[d] {
			continue // they depend on each other: whoever fails first is the root
		}
		if r := a.rootOf(d, seen); r != nil {
			return r
		}
		if d.fails() {
			return d
		}
	}
	return nil
}

// dependents gives those that cannot work without a container, directly or not, sorted.
func (a *Agent) dependents(g *guest) []health.Ref {
	seen := map[*guest]bool{g: true}
	var out []health.Ref
	for todo := []*guest{g}; len(todo) > 0; todo = todo[1:] {
		for _, other := range a.guests {
			if len(other.setup.DependsOn) > 0 && !seen[other] && slices.Contains(a.needed(other), todo[0]) {
				seen[other] = true
				todo, out = append(todo, other), append(out, other.ref)
			}
		}
	}
	slices.SortFunc(out, func(x, y health.Ref) int { return strings.Compare(x.String(), y.String()) })
	return out
}

// saying is how a container is named for people.
func (a *Agent) saying(ref health.Ref) string {
	if g := a.guests[ref]; g != nil && g.name() != ref.ID {
		return fmt.Sprintf("%s (%s)", ref, g.name())
	}
	return ref.String()
}

// depend tells those that depend on what began to fail in this turn, or is well again.
func (t *turn) depend() {
	for range len(t.guests) + 1 { // as deep as a chain can be
		changed := false
		for g := range t.dirty {
			if now := g.fails(); now != g.failed {
				g.failed, changed = now, true
			}
		}
		if !changed {
			return
		}
		for _, g := range t.guests {
			if !g.born || len(g.setup.DependsOn) == 0 {
				continue
			}
			if w := t.wordOf(g); !sameWord(w, g.state.Host) {
				t.hostSaid(g, w)
			}
		}
	}
}

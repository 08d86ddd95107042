package agent

import "atalaya/agent/health"

// A container may be visible through two engines: LXD's through LXC's tools, a machine of libvirt through systemd's. It is
// watched once, by the engine that stands higher, because only that one knows its locks and who wants what.

// owners are the running containers of all other instances by their init process, which no two can share.
func (t *turn) owners(in *instance) map[health.Process]*guest {
	if len(t.inst) < 2 {
		return nil
	}
	owners := map[health.Process]*guest{}
	for _, g := range t.guests {
		if g.inst != in && g.state.Init.PID != 0 {
			owners[g.state.Init] = g
		}
	}
	return owners
}

// shadowed reports whether what a list says is of a container that a higher engine is watching. A lower one that was known
// gives way.
func (t *turn) shadowed(in *instance, s health.Sighting, owners map[health.Process]*guest) bool {
	if by, ok := t.shadows[s.Ref]; ok {
		high := t.guests[by]
		if high != nil && (s.State != health.Running || s.Init.PID == 0 || s.Init == high.state.Init) {
			return true
		}
		delete(t.shadows, s.Ref)
	}
	other := owners[s.Init]
	if other == nil || s.Init.PID == 0 {
		return false
	}
	low, high := s.Ref, other.ref
	if in.rank() < other.inst.rank() {
		low, high = high, low
	}
	t.log.Info("a container is visible through two engines, and is watched by the higher one", "container", high.String(), "also", low.String())
	t.shadows[low] = high
	if g := t.guests[low]; g != nil {
		t.ignore(g, "watched through "+high.String()+" from now on")
	}
	return low == s.Ref
}

// rank is how high an engine stands: the lower the number.
func (in *instance) rank() int { return in.Rank() }

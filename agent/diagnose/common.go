package diagnose

import (
	"fmt"

	"atalaya/agent/health"
)

// together blames the host when most containers fail at once and nothing more exact is known.
func together(f Facts) (health.Verdict, bool) {
	s := f.Siblings
	if !s.all() {
		return health.Verdict{}, false
	}
	return health.Verdict{
		Layer: Host, Confidence: Medium,
		Sentence: fmt.Sprintf("%s, and so do %d of the %d other containers: something common to them failed on the host.",
			f.cannot(), s.Failing, s.Total),
		Disproof: "The containers share a guest-side cause: one image, one update, one service they all depend on.",
		Cure: "Look at what changed on the host before the first failure: kernel, packages, a restart of the " +
			"virtualization service, the firewall, storage.",
	}, true
}

// changed blames the latest change of what the containers have in common, when they fail together.
func changed(f Facts) (health.Verdict, bool) {
	for i := len(f.Changes) - 1; i >= 0; i-- {
		if c := f.Changes[i]; f.Siblings.all() && c.Layer != Guest && c.What != "" && layers[c.Layer] {
			v := after(f, c)
			v.Confidence = Medium
			return v, true
		}
	}
	return health.Verdict{}, false
}

// changedAlone says what changed before the failure of one: a hint, and no more.
func changedAlone(f Facts) (health.Verdict, bool) {
	for i := len(f.Changes) - 1; i >= 0; i-- {
		if c := f.Changes[i]; c.What != "" && layers[c.Layer] {
			return after(f, c), true
		}
	}
	return health.Verdict{}, false
}

// layers are those that a change may be blamed on. The provider's changes are not seen from here.
var layers = map[string]bool{Guest: true, Engine: true, Host: true, Storage: true, Network: true, Operator: true}

func after(f Facts, c Change) health.Verdict {
	return health.Verdict{
		Layer: c.Layer, Confidence: Low, RetryHelps: health.Maybe,
		Sentence: fmt.Sprintf("%s since something changed shortly before: %s.", f.cannot(), plain(c.What)),
		Proof:    []string{"seen shortly before: " + quoted(c.What) + f.in(FactHost)},
		Disproof: "With the change undone it fails all the same.",
		Cure:     "Undo that change, or see what it brought with it.",
	}
}

// atEdge goes by counters: what refused something since the container was last well.
func atEdge(f Facts) (health.Verdict, bool) {
	for _, c := range f.Counters {
		if c.Grew == 0 || c.Name == "" {
			continue
		}
		v := health.Verdict{
			Layer: Guest, Confidence: Medium, RetryHelps: health.Maybe,
			Sentence: fmt.Sprintf("%s after its own limit %q refused it something %d times.", f.cannot(), plain(c.Name), c.Grew),
			Proof:    []string{fmt.Sprintf("the counter %q grew by %d since it was last well%s", plain(c.Name), c.Grew, f.in(FactHost))},
			Disproof: "The limit is lower than what was agreed for this container: then it is the provider's.",
			Cure:     "Find what grew inside, or have the limit raised.",
		}
		if c.Whole {
			v.Layer = Host
			v.Sentence = fmt.Sprintf("%s after the limit %q of the whole host refused something %d times.", f.cannot(), plain(c.Name), c.Grew)
			v.Disproof = "This container alone used nearly all of it."
			v.Cure = "See who uses so much of it, and raise the host's limit."
		}
		return v, true
	}
	return health.Verdict{}, false
}

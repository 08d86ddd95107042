package diagnose

import (
	"fmt"
	"regexp"

	"atalaya/agent/health"
)

// A signature is one failure that was seen, and what it means. It is data: sample is verbatim and must match, near is as
// verbatim and must not; a test holds both to it.
type signature struct {
	name       string
	engine     string // whose words; empty: anybody's
	match      *regexp.Regexp
	layer      string
	confidence string
	because    string // ends "Container X cannot start because …"; $1, $2 are what match found
	disproof   string
	cure       string
	retry      health.Tri
	source     string // where the sample is from
	sample     string
	near       string
}

// known looks the engine's words up in the table, innermost line first.
func known(f Facts) (health.Verdict, bool) {
	for _, line := range f.words() {
		for _, s := range lxcSignatures {
			if s.engine != "" && s.engine != f.Sighting.Ref.Engine {
				continue
			}
			if at := s.match.FindStringSubmatchIndex(line); at != nil {
				return s.verdict(f, line, at), true
			}
		}
	}
	return health.Verdict{}, false
}

func (s signature) verdict(f Facts, line string, at []int) health.Verdict {
	fill := func(text string) string { return string(s.match.ExpandString(nil, text, line, at)) }
	return health.Verdict{
		Layer: s.layer, Confidence: s.confidence,
		Sentence: fmt.Sprintf("%s because %s.", f.cannot(), fill(s.because)),
		Proof:    []string{"the engine's innermost words: " + quoted(line) + f.in(FactEngine)},
		Disproof: fill(s.disproof), RetryHelps: s.retry, Cure: fill(s.cure),
	}
}

package diagnose

import (
	"fmt"

	"atalaya/agent/health"
)

// The layers to blame.
const (
	Guest        = "guest"
	Engine       = "engine"
	Host         = "host"
	Storage      = "storage"
	Network      = "network"
	Provider     = "provider"
	Operator     = "operator"
	Undetermined = "undetermined"
)

// How sure a verdict is.
const (
	Low    = "low"
	Medium = "medium"
	High   = "high"
)

// A rule gives a verdict, or false when the facts say nothing to it.
type rule func(Facts) (health.Verdict, bool)

// Judge gives the verdict of the first rule that has one. It never fails: what no rule knows is undetermined.
func Judge(f Facts) health.Verdict {
	f.said = f.words()
	for _, r := range []rule{
		acted, recorded, closing, seen, held, lacking, stuck, known, outOfMemory, surely, byKernel, byErrno,
		ended, shortLived, changed, together, byProbe, atEdge, hinted, changedAlone,
	} {
		if v, ok := r(f); ok {
			return weigh(f, beneath(f, v))
		}
	}
	return weigh(f, undetermined(f))
}

// weigh adds what the other containers of the host say: all or one.
func weigh(f Facts, v health.Verdict) health.Verdict {
	s := f.Siblings
	switch {
	case s.Total == 0:
	case s.all() && v.Layer != Guest && v.Layer != Operator && v.Layer != Undetermined:
		v.Proof = append(v.Proof, fmt.Sprintf("%d of the %d other containers of this host fail as well%s",
			s.Failing, s.Total, f.in(FactSiblings)))
	case s.all() && v.Layer == Guest:
		v.Confidence = Low
		v.Proof = append(v.Proof, fmt.Sprintf("against it: %d of the %d other containers of this host fail as well%s",
			s.Failing, s.Total, f.in(FactSiblings)))
	case s.Failing == 0 && v.Layer != Undetermined:
		v.Proof = append(v.Proof, fmt.Sprintf("the %d other containers of this host are well%s", s.Total, f.in(FactSiblings)))
	}
	return v
}

// undetermined says what would settle it.
func undetermined(f Facts) health.Verdict {
	v := health.Verdict{Layer: Undetermined, Confidence: Low}
	switch f.Failure {
	case WontStart:
		v.Sentence = f.cannot() + ", and its virtualization software does not say why."
		v.Cure = "Start it by hand with full logging; the first error line settles it, not the last."
		if d := f.latest(); d.Err != "" {
			v.Proof = append(v.Proof, "the engine answered: "+quoted(d.Err)+f.in(FactEngine))
		}
		if words := f.words(); len(words) > 0 {
			v.Proof = append(v.Proof, "its innermost words are not in our table: "+quoted(words[0])+f.in(FactEngine))
		}
	case Sick:
		v.Sentence = f.cannot() + "; from what was seen, the guest or the network in between may be the cause."
		v.Cure = "Try the same request from inside the container: if it passes there, it is the network; if not, the guest."
		if f.Probe.Probe != "" {
			v.Proof = append(v.Proof, probeWords(f))
		}
	default:
		v.Sentence = f.cannot() + " for a reason that was not seen."
		v.Proof = append(v.Proof, "the kernel gives no reason: a kill, a power-off inside and a stop of the engine look the same to it")
		v.Cure = "The guest's own last log lines and the kernel's log around that time settle it: a power-off or crash inside " +
			"is the guest's, an out-of-memory kill or a stopped service is the host's."
		v.RetryHelps = health.Yes
	}
	return v
}

// quoted makes one line of foreign words, bounded.
func quoted(s string) string {
	const limit = 300
	r := []rune(s)
	if len(r) > limit {
		return fmt.Sprintf("%q and more", string(r[:limit]))
	}
	return fmt.Sprintf("%q", s)
}

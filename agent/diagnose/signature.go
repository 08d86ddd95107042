package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"atalaya/agent/health"
)

// A signature is one failure that was seen, and what it means. It is data: sample is verbatim and must match, near is as
// verbatim and must not; a test holds both to it. docs/verdicts.md says how to add one.
type signature struct {
	name   string
	engine string          // whose words, see speaks; empty: anybody's
	from   Fact            // where its words are looked for: FactEngine unless said otherwise, FactKernel, FactSighting
	exit   int             // only with this exit code of the latest command; 0: with any
	state  health.RunState // only while the engine says so; empty: any
	match  *regexp.Regexp

	layer      string
	confidence string
	because    string // ends "Container X cannot start because …"; $1, $2 are what match found
	disproof   string
	cure       string
	retry      health.Tri

	survives bool   // the host tried to end the container by force, and something in it stayed: see stuck
	explains string // kernel: the layer of a verdict by the engine's words that this one lies beneath
	cgroup   int    // kernel: the group of match that names a cgroup, which must be the container's
	id       int    // kernel: the group of match that names a container by its id, which must be this one

	source string // where the sample is from
	sample string
	near   string
}

// table is every signature. Within a line the first that matches wins: the engines' own before those of the programs that
// several of them stand on.
var table = sync.OnceValue(func() []signature {
	return slices.Concat(
		virtuozzoSignatures(), openvzSignatures(), vzStorageSignatures(), proxmoxSignatures(), libvirtSignatures(), lxdSignatures(),
		dockerSignatures(), podmanSignatures(), nspawnSignatures(), lxcSignatures(), qemuSignatures(), ociSignatures(),
		kernelHardware(), kernelStorage(), kernelHost(),
	)
})

// kin are whose words an engine passes on besides its own: those of what it stands on.
func kin(engine string) []string {
	switch engine {
	case "virtuozzo":
		return []string{"openvz", "qemu"}
	case "proxmox":
		return []string{"lxc", "qemu"}
	case "incus":
		return []string{"lxd", "lxc", "qemu"}
	case "lxd":
		return []string{"lxc", "qemu"}
	case "libvirt":
		return []string{"qemu"}
	case "docker", "podman":
		return []string{"oci"}
	}
	return nil
}

// speaks says that an engine may use the words of a signature. A custom engine is a tool that is not known, so it may be
// any of them.
func (s signature) speaks(engine string) bool {
	return s.engine == "" || s.engine == engine || engine == "custom" || slices.Contains(kin(engine), s.engine)
}

// of says that a signature is about words of that kind, in these circumstances.
func (s signature) of(from Fact, f Facts) bool {
	where := s.from
	if where == "" {
		where = FactEngine
	}
	return where == from && s.speaks(f.Sighting.Ref.Engine) && (s.exit == 0 || s.exit == f.latest().Exit) &&
		(s.state == "" || s.state == f.Sighting.State)
}

// known looks the engine's words up in the table, innermost line first.
func known(f Facts) (health.Verdict, bool) {
	for _, line := range f.words() {
		for _, s := range table() {
			if !s.of(FactEngine, f) {
				continue
			}
			if at := s.match.FindStringSubmatchIndex(line); at != nil {
				return s.verdict(f, line, at), true
			}
		}
	}
	return health.Verdict{}, false
}

// seen looks up what the engine shows of the container without being asked to do anything, where that names the cause.
func seen(f Facts) (health.Verdict, bool) { return f.shown(false) }

// hinted is the same for what is only a hint, and says nothing where anything else does.
func hinted(f Facts) (health.Verdict, bool) { return f.shown(true) }

func (f Facts) shown(hint bool) (health.Verdict, bool) {
	for _, s := range table() {
		if !s.of(FactSighting, f) || (s.confidence == Low) != hint {
			continue
		}
		if at := s.match.FindStringSubmatchIndex(f.Sighting.Detail); at != nil {
			return s.verdict(f, f.Sighting.Detail, at), true
		}
	}
	return health.Verdict{}, false
}

func (s signature) verdict(f Facts, line string, at []int) health.Verdict {
	where, words, what := FactEngine, "the engine's innermost words: ", f.refused()
	switch s.from {
	case FactSighting:
		where, words, what = FactSighting, "the engine shows of it: ", f.cannot()
	case FactKernel:
		where, words, what = FactKernel, "the kernel's log: ", f.cannot()
	}
	return health.Verdict{
		Layer: s.layer, Confidence: s.confidence,
		Sentence: fmt.Sprintf("%s because %s.", what, fill(s.because, line, at)),
		Proof:    []string{words + quoted(line) + f.in(where)},
		Disproof: fill(s.disproof, line, at), RetryHelps: s.retry, Cure: fill(s.cure, line, at),
	}
}

// fill puts what was found into a text, as "$1". What was found is foreign: a container may have chosen it.
func fill(text, line string, at []int) string {
	var b strings.Builder
	for {
		head, rest, more := strings.Cut(text, "$")
		b.WriteString(head)
		if !more {
			return b.String()
		}
		n := int(rest[0] - '0') // a test sees to it that a digit follows
		if 2*n+1 < len(at) && at[2*n] >= 0 {
			b.WriteString(plain(line[at[2*n]:at[2*n+1]]))
		}
		text = rest[1:]
	}
}

// plain makes foreign words fit for a sentence: of one line, printable, short, and without what looks like a hole.
func plain(s string) string { return clipped(s, 120) }

// clipped is plain, up to a limit of one's own.
func clipped(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			b.WriteString("…")
			break
		}
		switch {
		case r == '$' || r == unicode.ReplacementChar || !unicode.IsPrint(r):
			b.WriteRune('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

package diagnose

import (
	"fmt"
	"regexp"
	"strconv"

	"atalaya/agent/health"
)

// exitCode is how docker and podman tell how a container's program ended (agent/engine/ocisighting.go).
var exitCode = regexp.MustCompile(`^(?:exited|stopped), exit code (\d+)(, out of memory)?`)

// An ending is what an exit code says of the program that had it. Those from 128 on are signals (128 + number).
type ending struct {
	layer, conf, because, disproof, cure string
	retry                                health.Tri
}

var endings = map[int]ending{
	125: {Engine, Medium, "its container software failed to run it", "Its program wrote to its log.", "See the log of the container software.", health.Maybe},
	126: {Guest, High, "the program it is to run cannot be executed", "The program is executable in its image.", "Correct the mode of the program, or the command of the container.", health.No},
	127: {Guest, High, "the program it is to run is missing", "The program is in its image.", "Correct the command of the container, or its image; a volume may hide the program.", health.No},
	132: {Guest, Medium, "its program used a processor instruction that this host does not have", "It runs on this host with the same image.", "Use an image for this processor.", health.No},
	134: {Guest, High, "its program gave up by itself (abort)", "Its log shows no failed check.", "Its own log says which check failed.", health.Maybe},
	139: {Guest, High, "its program read or wrote where it must not, and was ended (segmentation fault)", "Other programs of the host end the same way: then its memory is at fault.",
		"See what was updated in it last; its own log may tell more.", health.Maybe},
	143: {Operator, Low, "somebody asked its program to end (SIGTERM)", "Nobody and nothing on the host or inside stopped it.", "Find out who stopped it: a person, a script, the host's own shutdown.", health.Yes},
}

// ended judges by the exit code of the container's own program, where the engine tells it.
func ended(f Facts) (health.Verdict, bool) {
	m := exitCode.FindStringSubmatch(f.Sighting.Detail)
	if m == nil || f.Failure == Sick || f.Sighting.State != health.Stopped || f.latest().Err != "" {
		return health.Verdict{}, false
	}
	code, _ := strconv.Atoi(m[1])
	e, ok := endings[code]
	switch {
	case m[2] != "":
		e = ending{Guest, Medium, "it ran out of memory, and the kernel killed a process in it", "Its memory limit is lower than what was agreed for it, or the host itself was out of memory.",
			"Find what grew in it, or give it more memory.", health.Yes}
	case ok:
	case code > 0 && code < 125:
		e = ending{Guest, Medium, fmt.Sprintf("its own program ended with the error code %d", code), "The program ends so because of something the host did not give it: a volume, a network.",
			"Its own log says why the program ended.", health.Maybe}
	default: // 0, a kill, a signal: anybody can do that
		return health.Verdict{}, false
	}
	return health.Verdict{
		Layer: e.layer, Confidence: e.conf, RetryHelps: e.retry, Disproof: e.disproof, Cure: e.cure,
		Sentence: fmt.Sprintf("%s because %s.", f.cannot(), e.because),
		Proof:    []string{"the engine says: " + quoted(f.Sighting.Detail) + f.in(FactSighting)},
	}, true
}

// shortLived blames the guest for an init that ends at once: the engine started it well, and it did not last.
func shortLived(f Facts) (health.Verdict, bool) {
	d := f.latest()
	started := d.Verb == health.VerbStart || d.Verb == health.VerbRestart
	if f.Failure != WontStart || !started || d.Err != "" || d.Already || f.Sighting.State != health.Stopped {
		return health.Verdict{}, false
	}
	return health.Verdict{
		Layer: Guest, Confidence: Medium, RetryHelps: health.No,
		Sentence: fmt.Sprintf("Container %s is started by the host without an error, but its own init ends at once.", f.name()),
		Proof: []string{
			"the engine reported a successful start" + f.in(FactEngine),
			"asked again, it says: " + orState(f.Sighting) + f.in(FactSighting),
		},
		Disproof: "Its init, started in the foreground, stays.",
		Cure:     "Start it in the foreground and read what its init says; the console log holds the same words.",
	}, true
}

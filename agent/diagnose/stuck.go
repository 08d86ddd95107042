package diagnose

import (
	"fmt"

	"atalaya/agent/health"
)

// stuckCure is what helps a container that its host can neither stop nor start. In the case that is in the samples
// (agent/engine/testdata/openvz/vzctl-cannot-stop-or-restart.txt) it was a stray mount of control groups.
const stuckCure = `On the host, as root: list what is left of it with state and wait channel ("ps -eo pid,stat,wchan:30,cmd"), remove what holds ` +
	`it (a stray mount of control groups, a hung share, a stopped monitor), then stop and start it; a process in state D ends only when what it ` +
	`waits for answers, or with a reboot of the host.`

// stuck is the case that Atalaya was born from: the host calls a container running, refuses to start it because of that,
// and cannot end it either. No program inside can do this to its host, which may end any process by force; whoever runs
// the host has to mend it. It takes more than a stop that timed out, which a guest can bring about by not listening.
func stuck(f Facts) (health.Verdict, bool) {
	if f.Sighting.State == health.Stopped || f.Sighting.State == health.Missing || f.Sighting.State == health.Removed {
		return health.Verdict{}, false
	}
	t := f.tally()
	if t.forced == 0 {
		return health.Verdict{}, false
	}
	v := health.Verdict{
		Layer: Engine, Confidence: Medium, RetryHelps: health.No, Proof: t.proof,
		Disproof: "The forced stop, run by hand on the host, ends it, and the start after it works.",
		Cure:     stuckCure,
		Sentence: fmt.Sprintf("Container %s cannot be ended by its own host, even by force, so it can be neither stopped nor restarted; nothing inside "+
			"a container can withstand that, so the fault is in the host's virtualization software or its kernel.", f.name()),
	}
	if t.already > 0 {
		v.Sentence = fmt.Sprintf("Container %s can be neither started nor stopped by its own host, which calls it running, refuses to start it for that "+
			"reason, and fails to end it even by force; nothing inside a container can withstand that, so the fault is in the host's virtualization "+
			"software or its kernel.", f.name())
	}
	if t.already > 0 || t.failed > 1 {
		v.Confidence = High
	}
	if t.layer == Host {
		v.Layer = Host
	}
	if k, s, ok := f.kernel(""); ok && (s.explains == Storage || s.explains == Host) {
		v.Layer, v.Proof = k.Layer, append(v.Proof, k.Proof...)
		v.Cure = k.Cure + " " + v.Cure
	}
	return v, true
}

// A tally is what came of the attempts on a container, for stuck.
type tally struct {
	already int    // starts that were refused because it runs already
	failed  int    // stops, kills and restarts that failed
	forced  int    // of them, those that did so although force was used
	layer   string // Host where the words say that its kernel could not end a process
	proof   []string
}

// tally counts from the last attempt on that worked: what could not be ended before that has ended since.
func (f Facts) tally() tally {
	state := "asked for its state, the engine says: " + quoted(orState(f.Sighting)) + f.in(FactSighting)
	t := tally{proof: []string{state}}
	for _, a := range f.Attempts {
		s, survived := f.survived(a)
		ends := a.Verb == health.VerbStop || a.Verb == health.VerbKill || a.Verb == health.VerbRestart
		switch {
		case a.Already || a.Verb == health.VerbStart && names(a.Err, alreadyRunning):
			t.already++
		case a.Err == "":
			t = tally{proof: []string{state}}
			continue
		case !ends || names(a.Err, notRunning):
			continue
		default:
			t.failed++
			if survived || a.Verb == health.VerbKill && !f.explained(a) {
				t.forced++
			}
			if survived && s.layer == Host {
				t.layer = Host
			}
		}
		t.proof = append(t.proof, a.told()+f.in(FactEngine))
	}
	return t
}

// explained says that the words of an attempt have another reason: its daemon is down, say.
func (f Facts) explained(a Attempt) bool {
	for _, line := range a.words() {
		for _, s := range table() {
			if !s.survives && s.from == "" && s.exit == 0 && s.speaks(f.Sighting.Ref.Engine) && s.match.MatchString(line) {
				return true
			}
		}
		if v, ok := f.errno(line); ok && v.Confidence != Low {
			return true
		}
	}
	return false
}

// survived says that the words of an attempt tell of processes that were killed and stayed.
func (f Facts) survived(a Attempt) (signature, bool) {
	for _, line := range a.words() {
		for _, s := range table() {
			if s.survives && s.from != FactKernel && s.speaks(f.Sighting.Ref.Engine) && s.match.MatchString(line) {
				return s, true
			}
		}
	}
	return signature{}, false
}

// alreadyRunning and notRunning are how the engines refuse a start of what runs, and a stop of what does not.
var (
	alreadyRunning = []string{"already running", "already active", "already started"}
	notRunning     = []string{"not running", "already stopped", "is not running", "not found", "no such container"}
)

// told is an attempt in one line: "restart: exit 33: Failed to wait for CT tasks to die".
func (a Attempt) told() string {
	s := string(a.Verb)
	if a.Exit != 0 {
		s += fmt.Sprintf(": exit %d", a.Exit)
	}
	if words := a.words(); len(words) > 0 {
		s += ": " + quoted(words[0])
	} else if a.Already {
		s += ": it runs already, says the engine"
	} else if a.Err != "" {
		s += ": " + quoted(a.Err)
	}
	return s
}

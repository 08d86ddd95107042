package diagnose

import (
	"fmt"
	"path/filepath"
	"strings"

	"atalaya/agent/health"
)

// acted blames whoever was seen at it.
func acted(f Facts) (health.Verdict, bool) {
	a := f.Actor
	if a == nil || len(a.Argv) == 0 {
		return health.Verdict{}, false
	}
	return health.Verdict{
		Layer: Operator, Confidence: High,
		Sentence:   fmt.Sprintf("%s because somebody on the host ran %q on it.", f.cannot(), plain(filepath.Base(a.Argv[0]))),
		Proof:      []string{fmt.Sprintf("process %d of uid %d was running: %s", a.Process.PID, a.UID, clipped(strings.Join(a.Argv, " "), 400))},
		Disproof:   "That command was about another container, or had ended before.",
		RetryHelps: health.No,
		Cure:       "Ask who ran it, and why, before starting the container.",
	}, true
}

// recorded goes by the engine's own record of who ended it.
func recorded(f Facts) (health.Verdict, bool) {
	if f.Failure != Died || f.Sighting.State != health.Stopped {
		return health.Verdict{}, false
	}
	proof := []string{"the engine has on record: " + quoted(f.Sighting.OnPurpose) + f.in(FactSighting)}
	switch {
	case f.Sighting.Finished:
		return health.Verdict{
			Layer: Guest, Confidence: High, RetryHelps: health.No,
			Sentence: "Container " + f.name() + " ended by itself and without an error, as a job does that is done.",
			Proof:    []string{"the engine says: " + quoted(orState(f.Sighting)) + f.in(FactSighting)},
			Disproof: "Its program is meant to run for ever.", Cure: "Nothing, unless it should go on: then see why its program ends.",
		}, true
	case f.Sighting.OnPurpose == "":
		return health.Verdict{}, false
	case names(f.Sighting.OnPurpose, []string{"guest", "inside"}):
		return health.Verdict{
			Layer: Guest, Confidence: High, Proof: proof, RetryHelps: health.No,
			Sentence: "Container " + f.name() + " shut itself down from inside, says its host.",
			Disproof: "No user and no program inside asked for it.", Cure: "Ask who shut it down inside; its own log says it.",
		}, true
	}
	return health.Verdict{
		Layer: Operator, Confidence: High, Proof: proof, RetryHelps: health.No,
		Sentence: "Container " + f.name() + " was stopped on purpose, and its host has that on record.",
		Disproof: "The record is of an earlier stop.", Cure: "Ask who stopped it, and why, before starting it.",
	}, true
}

// closing blames a host, or an engine's service, that goes down and takes its containers with it.
func closing(f Facts) (health.Verdict, bool) {
	if f.Failure != Died || !f.Going || f.Closed == "" {
		return health.Verdict{}, false
	}
	return health.Verdict{
		Layer: Host, Confidence: High, RetryHelps: health.No,
		Sentence: "Container " + f.name() + " was stopped by its host: " + plain(f.Closed) + ".",
		Proof:    []string{"seen on the host at that time: " + quoted(f.Closed) + f.in(FactHost)},
		Disproof: "It had ended before that began.",
		Cure:     "Ask whoever runs the host whether that was planned; it comes back with the host, or with that service.",
	}, true
}

// held reports the holder, which is the news; trying again is noise.
func held(f Facts) (health.Verdict, bool) {
	if v, ok := locked(f); ok {
		return v, true
	}
	if f.Sighting.State == health.Paused {
		return health.Verdict{
			Layer: Operator, Confidence: Medium,
			Sentence:   "Container " + f.name() + " is paused, so nothing in it runs; somebody or something froze it.",
			Proof:      []string{"the engine says: " + orState(f.Sighting) + f.in(FactSighting)},
			Disproof:   "No person and no backup job froze it: then its engine did, on an I/O error for one.",
			RetryHelps: health.No, Cure: "Find out who froze it (a backup, a snapshot, a suspension), and resume it.",
		}, true
	}
	for _, line := range f.words() {
		for _, h := range holders {
			if strings.Contains(line, h.words) {
				return health.Verdict{
					Layer: Engine, Confidence: Medium, RetryHelps: health.No,
					Sentence: fmt.Sprintf("%s because %s.", f.refused(), h.means),
					Proof:    []string{"the engine's side says: " + quoted(line) + f.in(FactEngine)},
					Disproof: "The process named there is gone, and the command still does not answer.", Cure: h.cure,
				}, true
			}
		}
	}
	return health.Verdict{}, false
}

func locked(f Facts) (health.Verdict, bool) {
	l := f.Sighting.Lock
	if l == nil {
		return health.Verdict{}, false
	}
	what := fmt.Sprintf("%q", plain(l.Operation))
	who := "its holder is not known"
	if l.Holder.PID != 0 {
		who = fmt.Sprintf("process %d holds it", l.Holder.PID)
	}
	v := health.Verdict{
		Layer: Operator, Confidence: High, RetryHelps: health.No,
		Sentence: fmt.Sprintf("%s because the operation %s holds it; it is not a failure of the container.", f.cannot(), what),
		Proof:    []string{fmt.Sprintf("the engine shows the lock %s, %s%s", what, who, f.in(FactSighting))},
		Disproof: "The operation has ended, and the lock is still there.",
		Cure:     "Let the operation end, or find out why it does not.",
	}
	if l.Dead {
		v.Layer = Engine
		v.Sentence = fmt.Sprintf("%s because the lock of the operation %s was left behind by a process that no longer lives.", f.cannot(), what)
		v.Proof = append(v.Proof, fmt.Sprintf("process %d has ended", l.Holder.PID))
		v.Disproof = "The operation goes on under another process."
		v.Cure = "Make sure that the operation is over, then remove its lock with the engine's own command."
	}
	return v, true
}

// A holder is how an engine's side tells that something else has the container.
type holder struct{ words, means, cure string }

// holders come from agent/engine/lxchint.go, which reads them from /proc (../shared/rigs/README.md, traps 6 and 7), and
// from the engines' own words (FACTS.md sections 1 and 4).
var holders = []holder{
	{"is stopped: continue it", "its monitor process is stopped and answers nobody", "Continue the process named in the proof, with kill -CONT."},
	{"waits for a hook", "a hook script in its configuration does not end", "Find out what the hook waits for; the process is named in the proof."},
	{"is held by another process", "another process holds its lock file", "Find that process (fuser, lslocks) and let it end."},
	{"Locked by: pid", "the command named in the proof has it locked", "Let that command end; if its process hangs, find out what it waits for."},
	{"Locked info: pid=", "the command named in the proof has it locked", "Let that command end; if its process hangs, find out what it waits for."},
	{"Container already locked", "another operation has it locked", "Let that operation end; vzctl names it in its lock file."},
	{"nstance is busy running", "another operation of its engine is under way", "Let that operation end, or cancel it with the engine."},
}

// lacking blames the host for what the container needs and the host does not have.
func lacking(f Facts) (health.Verdict, bool) {
	if len(f.Faults) == 0 {
		return health.Verdict{}, false
	}
	v := health.Verdict{
		Layer: Network, Confidence: High, RetryHelps: health.No,
		Sentence: fmt.Sprintf("%s because of the host: %s.", f.cannot(), plain(strings.Join(f.Faults, ", "))),
		Disproof: "The host has what is named here, and the container fails all the same.",
		Cure:     "Restore on the host what is named here; the container is started when it is back.",
	}
	for _, fault := range f.Faults {
		v.Proof = append(v.Proof, "seen on the host: "+plain(fault)+f.in(FactHost))
		if !strings.Contains(fault, "bridge") && !strings.Contains(fault, "link") && !strings.Contains(fault, "interface") {
			v.Layer = Host
		}
	}
	if words := f.words(); len(words) > 0 {
		v.Proof = append(v.Proof, "the engine says the same: "+quoted(words[0])+f.in(FactEngine))
		if !mentions(words, f.Faults) {
			v.Proof[len(v.Proof)-1] = "the engine says: " + quoted(words[0]) + f.in(FactEngine)
			v.Confidence = Medium
		}
	}
	return v, true
}

// mentions says that the engine's words name something that the faults name: the bridge, the link.
func mentions(words, faults []string) bool {
	for _, fault := range faults {
		for _, name := range strings.Fields(fault) {
			for _, line := range words {
				if len(name) > 2 && strings.Contains(line, `"`+name+`"`) {
					return true
				}
			}
		}
	}
	return false
}

// orState is the engine's own word for its state, or else ours. It may hold what the container wrote.
func orState(s health.Sighting) string {
	if s.Detail != "" {
		return clipped(s.Detail, 300)
	}
	return string(s.State)
}

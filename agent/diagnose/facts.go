package diagnose

import (
	"fmt"
	"strings"

	"atalaya/agent/health"
)

// A Failure is what went wrong, as the container's owner would say it.
type Failure string

// The failures.
const (
	Died      Failure = "died"       // it ended, and nobody is known to have asked for it
	Sick      Failure = "sick"       // it runs, and a probe fails
	WontStart Failure = "wont-start" // starting it was tried, and it does not run
)

// A Fact names one kind of observation, so that a proof can name the file of the bundle that holds it.
type Fact string

// The kinds of facts.
const (
	FactEngine   Fact = "engine"   // the words and the log of the engine
	FactKernel   Fact = "kernel"   // the kernel's log
	FactProbe    Fact = "probe"    // the transcript of the failing probe
	FactHost     Fact = "host"     // the host's network, disks and vitals
	FactSighting Fact = "sighting" // what the engine says of the container
	FactSiblings Fact = "siblings" // the other containers of the host
)

// Facts are everything that a verdict is made from. Each may be missing; a missing fact proves nothing.
type Facts struct {
	Failure  Failure
	Sighting health.Sighting
	Dones    []health.Done // attempts, the latest last
	Log      string        // the engine's log of the latest attempt, whole
	Faults   []string      // what the container needs and the host lacks: "bridge br0 is missing"
	Actor    *health.Actor // who was seen stopping, moving or removing it
	Probe    health.Signal // the failing probe's latest word; Probe.Probe is empty when none fails
	Inside   health.Outcome
	Kernel   []string // lines of the kernel's log from the container's last life on, chosen by the caller
	Cgroup   string   // the container's cgroup as the kernel names it in its log: "/lxc.payload.web1"
	Siblings Siblings
	Files    map[Fact]string // which file of the bundle holds which fact
}

// Siblings are the other containers of the host that should run.
type Siblings struct {
	Failing int `json:"failing"` // of them, those with an open failure that began at about the same time
	Total   int `json:"total"`
}

// all says that the others fail as well: one is not enough, by chance two may.
func (s Siblings) all() bool { return s.Failing >= 2 && s.Failing*2 > s.Total }

// latest is the latest attempt, or a zero one.
func (f Facts) latest() health.Done {
	if len(f.Dones) == 0 {
		return health.Done{}
	}
	return f.Dones[len(f.Dones)-1]
}

// name is how the container is called for people.
func (f Facts) name() string {
	if f.Sighting.Name != "" {
		return fmt.Sprintf("%q", f.Sighting.Name)
	}
	return fmt.Sprintf("%q", f.Sighting.Ref.ID)
}

// cannot is the beginning of the sentence: what the container does not do.
func (f Facts) cannot() string {
	switch f.Failure {
	case Sick:
		return "Container " + f.name() + " runs but does not serve"
	case WontStart:
		return "Container " + f.name() + " cannot start"
	}
	return "Container " + f.name() + " stopped running"
}

// in names the file of the bundle that holds a fact, in brackets, where it is known.
func (f Facts) in(fact Fact) string {
	if file := f.Files[fact]; file != "" {
		return " (" + file + ")"
	}
	return ""
}

// words are the lines in which the engine says what went wrong, the innermost first: the cause it named, its log, and
// what it printed.
func (f Facts) words() []string {
	d := f.latest()
	var out []string
	for _, text := range []string{d.Cause, f.Log, d.Err} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !outer(line) {
				out = append(out, line)
			}
		}
	}
	return out
}

// outer says that a line covers every cause, and so names none. The last line never blames.
func outer(line string) bool {
	for _, s := range []string{
		"Received container state", "Failed to spawn container", "An error occurred in another process",
		"The container failed to start", "To get more details", "Additional information can be obtained",
		"Failed to receive the container state", "Failed to initialize container", "TASK ERROR", "ABORTING instead of",
	} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

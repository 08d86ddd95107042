package diagnose

import (
	"fmt"

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
	Attempts []Attempt     // the latest last
	Log      string        // the engine's log of the latest attempt, whole
	Closed   string        // why the host lets nothing be started: it goes down or comes up, or its engine does
	Going    bool          // of Closed: what stops now is stopped by that
	Faults   []string      // what the container needs and the host lacks: "bridge br0 is missing"
	Actor    *health.Actor // who was seen stopping, moving or removing it
	Probe    health.Signal // the failing probe's latest word; Probe.Probe is empty when none fails
	Inside   health.Outcome
	Kernel   []string // lines of the kernel's log from the container's last life on, chosen by the caller
	Host     []string // lines of it from that time that name no container: of the host as a whole
	Cgroup   string   // the container's cgroup as the kernel names it in its log: "/lxc.payload.web1"
	Counters []Counter
	Changes  []Change // what changed shortly before, the latest last
	Siblings Siblings
	Files    map[Fact]string // which file of the bundle holds which fact

	said []string // words, once Judge has made them
}

// An Attempt is one command of ours on the container, and what came of it.
type Attempt struct {
	health.Done
	Exit int // of the command; 0 when it worked, and when it is not known
}

// A Counter counts refusals at the edge of an allocation: "pids.max", "memory.events max", "numproc failcnt".
type Counter struct {
	Name  string // as its owner knows it
	Grew  uint64 // since the container was last well
	Whole bool   // it is the whole host's, not the container's own
}

// A Change is something that became different shortly before the failure.
type Change struct {
	Layer string // whose it is: Guest, Engine, Host, Storage, Network
	What  string // "package lxc was upgraded", "it was given another configuration"
}

// Siblings are the other containers of the host that should run.
type Siblings struct {
	Failing int `json:"failing"` // of them, those with an open failure that began at about the same time
	Total   int `json:"total"`
}

// all says that the others fail as well: one is not enough, by chance two may.
func (s Siblings) all() bool { return s.Failing >= 2 && s.Failing*2 > s.Total }

// latest is the latest attempt, or a zero one.
func (f Facts) latest() Attempt {
	if len(f.Attempts) == 0 {
		return Attempt{}
	}
	return f.Attempts[len(f.Attempts)-1]
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

// refused is the beginning of a sentence about what the engine said to the latest attempt.
func (f Facts) refused() string {
	if d := f.latest(); d.Err != "" {
		switch d.Verb {
		case health.VerbStop, health.VerbKill:
			return "Container " + f.name() + " cannot be stopped"
		case health.VerbRestart:
			return "Container " + f.name() + " cannot be restarted"
		case health.VerbBackup:
			return "Container " + f.name() + " cannot be backed up"
		}
	}
	return f.cannot()
}

// in names the file of the bundle that holds a fact, in brackets, where it is known.
func (f Facts) in(fact Fact) string {
	if file := f.Files[fact]; file != "" {
		return " (" + file + ")"
	}
	return ""
}

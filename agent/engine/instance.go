package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// An Instance is one installation of an engine. It is safe for concurrent use; lists are best asked one at a time.
type Instance struct {
	spec Spec
	tool *tool
	run  Runner
	log  *slog.Logger
}

// A Listing is the answer of one list.
type Listing struct {
	Containers []health.Sighting // sorted by id
	Degraded   string            // empty, or why and how the containers were asked for one by one
	Unasked    bool              // nothing has moved, as far as can be seen without the tool: it was not asked
	Notes      []string          // what was skipped or not understood, each told once in the life of the Instance
}

// A Source is one piece of evidence: the output of a command, or a file.
type Source struct {
	Name     string   // file name in a bundle
	Shows    string   // one line for a reader: what it shows; empty: where it is from
	Argv     []string // a command that only reads
	Path     string   // or a file; a pattern never
	Root     string   // when set, Path is relative to it and must be read through os.Root: a container can write there
	Volatile bool     // a start destroys it
	Tail     int      // keep so many last bytes; 0: the whole file, within the reader's own bound
	Image    bool     // a picture, PNG or PPM: kept as it is, or not at all
	Absent   string   // instead of all that: why there is none
}

// Spec gives what the instance was opened with, its defaults filled in.
func (i *Instance) Spec() Spec { return i.spec }

// SetQuiet changes how long the tool may go unasked while nothing moves; 0: DefaultQuiet. See Spec.Quiet.
func (i *Instance) SetQuiet(d time.Duration) {
	if d <= 0 {
		d = DefaultQuiet
	}
	if i.tool.quiet != nil {
		i.tool.quiet(d)
	}
}

// List asks for all containers. Refs in live are containers whose init process the caller holds by a pidfd, so that their
// deaths will be noticed anyway: with all that run among them, lxc starts no process while nothing moves. An error is no
// observation. A container that is no longer listed is simply not
// there; Defined tells whether it still exists.
func (i *Instance) List(ctx context.Context, live []health.Ref) (Listing, error) {
	l, err := i.tool.list(ctx, live)
	for _, n := range l.Notes {
		i.log.Warn("engine list: skipped", "note", n)
	}
	if err != nil {
		return Listing{Notes: l.Notes}, fmt.Errorf("list %s containers: %w", i.label(), err)
	}
	return l, nil
}

// Defined tells whether the definition of a container still exists. It starts no process. Where an engine keeps no
// definition that can be read so, it is always true: absence from a list is no proof of removal.
func (i *Instance) Defined(id string) bool { return i.tool.checkID(id) == nil && i.tool.defined(id) }

// Files are the executables whose runs Meaning knows; not all of them need exist.
func (i *Instance) Files() []string { return i.tool.files }

// Place identifies the folder that holds all containers, by file system and inode: another one means that something else
// is mounted there, or nothing is. Empty where an engine has no such folder, or it cannot be read.
func (i *Instance) Place() string {
	if i.tool.place == nil {
		return ""
	}
	return i.tool.place()
}

// Look asks for one container, freshly. With dead set to an init process that the kernel says has ended, lxc answers from
// files alone. An error is no observation. A container without definition is health.Removed.
func (i *Instance) Look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	if err := i.tool.checkID(id); err != nil {
		return health.Sighting{}, fmt.Errorf("look at %s: %w", i.ref(id), err)
	}
	s, err := i.tool.look(ctx, id, dead)
	if err != nil {
		return health.Sighting{}, fmt.Errorf("look at %s: %w", i.ref(id), err)
	}
	return s, nil
}

// Can tells whether the engine has a command for the verb. A caller replaces a missing restart by stop and start.
func (i *Instance) Can(v health.Verb) bool { _, ok := i.tool.verbs[v]; return ok }

// Limit is how long the verb is given when Do is told no limit; 0 when it cannot be done at all.
func (i *Instance) Limit(v health.Verb) time.Duration { return i.tool.verbs[v].limit }

// CanExec tells whether the engine can run a command in a container.
func (i *Instance) CanExec() bool { return i.tool.exec != nil }

// Exec runs a command that only reads inside a container. What it started there may outlive the limit: the engine's
// client is killed, the process inside is beyond reach.
func (i *Instance) Exec(ctx context.Context, id string, argv []string, limit time.Duration) hostexec.Transcript {
	if i.tool.exec == nil {
		return refused(argv, fmt.Sprintf("engine %q cannot run a command in a container", i.spec.Engine))
	}
	if err := i.tool.checkID(id); err != nil {
		return refused(argv, err.Error())
	}
	if len(argv) == 0 {
		return refused(argv, "no command given")
	}
	line, err := i.tool.exec(id, argv)
	if err != nil {
		return refused(argv, err.Error())
	}
	t := i.run.Read(ctx, hostexec.Command{Argv: line, Env: i.spec.Env, Timeout: limit})
	if i.tool.execEnd != nil {
		t = i.tool.execEnd(t)
	}
	return t
}

// Meaning tells whether a command line stops, moves, snapshots or removes a container of this instance, and which.
func (i *Instance) Meaning(argv []string) (id string, v health.Verb, ok bool) {
	if i.tool.meaning == nil || len(argv) == 0 {
		return "", "", false
	}
	return i.tool.meaning(argv)
}

// Evidence names what is worth keeping about a container, in the order of its worth.
func (i *Instance) Evidence(id string, s health.Sighting) []Source {
	if i.tool.evidence == nil || i.tool.checkID(id) != nil {
		return nil
	}
	return i.tool.evidence(id, s)
}

// HasEvents tells whether Events can follow anything.
func (i *Instance) HasEvents() bool { return i.tool.events != nil }

// Events follows the tool's own event stream, one process, until the context ends or the stream does; whoever calls it
// calls it again, later and later. Each event is a reason to look and never an observation: changed is called with the id
// of the container, or "" when all should be listed anew. An instance without a stream returns at once.
func (i *Instance) Events(ctx context.Context, changed func(id string)) error {
	if i.tool.events == nil {
		return nil
	}
	if err := i.tool.events(ctx, changed); err != nil {
		return fmt.Errorf("follow the events of %s: %w", i.label(), err)
	}
	return nil
}

// Version is the command line that prints the tool's version; nil where it has none.
func (i *Instance) Version() []string { return i.tool.version }

// Blind lists what cannot be known through this tool, a sentence each.
func (i *Instance) Blind() []string { return i.tool.blind }

// Rank is the place of its engine among all: of two that show the same container, the one with the lower rank knows more
// about it.
func (i *Instance) Rank() int {
	return slices.IndexFunc(kinds(), func(k kind) bool { return k.name == i.spec.Engine })
}

// Units names the systemd units whose stop job or restart means hands off.
func (i *Instance) Units() []string { return i.tool.units }

// Autostarter names the systemd unit that starts this instance's containers at boot, "" if none does.
func (i *Instance) Autostarter() string { return i.tool.autostarter }

func (i *Instance) ref(id string) health.Ref {
	return health.Ref{Engine: i.spec.Engine, Instance: i.spec.Instance, ID: id}
}

// label names the instance in errors: lxc in "/var/lib/lxc".
func (i *Instance) label() string {
	if i.spec.Path != "" {
		return fmt.Sprintf("%s in %q", i.spec.Engine, i.spec.Path)
	}
	if i.spec.Instance != "" {
		return i.spec.Engine + ":" + i.spec.Instance
	}
	return i.spec.Engine
}

// refused is the transcript of a command that was not run.
func refused(argv []string, why string) hostexec.Transcript {
	return hostexec.Transcript{Argv: argv, Started: time.Now(), Exit: -1, Failure: why}
}

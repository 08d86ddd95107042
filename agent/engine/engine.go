package engine

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// A Runner runs host commands. *hostexec.Host is one; a replayed session is another.
type Runner interface {
	// Read runs a command that only reads. It is killed at its limit, or when the context ends.
	Read(context.Context, hostexec.Command) hostexec.Transcript
	// Change runs a command that changes a container. It is never killed by force.
	Change(context.Context, hostexec.Op, hostexec.Command) hostexec.Transcript
	// Stream follows a long-lived command that only reads, line by line, until the context ends.
	Stream(context.Context, hostexec.Command, func(line []byte) error) error
}

// DefaultTimeout bounds a list, when Spec.Timeout is zero.
const DefaultTimeout = 20 * time.Second

// DefaultQuiet is how long the tool may go unasked while nothing moves, when Spec.Quiet is zero: what only the tool itself
// knows, such as a monitor that hangs, is noticed as late as that.
const DefaultQuiet = time.Minute

// maxList is how much of a list's output is kept: 10,000 containers with room to spare. What is longer is not believed.
const maxList = 4 << 20

// A Spec is one installation of an engine, configured or discovered.
type Spec struct {
	Engine   string        // one of Names
	Instance string        // name of this one among several; empty: the default
	Path     string        // lxc: the lxcpath; lxd, incus: the daemon's folder; absolute
	URI      string        // libvirt: the connection, such as "qemu:///system"
	Args     []string      // docker, podman, …: put between the tool and its command, such as "--host=unix:///run/other.sock"
	Env      []string      // "NAME=value" for every command of the tool
	SSH      string        // "user@host" when it is on another host, where the Runner then must go; empty: it is here
	SSHConf  string        // a configuration file for the ssh client, absolute; empty: that of the user and of the system
	Bin      string        // folder of the tool's commands, absolute; empty: they are looked up
	Root     string        // prefix of the host's files that are read directly (lock files, task logs); empty: /
	Custom   *CustomSpec   // custom: its command lines
	Timeout  time.Duration // of the list; 0: DefaultTimeout
	Quiet    time.Duration // how long a list may be made without asking the tool, while nothing moves; 0: DefaultQuiet
	Backups  string        // folder for backups whose tool has no place of its own, absolute; empty: /var/lib/atalaya/backups
	RunDir   string        // where the log files of starts live for a moment; empty: /run/atalaya, else the temporary folder
}

// A kind is an engine that can be opened.
type kind struct {
	name     string
	discover func(context.Context, Runner) []Spec // nil: is never found by itself
	open     func(Spec, Runner) (*tool, error)
	covers   []Spec // what this engine stands upon, by Engine and Path: not found by itself where this one is found
}

// kinds is the list of engines: to add one, add its line. The higher ones come first: of two that show the same container,
// the first watches it.
func kinds() []kind {
	return []kind{
		{name: "custom", open: openCustom},
		{name: "proxmox", discover: discoverProxmox, open: openProxmox, covers: []Spec{{Engine: "lxc", Path: pveLXCPath}}},
		{name: "virtuozzo", discover: discoverVirtuozzo, open: openVirtuozzo, covers: []Spec{{Engine: "libvirt"}}}, // its VMs are libvirt's, and the dispatcher's
		{name: "openvz", discover: discoverOpenVZ, open: openOpenVZ},
		{name: "incus", discover: discoverIncus, open: openIncus, covers: dialectIncus().covers()},
		{name: "lxd", discover: discoverLXD, open: openLXD, covers: dialectLXD().covers()},
		{name: "libvirt", discover: discoverLibvirt, open: openLibvirt},
		{name: "docker", discover: discoverDocker, open: openDocker},
		{name: "podman", discover: discoverPodman, open: openPodman},
		{name: "nspawn", discover: discoverNspawn, open: openNspawn},
		{name: "lxc", discover: discoverLXC, open: openLXC},
	}
}

// Names lists the engines that Open knows.
func Names() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// WithBin lists the engines whose commands may lie in a folder of their own: Spec.Bin.
func WithBin() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return name == "custom" || name == "lxc" })
}

// Discover asks what is on this host. It starts at most one process per engine whose tools are installed, and finds
// nothing rather than fail. A container that two engines would show is found through the higher one only.
func Discover(ctx context.Context, r Runner) []Spec { return discover(ctx, r, kinds()) }

func discover(ctx context.Context, r Runner, kinds []kind) []Spec {
	var found, covered []Spec
	for _, k := range kinds {
		if k.discover == nil {
			continue
		}
		if specs := k.discover(ctx, r); len(specs) > 0 {
			found = append(found, specs...)
			covered = append(covered, k.covers...)
		}
	}
	return slices.DeleteFunc(found, func(s Spec) bool {
		return slices.ContainsFunc(covered, func(c Spec) bool {
			return c.Engine == s.Engine && (c.Path == "" || realPath(c.Path) == realPath(s.Path))
		})
	})
}

// wordRE is what an instance may be called: it stands in paths, labels and Ref.String.
var wordRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Open makes an instance ready. It reads no more than configuration files and starts nothing; an error names the key of
// the Spec that is wrong and what to do about it.
func Open(s Spec, r Runner, log *slog.Logger) (*Instance, error) {
	if s.Instance != "" && !wordRE.MatchString(s.Instance) {
		return nil, fmt.Errorf("open engine %q: instance %q: use letters, digits, '.', '_' and '-'", s.Engine, s.Instance)
	}
	if s.Timeout < 0 {
		return nil, fmt.Errorf("open engine %q: timeout %v: give a positive duration", s.Engine, s.Timeout)
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.Quiet <= 0 {
		s.Quiet = DefaultQuiet
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for _, k := range kinds() {
		if k.name != s.Engine {
			continue
		}
		open := k.open
		if s.far() {
			open = k.openFar
		} else {
			s.sweepLogs(time.Now())
		}
		t, err := open(s, r)
		if err != nil {
			return nil, fmt.Errorf("open engine %q: %w", s.Engine, err)
		}
		return &Instance{spec: s, tool: t, run: r, log: log.With("engine", s.Engine, "instance", s.Instance)}, nil
	}
	return nil, fmt.Errorf("open engine %q: no such engine: use one of %s", s.Engine, strings.Join(Names(), ", "))
}

// A tool is one opened instance: command lines as data, and the functions that read the answers. Its functions are safe
// for concurrent use. Functions that may be nil say so.
type tool struct {
	verbs       map[health.Verb]verb
	checkID     func(id string) error // whether id may reach a command line
	list        func(ctx context.Context, live []health.Ref) (Listing, error)
	quiet       func(d time.Duration) // nil: every list asks the tool
	look        func(ctx context.Context, id string, dead health.Process) (health.Sighting, error)
	defined     func(id string) bool
	place       func() string                                              // nil: has none
	exec        func(id string, argv []string) ([]string, error)           // nil: cannot
	execEnd     func(hostexec.Transcript) hostexec.Transcript              // nil: the exit code is that of the command inside
	meaning     func(argv []string) (id string, verb health.Verb, ok bool) // nil: knows none
	evidence    func(id string, s health.Sighting) []Source                // nil: has none
	files       []string                                                   // executables whose runs meaning knows
	hint        func(id string) string                                     // nil: why a command about id may hang
	events      func(ctx context.Context, changed func(id string)) error   // nil: the tool has no event stream
	logs        func(id string) []Source                                   // nil: keeps none; what the container itself said last: its console, its output
	lastBackup  func(ctx context.Context, id string) (Backup, error)       // nil: cannot be known; the zero Backup: there is none
	version     []string                                                   // command line that prints the tool's version
	facts       facts
	blind       []string // what cannot be known through this tool, a sentence each
	units       []string
	autostarter string
}

// facts say where an engine tells what a judgement needs, a few words each; empty: it does not tell.
type facts struct {
	intent     string // whether a container should be running
	stopped    string // who stopped it, or that somebody did
	lock       string // which operation holds it
	cause      string // why a start failed
	supervisor string // who else starts it
}

// A verb is how a tool is told to do one thing.
type verb struct {
	argv   func(c call) ([]string, error)
	before func(context.Context, call)          // nil: nothing; what has to be done for the command to work
	after  func(context.Context, call, *Answer) // nil: nothing; may ask for a cause that the command's own words hide
	least  func(id string) time.Duration        // nil: none; what the container itself asks to be given
	limit  time.Duration                        // when the caller states none
	slack  time.Duration                        // beyond the limit, until the command itself is taken as hung
	log    bool                                 // it writes a log file of its own, call.log
	read   func(t hostexec.Transcript, log []byte) Answer
}

// A call is what a command line may be made of.
type call struct {
	id    string
	limit time.Duration
	log   string
	to    string // of a backup: a path without suffix in Spec.BackupDir, for a tool that has no place of its own
}

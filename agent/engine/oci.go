package engine

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What docker and podman have in common: the same words on the command line, the same document from "inspect". They
// differ in a dialect. Measured with docker 20.10.24 and podman 4.3.1 of Debian 12, docker's client 28.2.2 besides.
//
// The list ("ps") tells state, name and health; pid, addresses, restart policy and labels are told by "inspect" only. So
// each poll asks the list, and one inspect for all those together whose row changed, whose init no longer lives or of
// which an event spoke: one process while nothing moves, two when something did, whatever the number of containers.

// ociDialect is what tells the two apart.
type ociDialect struct {
	name    string // of the engine and of its command
	ps      []string
	inspect string // template of one container as one line of JSON
	events  []string
	rows    func([]byte, *notes) ([]ociRow, error)
	event   func([]byte) (ociEvent, bool)
	gone    *regexp.Regexp // the words of inspect about what does not exist; the first group is the id
	flag    bool           // it keeps config.v2.json, which says who stopped a container
}

// ociChunk is how many containers one inspect is asked about: of 300, some 3 KB each, maxList holds all.
const ociChunk = 300

// oci is one instance: one daemon of docker, or podman's storage of root.
type oci struct {
	base
	ociDialect

	mu      sync.Mutex
	known   map[string]*ociEntry // by id
	told    map[string]*ociTold  // by id, from events
	slow    map[string]bool      // by id, who did not answer
	service bool                 // podman: asked through its service, perhaps another user's
	exits   string               // podman: where a conmon leaves exit codes, "" not known
	home    string               // the folder of all containers' own folders, "" until one was asked about
	gap     ociGap
	full    time.Time // when all were last inspected
	boot    time.Time // of this kernel
}

// ociEntry is what is remembered of one container between two questions. Guarded by oci.mu.
type ociEntry struct {
	row   ociRow
	print string        // of the row that in belongs to; "": in is to be asked anew
	age   time.Duration // as the row told it; it falls when something happened between two lists
	in    ociInspect
	init  health.Process
	odd   time.Time // since when the engine says otherwise than the kernel
	ours  bool      // the agent itself stopped this life
	bad   string    // why inspect fails for it, "" if it does not

	stopping bool // somebody else was seen stopping it
}

// ociIDRE is an id as both give it. Names are for people: they can be changed while a container runs.
var ociIDRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checkOCIID(id string) error {
	if !ociIDRE.MatchString(id) {
		return fmt.Errorf("id %.80q: give the whole id, 64 hexadecimal digits", id)
	}
	return nil
}

func newOCI(s Spec, r Runner, d ociDialect) (*oci, error) {
	if err := ociSpec(s); err != nil {
		return nil, err
	}
	o := &oci{base: base{spec: s, run: r}, ociDialect: d, known: map[string]*ociEntry{}, told: map[string]*ociTold{}, slow: map[string]bool{}}
	o.boot = readBoot(o.file("/proc/stat"))
	return o, nil
}

// tool is the instance as the package knows it. Ids stand after "--" and begin with no dash.
func (o *oci) tool() *tool {
	stops := func(argv func(call) []string) func(call) ([]string, error) {
		return func(c call) ([]string, error) {
			o.remember(c.id)
			return argv(c), nil
		}
	}
	seconds := func(c call) string {
		return strconv.Itoa(max(1, int(math.Ceil(c.limit.Seconds()))))
	}
	return &tool{
		facts: facts{intent: "the restart policy", stopped: "the record of a stop (HasBeenManuallyStopped, StoppedByUser), events", lock: "removing, and podman's lock", cause: "State.Error and the innermost words of the runtime", supervisor: "the restart policy; labels of Kubernetes, Swarm, Nomad, systemd"},
		verbs: map[health.Verb]verb{
			health.VerbStart: {limit: 2 * time.Minute, slack: 10 * time.Second, read: o.readStart,
				argv: func(c call) ([]string, error) { return o.argv(o.name, "start", "--", c.id), nil }},
			// Both kill what has not ended in that time: there is no asking alone.
			health.VerbStop: {limit: time.Minute, slack: 20 * time.Second, least: o.patience, read: readOCIAnswer,
				argv: stops(func(c call) []string { return o.argv(o.name, "stop", "-t", seconds(c), "--", c.id) })},
			health.VerbKill: {limit: 30 * time.Second, read: readOCIAnswer,
				argv: stops(func(c call) []string { return o.argv(o.name, "kill", "--", c.id) })},
			health.VerbRestart: {limit: time.Minute, slack: time.Minute, least: o.patience, read: readOCIAnswer,
				argv: stops(func(c call) []string { return o.argv(o.name, "restart", "-t", seconds(c), "--", c.id) })},
		},
		checkID: checkOCIID, list: o.list, look: o.look, defined: func(string) bool { return true },
		place: o.place, exec: o.exec, meaning: o.meaning, files: ociFiles(o.name), evidence: o.evidence, logs: o.logs, events: o.follow,
		version: o.argv(o.name, "--version"),
	}
}

// exec gives the command nothing of the host's environment; both engines see to that.
func (o *oci) exec(id string, argv []string) ([]string, error) {
	return append(o.argv(o.name, "exec", "--", id), argv...), nil
}

// remember that this life is being ended by us: the engine's record of it says what a person's would.
func (o *oci) remember(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.known[id]; e != nil {
		e.ours = true
	}
}

// patience is how long the container itself asks to be given (--stop-timeout).
func (o *oci) patience(id string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.known[id]; e != nil && e.in.StopTimeout > 0 {
		return min(time.Duration(e.in.StopTimeout)*time.Second, time.Hour)
	}
	return 0
}

// place tells the engine's storage from another folder that is mounted over it, or from none: either engine begins anew
// then, with a list of nothing.
func (o *oci) place() string {
	o.mu.Lock()
	home := o.home
	o.mu.Unlock()
	if home == "" {
		return ""
	}
	return folderMark(o.file(home))
}

// readStart knows from what was seen before whether it ran already: docker answers alike in both cases, podman prints
// the id only when it started something.
func (o *oci) readStart(t hostexec.Transcript, log []byte) Answer {
	a := readOCIAnswer(t, log)
	if a.Err != "" || len(t.Argv) == 0 {
		return a
	}
	if o.far() {
		a.Already = o.name == "podman" && len(t.Stdout) == 0
		return a
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.known[t.Argv[len(t.Argv)-1]]; e != nil && e.init.PID != 0 {
		p, ok := identify(e.init.PID)
		a.Already = ok && p == e.init && e.began().Before(t.Started)
	}
	return a
}

// readOCIAnswer takes the cause from the engine's own words, the innermost ones where it wraps a runtime's.
func readOCIAnswer(t hostexec.Transcript, log []byte) Answer {
	a := readAnswer()(t, log)
	if a.Err != "" {
		a.Cause = ociCause(t.Stderr, a.Cause)
	}
	return a
}

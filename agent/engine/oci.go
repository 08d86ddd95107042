package engine

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
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

	mu    sync.Mutex
	known map[string]*ociEntry // by id
	told  map[string]*ociTold  // by id, from events
	slow  map[string]bool      // by id, who did not answer
	exits string               // podman: where a conmon leaves exit codes, "" not known
	gap   ociGap
	full  time.Time // when all were last inspected
	boot  time.Time // of this kernel
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
		exec: o.exec, meaning: o.meaning, files: ociFiles(o.name), evidence: o.evidence, events: o.follow,
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

// list asks the list, and one inspect for what changed.
func (o *oci) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	began := time.Now()
	rows, err := o.listRows(ctx, began)
	if err != nil {
		o.lost(began)
		return Listing{Notes: o.notes.take()}, err
	}
	o.back()
	o.learnPast(ctx)
	return o.listing(rows), nil
}

// listRows asks the list and whatever is to be asked after it.
func (o *oci) listRows(ctx context.Context, began time.Time) ([]ociRow, error) {
	if !o.flag && o.stillSlow(ctx) {
		return o.listEach(ctx)
	}
	t, err := o.ask(ctx, o.argv(o.name, o.ps...))
	if t.TimedOut && !o.flag && ctx.Err() == nil {
		if rows, each := o.listEach(ctx); each == nil && len(rows) > 0 {
			return rows, nil
		}
	}
	if err != nil {
		return nil, err
	}
	rows, err := o.rows(t.Stdout, &o.notes)
	if err != nil {
		return nil, fmt.Errorf("read what %q printed: %w", o.name, err)
	}
	return rows, o.inspectMany(ctx, o.changed(rows, began))
}

// changed takes in the rows and gives the ids that have to be asked about.
func (o *oci) changed(rows []ociRow, now time.Time) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	full := now.Sub(o.full) >= o.spec.Quiet
	if full {
		o.full = now
	}
	listed := make(map[string]bool, len(rows))
	var ask []string
	for _, r := range rows {
		listed[r.id] = true
		e := o.known[r.id]
		if e == nil {
			e = &ociEntry{}
			o.known[r.id] = e
		}
		running := r.state == health.Running || r.state == health.Paused
		if full || o.slow[r.id] || e.print != r.print || r.age < e.age || running && !o.far() && !alive(e.init) {
			e.print = ""
			ask = append(ask, r.id)
		}
		e.row, e.age = r, r.age
	}
	for id := range o.known {
		if !listed[id] {
			delete(o.known, id)
			delete(o.told, id)
		}
	}
	return ask
}

// inspectAll asks about containers of the last list in one process.
func (o *oci) inspectAll(ctx context.Context, ids []string) (hung bool, err error) {
	return o.inspectWithin(ctx, ids, o.spec.Timeout/2) // a list has been asked already
}

// inspectWithin asks and takes in the answers. A container that has gone meanwhile is no longer known.
func (o *oci) inspectWithin(ctx context.Context, ids []string, within time.Duration) (hung bool, err error) {
	got, gone, hung, err := o.inspectIDs(ctx, ids, within)
	if err != nil {
		return hung, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		e := o.known[id]
		if e == nil {
			continue
		}
		if in, ok := got[id]; ok {
			o.learn(e, in)
			e.print = e.row.print
		} else if slices.Contains(gone, id) {
			delete(o.known, id)
		} else {
			o.notes.add("%s: inspect left out container %.12s", o.label(), id)
		}
	}
	return false, nil
}

// inspectIDs runs one inspect. It fails when one of many does not exist, and prints the others all the same.
func (o *oci) inspectIDs(ctx context.Context, ids []string, within time.Duration) (got map[string]ociInspect, gone []string, hung bool, err error) {
	argv := o.argv(o.name, append([]string{"inspect", "--type=container", "--format=" + o.ociDialect.inspect, "--"}, ids...)...)
	t, err := o.askWithin(ctx, argv, within)
	gone = ociGone(o.gone, t.Stderr, ids)
	if err != nil && (len(gone) == 0 || t.Exit <= 0) {
		return nil, nil, t.TimedOut, ociShort(err, t, ids)
	}
	got, err = parseOCIInspect(t.Stdout)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read what \"%s inspect\" printed: %w", o.name, err)
	}
	if len(got) == 0 && len(gone) == 0 {
		return nil, nil, false, fmt.Errorf("\"%s inspect\" said nothing about %d containers", o.name, len(ids))
	}
	if o.far() {
		for id, in := range got {
			in.Pid, in.ConmonPid = 0, 0 // of another host: nothing here can be held against its word
			got[id] = in
		}
	}
	return got, gone, false, nil
}

func (o *oci) label() string {
	if o.spec.Instance != "" {
		return o.name + ":" + o.spec.Instance
	}
	return o.name
}

// learn takes in what inspect said. The caller holds mu.
func (o *oci) learn(e *ociEntry, in ociInspect) {
	if dir := conmonExits(int(in.ConmonPid)); in.ConmonPid != 0 && dir != "" {
		o.exits = dir
	}
	e.learn(in)
}

func (e *ociEntry) learn(in ociInspect) {
	if e.in.StartedAt != in.StartedAt || e.in.Pid != in.Pid {
		e.odd = time.Time{}
	}
	if in.running() && !in.began().Equal(e.in.began()) {
		e.ours, e.stopping = false, false // a new life
	}
	e.stopping = e.stopping || in.Status == "stopping" && !e.ours
	e.in = in
	e.init, _ = identify(int(in.Pid))
	if !in.running() {
		e.init = health.Process{}
	}
}

// began is when this life did.
func (e *ociEntry) began() time.Time { return e.in.began() }

// listing tells what is known now of the rows.
func (o *oci) listing(rows []ociRow) Listing {
	l := Listing{Containers: o.sightings(rows)}
	o.mu.Lock()
	l.Degraded = o.degraded()
	o.mu.Unlock()
	l.Notes = o.notes.take()
	return l
}

// sightings tells what is known now of the rows, sorted by id.
func (o *oci) sightings(rows []ociRow) []health.Sighting {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	out := make([]health.Sighting, 0, len(rows))
	for _, r := range rows {
		e := o.known[r.id]
		if e == nil || e.in.ID == "" {
			continue // gone between the list and inspect, or never told: a sighting without its facts would mislead
		}
		e.in.Health = r.health
		s := o.sighting(r.id, e, now)
		if o.slow[r.id] {
			s = o.silent(s)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b health.Sighting) int {
		switch {
		case a.Ref.ID < b.Ref.ID:
			return -1
		case a.Ref.ID > b.Ref.ID:
			return 1
		}
		return 0
	})
	return slices.CompactFunc(out, func(a, b health.Sighting) bool { return a.Ref.ID == b.Ref.ID })
}

package health

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A world is a container that behaves at random, and an agent whose looks and actions are answered at random.
type world struct {
	p        Policy
	s        State
	at       time.Time
	state    RunState // what is true
	pid      int
	dead     bool // the life of pid is over
	doomed   bool // starts do not work
	record   bool // the engine has it on record that somebody stopped it
	seq      uint64
	rolled   uint64
	sick     bool // its probes fail
	lock     *Lock
	open     bool
	parent   bool     // what is open was not told, as it belongs to an event of the host
	hostwide string   // the event of the host that goes on
	backup   bool     // an incident about backups is open
	shelved  bool     // that is not told, as a window is open
	job      string   // the scheduled job that was ordered and not answered
	pending  []Action // looks and actions whose outcome has not come
	starts   []time.Time
	met      map[string]bool // phases and kinds of actions that it reached
	moves    map[[2]Phase]int
	example  map[[2]Phase]string // one of each move
}

func newWorld(p Policy) *world {
	return &world{p: p, at: epoch, state: Running, pid: 100, met: map[string]bool{}, moves: map[[2]Phase]int{}, example: map[[2]Phase]string{}}
}

// become changes what is true. A life that has ended never comes back: running again is another.
func (w *world) become(next RunState) {
	if next == Stopped {
		w.dead = true
	}
	if w.dead && (next == Running || next == Paused) {
		w.dead = false
		w.pid++
	}
	w.state = next
}

func (w *world) truth() *Sighting {
	g := &Sighting{Ref: Ref{Engine: "lxc", ID: "a"}, Name: "a", State: w.state, Autostart: Yes, At: w.at, Mark: "m", Lock: copied(w.lock)}
	if w.state == Stopped && w.record {
		g.OnPurpose = "docker stop"
	}
	if w.state == Running || w.state == Paused {
		g.Init = Process{PID: w.pid, Start: 1}
	}
	return g
}

// dice gives a number below n, each as likely as the others: what rapid draws prefers small ones.
func (w *world) dice(t *rapid.T, n int, what string) int {
	w.rolled++
	x := rapid.Uint64().Draw(t, what) + w.rolled*0x9e3779b97f4a7c15 // splitmix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}

func oneOf[T any](w *world, t *rapid.T, what string, from ...T) T {
	return from[w.dice(t, len(from), what)]
}

// event makes one random thing happen.
func (w *world) event(t *rapid.T) Observation {
	w.at = w.at.Add(time.Duration(oneOf(w, t, "ms", 0, 1, 20, 300, 1000, 5000, 10000, 10000, 60000, 2000000)) * time.Millisecond)
	o := Observation{Room: Room{Start: true, Restart: true}}
	if w.dice(t, 12, "room") == 0 {
		o.Room = Room{Why: "full"}
	}
	if w.dice(t, 25, "hostwide") == 0 {
		w.hostwide = oneOf(w, t, "event of the host", "", "", "h1", "h2")
	}
	o.Room.Event = w.hostwide
	if w.dice(t, 12, "backups") == 0 {
		o.Room.Backups = "others are backed up"
	}
	switch k := w.dice(t, 25, "event"); {
	case k < 10 && len(w.pending) > 0: // an outcome comes
		i := w.dice(t, len(w.pending), "which")
		a := w.pending[i]
		w.pending = slices.Delete(w.pending, i, i+1)
		w.outcome(t, a, &o)
	case k < 11:
		o.Sight = w.truth()
	case k < 12:
		w.changes(t, &o)
	case k < 18:
		w.signals(t, &o)
	case k == 18:
		o.Order = &Order{Kind: oneOf(w, t, "order", OrderWant, OrderWant, OrderUnwant, OrderHold, OrderRelease), Until: w.at.Add(time.Minute), By: "root"}
	case k == 19:
		o.Host = oneOf(w, t, "word", &HostWord{}, &HostWord{}, &HostWord{Closed: "going down", Going: true, Faults: []string{"bridge"}},
			&HostWord{Faults: []string{"bridge"}}, &HostWord{Root: "db, which fails"}, &HostWord{Window: Window{Name: "w", Until: w.at.Add(time.Minute)}},
			&HostWord{Window: Window{Name: "w", Until: w.at.Add(time.Hour)}})
	case k == 20 && w.dice(t, 3, "reborn") == 0:
		o.Birth = &Birth{Boot: oneOf(w, t, "boot", "b1", "b1", "b2"), Orderly: w.dice(t, 2, "orderly") == 0}
		w.pending, w.job = nil, ""
	case k == 21 && w.p.Jobs != nil:
		o.Job = &Job{Name: oneOf(w, t, "job", "backup", "backup", "stop", "start", "restart"), Due: w.at, Until: w.at.Add(time.Hour),
			Skip: oneOf(w, t, "skip", "", "", "", SkipMissed, SkipNew)}
	default: // time passes, to the wake if there is one
		if !w.s.Wake.IsZero() && w.s.Wake.After(w.at) {
			w.at = w.s.Wake
		}
	}
	o.At = w.at
	return o
}

// changes has the world change: the container, or who is at it.
func (w *world) changes(t *rapid.T, o *Observation) {
	if w.dice(t, 3, "lock") == 0 {
		w.lock = oneOf(w, t, "operation", nil, nil, &Lock{Operation: "backup", Holder: Process{PID: 7}}, &Lock{Operation: "snapshot", Dead: true})
	}
	next := oneOf(w, t, "state", Running, Running, Running, Stopped, Stopped, Stopped, Paused, Busy, Broken, Missing)
	if w.doomed && next == Running {
		next = Stopped
	}
	if !w.dead && next == Stopped {
		o.Death = &Death{Init: Process{PID: w.pid, Start: 1}}
	}
	w.record = next == Stopped && w.dice(t, 5, "on record") == 0
	w.become(next)
}

// signals has a probe say something: it is sick for a while, and well for a while.
func (w *world) signals(t *rapid.T, o *Observation) {
	if w.dice(t, 8, "turn") == 0 {
		w.sick = !w.sick
	}
	w.seq++
	o.Signal = &Signal{Probe: oneOf(w, t, "probe", "web", "web", "web", "slow"), Seq: w.seq, Outcome: Pass}
	switch d := w.dice(t, 8, "outcome"); {
	case d == 0:
		o.Signal.Outcome = Unsure
	case w.sick:
		o.Signal.Outcome = Fail
	}
}

func (w *world) outcome(t *rapid.T, a Action, o *Observation) {
	if a.Kind == DoLook {
		o.Look = &Look{Seq: a.Look, Sighting: w.truth()}
		switch w.dice(t, 16, "answer") {
		case 0:
			o.Look.Sighting = nil
		case 1:
			o.Look.Actor = &Actor{Verb: oneOf(w, t, "verb", VerbStop, VerbSnapshot), UID: 1}
		case 2:
			o.Look.Inside = Pass
		}
		return
	}
	if a.Kind == DoJob {
		w.jobOutcome(t, a, o)
		return
	}
	o.Done = &Done{Attempt: a.Attempt, Verb: VerbStart}
	works := !w.doomed && w.dice(t, 3, "works") > 0
	if a.Kind == DoRestart {
		o.Done.Verb = VerbStop
		if works && w.state == Running {
			w.record = true // as docker has it, whoever asked
			w.become(Stopped)
		}
	} else if works && w.state == Stopped {
		w.become(Running)
	}
	if !works {
		o.Done.Err = "exit 1"
	}
}

func (w *world) jobOutcome(t *rapid.T, a Action, o *Observation) {
	o.Ended = &JobDone{ID: a.Case}
	w.job = ""
	switch works := w.dice(t, 3, "job works") > 0; {
	case !works:
		o.Ended.Err = "exit 1"
	case a.Verb == VerbStop && w.state == Running:
		w.record = true
		w.become(Stopped)
	}
}

// step steps, and checks everything that must hold of any step.
func (w *world) step(t *rapid.T, o Observation) {
	before := w.s
	frozen, _ := json.Marshal(before)
	s, acts := Step(w.p, w.s, o)
	if now, _ := json.Marshal(before); string(now) != string(frozen) {
		t.Fatalf("Step changed its input\nwas %s\nis  %s", frozen, now)
	}
	var thawed State
	if err := json.Unmarshal(frozen, &thawed); err != nil {
		t.Fatal(err)
	}
	if s2, acts2 := Step(w.p, thawed, o); !sameJSON(s, s2) || !sameJSON(acts, acts2) {
		t.Fatalf("a state read back from the store decides otherwise\n%s", frozen)
	}
	letOut := before.Incident != nil && before.Incident.Parent != "" && before.Incident.Parent != o.Room.Event ||
		len(before.Jobs.Waiting) > 0 && before.Jobs.Again.IsZero() // what waits for one thing may wait for another by now
	if o.Signal != nil && o.Signal.Outcome == Unsure && !letOut && len(before.Jobs.Waiting) == 0 && before.Jobs.Run == nil && !w.timerDue(before) && !before.Queue && !s.Same(before) && before.Phase != "" {
		now, _ := json.Marshal(s)
		t.Fatalf("unsure changed %s to %s\nwas %s\nis  %s", before.Phase, s.Phase, frozen, now)
	}
	if before.Phase != "" {
		k := [2]Phase{before.Phase, s.Phase}
		w.moves[k]++
		if w.moves[k] == 1 && k[0] != k[1] {
			seen, _ := json.Marshal(o)
			w.example[k] = fmt.Sprintf("%s\nobserved %s\nnow %s", frozen, seen, s.Why)
		}
	}
	if r := before.Jobs.Run; r != nil && (s.Jobs.Run == nil || s.Jobs.Run.ID != r.ID) && o.Ended == nil { // given up: nobody answered for far longer than it may take
		w.job = ""
	}
	w.s = s
	w.met["phase "+string(s.Phase)] = true
	for _, a := range acts {
		w.met["action "+string(a.Kind)] = true
		w.action(t, before, a, o)
	}
	w.live(t)
}

func (w *world) timerDue(s State) bool {
	return !s.Wake.IsZero() && !w.at.Before(s.Wake)
}

func (w *world) action(t *rapid.T, before State, a Action, o Observation) {
	if a.Incident != nil && a.Incident.Kind == KindBackup {
		w.ofBackup(t, a)
		return
	}
	switch a.Kind {
	case DoJob:
		w.ordered(t, a, o)
	case DoOpen:
		if w.open && !w.parent {
			t.Fatal("opened twice")
		}
		w.open, w.parent = true, a.Incident.Untold()
	case DoResolve:
		if !w.open {
			t.Fatal("resolved what was not open")
		}
		w.open = false
	case DoUpdate, DoEscalate:
		if a.Kind == DoEscalate && w.s.Actor != nil && w.s.RunState == Stopped {
			t.Fatalf("escalated what a person stopped: %s", a.Reason)
		}
		if !w.open {
			t.Fatalf("%s without an open incident", a.Kind)
		}
	case DoLook:
		w.pending = append(w.pending, a)
	case DoStart, DoRestart:
		w.pending = append(w.pending, a)
		w.attempt(t, before, a, o)
	}
}

// ofBackup checks the turns of an incident about backups.
func (w *world) ofBackup(t *rapid.T, a Action) {
	switch {
	case a.Kind == DoOpen && w.backup && !w.shelved:
		t.Fatal("opened twice, for backups")
	case a.Kind != DoOpen && a.Kind != DoCapture && !w.backup:
		t.Fatalf("%s without an open incident, for backups", a.Kind)
	}
	w.backup, w.shelved = a.Kind != DoResolve, a.Incident.Window != ""
}

// ordered checks a scheduled backup or stop.
func (w *world) ordered(t *rapid.T, a Action, o Observation) {
	switch {
	case w.job != "":
		t.Fatalf("%s while %s is under way", a.Verb, w.job)
	case o.Look == nil:
		t.Fatalf("scheduled %s without a fresh look", a.Verb)
	case w.p.Mode != ModeHeal:
		t.Fatalf("scheduled %s in mode %s", a.Verb, w.p.Mode)
	case w.s.Case != nil, w.s.Incident != nil:
		t.Fatalf("scheduled %s while something is wrong", a.Verb)
	case w.s.Hold != nil, w.s.Host.Closed != "", w.s.Lock != nil && !w.s.Lock.Dead:
		t.Fatalf("scheduled %s with hands off", a.Verb)
	case w.s.RunState != Running && w.s.RunState != Stopped:
		t.Fatalf("scheduled %s while it is %s", a.Verb, w.s.RunState)
	}
	w.job = a.Case
	w.pending = append(w.pending, a)
}

func (w *world) attempt(t *rapid.T, before State, a Action, o Observation) {
	switch {
	case w.p.Mode != ModeHeal:
		t.Fatalf("%s in mode %s", a.Kind, w.p.Mode)
	case o.Look == nil:
		t.Fatalf("%s without a fresh look", a.Kind)
	case w.s.Host.Closed != "":
		t.Fatalf("%s while the host is closed", a.Kind)
	case o.Look.Sighting.OnPurpose != "" && a.Kind == DoStart && before.Phase != Stopping && !before.Overruled:
		t.Fatal("started what the engine says was stopped on purpose")
	case o.Look.Actor != nil && o.Look.Actor.Verb == VerbStop && a.Kind == DoStart && before.Phase != Stopping && !before.Host.Going:
		t.Fatal("started what was being stopped by a person")
	}
	second := a.Hard || a.Kind == DoStart && before.Phase == Stopping // a further part of an attempt under way
	if second {
		return
	}
	switch {
	case w.s.Hold != nil:
		t.Fatalf("%s on hold", a.Kind)
	case w.s.Lock != nil && !w.s.Lock.Dead:
		t.Fatalf("%s while a lock is held", a.Kind)
	case w.s.Host.Window.Name != "":
		t.Fatalf("%s in a maintenance window", a.Kind)
	case w.s.Jobs.Run != nil && w.s.Jobs.Run.Ordered:
		t.Fatalf("%s while %s is under way", a.Kind, w.s.Jobs.Run.Do)
	case w.s.Want == No, w.s.Plan.Want == No:
		t.Fatalf("%s of what is not wanted", a.Kind)
	case w.s.Host.Root != "":
		t.Fatalf("%s while what it depends on fails", a.Kind)
	case a.Kind == DoRestart && len(w.s.Host.Faults) > 0:
		t.Fatal("restarted while the host lacks what it needs")
	case a.Kind == DoRestart && before.Flap.On: // that this restart makes it flap is seen afterwards
		t.Fatal("restarted while it flaps")
	}
	if !o.Room.Start {
		t.Fatalf("%s without room", a.Kind)
	}
	if before.Granted || a.Kind == DoRestart && before.Case.Kind == CasePlan {
		return // counted apart: one for each half hour, or for each change of a cause
	}
	w.starts = append(w.starts, w.at)
	recent := 0
	for _, at := range w.starts {
		if w.at.Sub(at) < w.p.Window {
			recent++
		}
	}
	if recent > w.p.Attempts && before.Clear.IsZero() {
		t.Fatalf("%d attempts within %s", recent, w.p.Window)
	}
}

// live: no waiting phase without a wake, and a wake lies ahead.
func (w *world) live(t *rapid.T) {
	switch w.s.Phase {
	case Checking, Waiting, Starting, Stopping, Settling, Exhausted:
		if w.s.Wake.IsZero() {
			t.Fatalf("%s without a wake: it is wedged", w.s.Phase)
		}
	}
	if !w.s.Wake.IsZero() && !w.s.Wake.After(w.s.Last) {
		t.Fatalf("%s wakes at once, for ever", w.s.Phase)
	}
	if (w.s.Backup.Incident != nil) != w.backup {
		t.Fatalf("incident of backups %v, and open is %v", w.s.Backup.Incident, w.backup)
	}
	if w.s.Jobs.Run != nil && w.s.Wake.IsZero() {
		t.Fatal("a job is under way without a wake")
	}
	if (w.s.Incident != nil) != w.open {
		t.Fatalf("incident %v, and open is %v", w.s.Incident, w.open)
	}
	if w.s.Phase == Up && w.s.Case != nil {
		t.Fatal("up with a case")
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return reflect.DeepEqual(x, y)
}

func TestStepProperties(t *testing.T) {
	moves, example, met := map[[2]Phase]int{}, map[[2]Phase]string{}, map[string]int{}
	all := 0
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		w := newWorld(p)
		p.Mode = oneOf(w, t, "mode", ModeHeal, ModeHeal, ModeHeal, ModeHeal, ModeAlert, ModeObserve)
		p.Attempts = 1 + w.dice(t, 3, "attempts")
		p.FlapHigh = oneOf(w, t, "flap", 0., 10, 30, 60)
		p.FlapLow = p.FlapHigh / 2
		if w.dice(t, 2, "schedules") == 0 {
			p.Jobs = map[string]JobPolicy{"backup": {Do: VerbBackup, Limit: time.Hour, Overdue: 10 * time.Hour, CatchUp: w.dice(t, 2, "catch up") == 0},
				"stop": {Do: VerbStop, Limit: time.Minute}, "start": {Do: VerbStart}, "restart": {Do: VerbRestart}}
		}
		w.p, w.doomed = p, w.dice(t, 4, "doomed") == 0
		for range 10 + w.dice(t, 140, "length") {
			w.step(t, w.event(t))
		}
		if w.dice(t, 10, "removed") == 0 {
			w.state = Removed
			w.step(t, Observation{At: w.at, Sight: w.truth()})
		}
		w.recovers(t)
		all++
		for what := range w.met {
			met[what]++
		}
		for k, n := range w.moves {
			moves[k] += n
		}
		for k, e := range w.example {
			if example[k] == "" {
				example[k] = e
			}
		}
	})
	reached := map[Phase]int{}
	for k, n := range moves {
		reached[k[1]] += n
	}
	inDiagram := told(t)
	for k, n := range moves {
		if k[0] != k[1] && k[1] != Gone && len(inDiagram[k]) == 0 { // what is removed is gone, wherever it stood
			t.Errorf("%d times a random timeline went from %s to %s, which no timeline in testdata tells and the diagram lacks; one was in\n%s", n, k[0], k[1], example[k])
		}
	}
	if reached[Gone] == 0 {
		t.Error("no random timeline ended with its container")
	}
	shares(t, met, all)
}

// shares prints how many of the timelines reached each phase and each kind of action, and wants at least one in a hundred:
// what is never reached is not tested.
func shares(t *testing.T, met map[string]int, all int) {
	want := []string{}
	for _, ph := range Phases() {
		want = append(want, "phase "+string(ph))
	}
	for _, k := range []ActionKind{DoLook, DoCapture, DoStart, DoRestart, DoOpen, DoUpdate, DoEscalate, DoResolve, DoTell, DoWarn, DoJob, DoDrop} {
		want = append(want, "action "+string(k))
	}
	for _, what := range want {
		share := 100 * float64(met[what]) / float64(max(all, 1))
		t.Logf("%5.1f %% of %d random timelines reach %s", share, all, what)
		if share < 1 && all >= 1000 {
			t.Errorf("only %.2f %% of the random timelines reach %s", share, what)
		}
	}
}

// recovers: whatever happened, when the container runs, its probes pass and everything is answered, it comes to be up
// within a day, with no incident open.
func (w *world) recovers(t *rapid.T) {
	if w.s.Phase == Gone {
		return
	}
	room := Room{Start: true, Restart: true}
	w.lock, w.record, w.p.Jobs = nil, false, nil
	w.step(t, Observation{At: w.at, Host: &HostWord{}, Room: room})
	w.step(t, Observation{At: w.at, Order: &Order{Kind: OrderWant, By: "root"}, Room: room})
	w.step(t, Observation{At: w.at, Order: &Order{Kind: OrderRelease, By: "root"}, Room: room})
	for range 200 {
		w.at = w.at.Add(10 * time.Minute)
		w.become(Running)
		for _, a := range slices.Clone(w.pending) {
			o := Observation{At: w.at, Room: room, Look: &Look{Seq: a.Look, Sighting: w.truth()}}
			if a.Kind == DoJob {
				o.Look, o.Ended, w.job = nil, &JobDone{ID: a.Case}, ""
			} else if a.Kind != DoLook {
				o.Look, o.Done = nil, &Done{Attempt: a.Attempt, Verb: VerbStart}
			}
			w.pending = slices.DeleteFunc(w.pending, func(b Action) bool { return reflect.DeepEqual(a, b) })
			w.step(t, o)
		}
		w.step(t, Observation{At: w.at, Sight: w.truth(), Room: room})
		for name := range w.p.Probes {
			w.seq++
			w.step(t, Observation{At: w.at, Signal: &Signal{Probe: name, Seq: w.seq, Outcome: Pass}, Room: room})
		}
		if w.s.Phase == Up && !w.open {
			return
		}
	}
	t.Fatalf("not up: %s (%s), open %v", w.s.Phase, w.s.Why, w.open)
}

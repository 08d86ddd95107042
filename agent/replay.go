package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/health"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
)

// A ReplayOptions says what is replayed, and by which decisions.
type ReplayOptions struct {
	Journal  []store.Run // as store.Journal gives it
	Settings Settings    // by which is decided
	Host     health.Host
	Since    time.Time // what is before it is replayed, and not counted
}

// wakeSlack is how long after its time a container is woken at the latest in a replay. The agent that was woke a little
// late, too; when it did is in the journal, and counts until then.
const wakeSlack = 250 * time.Millisecond

// A replay is an agent that lives through what another one recorded. Its turns are those of the loop, its decisions the same;
// it has no hands: what it orders is answered by the record, or, where that cannot answer, by an assumption that is counted.
type replay struct {
	*Agent
	o      ReplayOptions
	tape   *tape
	worlds map[health.Ref]*world
	stored map[health.Ref]health.State // as the store of that agent would have them
	later  laters                      // answers that are not recorded, by time
	began  bool
	end    time.Time // the last that is recorded
	out    *Replayed
	err    error // of the store, as it was then
}

// Replay has the recorded world of a journal decided upon anew. It reads and writes nothing. The error says that the journal
// cannot be replayed: it holds no beginning, or cannot be read.
func Replay(ctx context.Context, o ReplayOptions) (Replayed, error) {
	r, err := newReplay(ctx, o)
	if err != nil {
		return Replayed{}, fmt.Errorf("replay the journal: %w", err)
	}
	for ctx.Err() == nil && r.turnOnce() {
	}
	if ctx.Err() != nil {
		return Replayed{}, fmt.Errorf("replay the journal: %w", ctx.Err())
	}
	return r.finish(), nil
}

func newReplay(ctx context.Context, o ReplayOptions) (*replay, error) {
	tape, err := newTape(o.Journal)
	if err != nil {
		return nil, err
	}
	kernel, err := sentinel.New(sentinel.Options{Force: "poll", Log: slog.New(slog.DiscardHandler)}) // never run
	if err != nil {
		return nil, err
	}
	a := &Agent{o: Options{Host: o.Host, Sentinel: kernel}, log: slog.New(slog.DiscardHandler), clock: newClock(time.Time{}), inbox: newInbox(),
		set: o.Settings, metrics: newMetrics(prometheus.NewRegistry())}
	a.prober = newProber(a, 1)
	a.hands = newHands(a)
	a.hands.begin(ctx)
	r := &replay{Agent: a, o: o, tape: tape, worlds: map[health.Ref]*world{}, stored: map[health.Ref]health.State{},
		end: tape.end, out: newReplayed(tape, o)}
	for ref, facts := range tape.facts {
		r.worlds[ref] = &world{r: r, ref: ref, facts: facts, last: map[string]said{}, asked: map[string]time.Time{}}
	}
	r.anew("")
	return r, nil
}

// anew is another agent beginning: what only memory held is gone.
func (r *replay) anew(event string) {
	r.survey = r.set.Survey
	r.guests, r.shadows, r.seqs, r.certs = map[health.Ref]*guest{}, map[health.Ref]health.Ref{}, map[string]int{}, map[string]string{}
	r.journal, r.memory, r.event, r.later, r.err = journal{silent: true}, memory{}, "", nil, nil
	r.strain, r.windows, r.backups = strain{}, openWindows{}, 0
	r.loaded = store.Loaded{Meta: map[string]string{eventKey: event}}
	for ref, s := range r.stored {
		r.guests[ref] = r.guestOf(s)
		r.backups += backingUp(s)
	}
}

func (r *replay) guestOf(s health.State) *guest {
	in := &instance{ref: health.Ref{Engine: s.Ref.Engine, Instance: s.Ref.Instance}}
	return &guest{ref: s.Ref, inst: in, state: s, signals: map[string]health.SignalView{}, word: &health.HostWord{}}
}

// turnOnce takes the next moment, of the record or of what was decided meanwhile. It reports whether there was one.
func (r *replay) turnOnce() bool {
	at, ok := r.tape.peek()
	if !ok {
		return false
	}
	if !r.tape.begins() && r.began { // between the last of an agent and the first of the next, none was there
		if own := r.own(); !own.IsZero() && own.Before(at) {
			r.turn(own, nil)
			return true
		}
	}
	r.turn(at, r.tape.take())
	return true
}

// own is when something is to be done that is not recorded; zero: never.
func (r *replay) own() time.Time {
	var soonest time.Time
	if len(r.later) > 0 {
		soonest = r.later[0].at
	}
	if w := r.windows.next; !w.IsZero() && (soonest.IsZero() || w.Add(wakeSlack).Before(soonest)) {
		soonest = w.Add(wakeSlack)
	}
	for _, g := range r.guests {
		if w := g.state.Wake; g.born && !w.IsZero() && (soonest.IsZero() || w.Add(wakeSlack).Before(soonest)) {
			soonest = w.Add(wakeSlack)
		}
	}
	return soonest
}

// turn is one round of the loop, as Agent.turn is.
func (r *replay) turn(at time.Time, facts []*fact) {
	t := &turn{Agent: r.Agent, at: at, dirty: map[*guest]bool{}}
	r.byName = nil
	for _, l := range r.later.due(at) {
		l.event(t)
	}
	for _, f := range facts {
		r.tell(t, f)
	}
	t.openWindows()
	for _, g := range t.due(at.Add(-wakeSlack)) {
		t.passed(g)
	}
	t.depend()
	t.hostwide()
	r.keep(t)
	for _, w := range t.work {
		for _, act := range w.acts {
			r.world(w.g.ref).ordered(t, w.g, act)
		}
	}
	for _, f := range facts {
		r.world(f.ref).undone(t, f)
	}
	r.pace(t, facts)
	r.out.note(t, facts)
}

// keep is the commit.
func (r *replay) keep(t *turn) {
	for g := range t.dirty {
		if g.state.Phase != health.Gone {
			r.stored[g.ref] = g.state
		}
	}
	for _, ref := range t.batch.Forget {
		delete(r.stored, ref)
	}
	if r.err != nil || r.memory.err != nil {
		r.memory.noted(t, r.err)
	}
}

func (r *replay) world(ref health.Ref) *world {
	w := r.worlds[ref]
	if w == nil {
		w = &world{r: r, ref: ref, last: map[string]said{}, asked: map[string]time.Time{}}
		r.worlds[ref] = w
	}
	return w
}

// tell has one recorded observation of the agent, of the host or of a container be stepped.
func (r *replay) tell(t *turn, f *fact) {
	switch {
	case f.sensor == sensorAgent:
		r.beginning(t, f)
	case strings.HasPrefix(f.sensor, sensorAgent+":"):
		r.became(f.outcome)
	case f.sensor == sensorStrain && f.Strain != nil:
		t.strain = *f.Strain
		t.strained()
	case f.sensor == sensorState:
		if !r.began || f.at.Equal(r.out.From) {
			r.resume(t, f)
		}
	case f.sensor != sensorEvent && f.sensor != sensorList:
		r.world(f.ref).tell(t, f)
	}
}

// beginning is an agent that began, or the moment at which the replay does.
func (r *replay) beginning(t *turn, f *fact) {
	first := !r.began
	r.began = true
	if first {
		r.out.From = f.at
	}
	switch {
	case first && f.Event != nil:
		if b, err := json.Marshal(f.Event); err == nil {
			r.loaded.Meta[eventKey] = string(b)
		}
		t.resumeEvent()
	case !first && f.outcome == agentBegins:
		r.out.agents++
		r.anew(r.event)
		t.resumeEvent()
	}
}

// resume takes over how a container stood at the beginning of the replay.
func (r *replay) resume(t *turn, f *fact) {
	if f.State == nil {
		return
	}
	g := r.guestOf(*f.State)
	r.guests[f.ref], r.stored[f.ref] = g, g.state
	w := g.state.Host
	w.Root, w.Window = "", health.Window{}
	g.word = &w
	r.backups += backingUp(g.state)
	if f.outcome == agentGoesOn { // no birth will follow
		g.born = true
		g.setup = t.setup(health.Sighting{Ref: g.ref, Name: g.name()})
		t.survey.Note(g.state, g.setup.Priority)
	}
}

func (r *replay) became(what string) {
	switch what {
	case agentSwapped:
		r.out.swaps++
	case agentNoStore:
		r.err = fmt.Errorf("the store could not be written then")
		r.memory.err = r.err
	case agentHasStore:
		r.err = nil
	}
}

// A later is an answer that is not recorded.
type later struct {
	at    time.Time
	event func(*turn)
}

type laters []later

func (l *laters) add(at time.Time, e func(*turn)) {
	n, _ := slices.BinarySearchFunc(*l, at, func(x later, at time.Time) int {
		if x.at.After(at) {
			return 1
		}
		return -1
	})
	*l = slices.Insert(*l, n, later{at, e})
}

func (l *laters) due(at time.Time) []later {
	n := 0
	for n < len(*l) && !(*l)[n].at.After(at) {
		n++
	}
	out := (*l)[:n:n]
	*l = (*l)[n:]
	return out
}

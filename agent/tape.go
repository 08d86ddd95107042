package agent

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// stride is how far a replay goes at most over observations that can change nothing, because the same ones before did not.
const stride = 10 * time.Minute

// A tape gives what is recorded, in the order in which it happened. Of a run only what is marked has a moment of its own; the
// others are spread evenly between.
type tape struct {
	reels  reels                  // those that go on, by their next moment
	to     []*reel                // those that begin later, by their first
	of     map[health.Ref][]*reel // of those that go on
	facts  map[health.Ref]*history
	begin  time.Time // of the first beginning
	end    time.Time
	probed map[health.Ref]map[string]time.Duration // which probes were run, and how often
}

// A fact is one observation of the record.
type fact struct {
	*record
	ref             health.Ref
	sensor, outcome string
	detail          string
	at              time.Time
	order           int
	exact           bool // it changed something then
	phase           health.Phase
	deeds           []Deed
	reel            *reel
}

// A reel is one run, and which of it comes next.
type reel struct {
	store.Run
	rec   record
	n     int // the next
	m     int // the mark at or before it
	at    time.Time
	order int
	place int // among the reels; -1: it is over, or not begun
	leapt bool
	still bool // the last of it changed nothing in the replay
}

func newTape(runs []store.Run) (*tape, error) {
	t := &tape{of: map[health.Ref][]*reel{}, facts: map[health.Ref]*history{}, probed: map[health.Ref]map[string]time.Duration{}}
	beginOrder := 0
	for _, run := range runs {
		if len(run.Data) == 0 {
			continue
		}
		r := &reel{Run: run, place: -1}
		if err := json.Unmarshal(run.Data, &r.rec); err != nil || len(r.rec.Marks) == 0 {
			return nil, fmt.Errorf("run %q of %q since %s cannot be read: %w", run.Sensor, run.Ref, run.First.Format(time.RFC3339), err)
		}
		if run.Sensor == sensorAgent && t.begin.IsZero() {
			t.begin, beginOrder = r.rec.Marks[0].At, r.rec.Marks[0].Order
		}
		if run.Last.After(t.end) {
			t.end = run.Last
		}
		t.to = append(t.to, r)
	}
	if t.begin.IsZero() {
		return nil, errors.New("it holds no beginning: the agent that wrote it is older than this command, or has not run yet")
	}
	t.to = slices.DeleteFunc(t.to, func(r *reel) bool { return !r.seek(t.begin, beginOrder) })
	for _, r := range t.to {
		t.index(r)
	}
	for _, h := range t.facts {
		h.conclude()
	}
	slices.SortStableFunc(t.to, func(x, y *reel) int { return x.at.Compare(y.at) })
	return t, nil
}

// seek turns to the first that is not before a moment, and reports whether there is one.
func (r *reel) seek(at time.Time, order int) bool {
	marks := 0
	for marks < len(r.rec.Marks) && (r.rec.Marks[marks].At.Before(at) || r.rec.Marks[marks].At.Equal(at) && r.rec.Marks[marks].Order < order) {
		marks++
	}
	n := 0
	if marks > 0 {
		r.m = marks - 1
		last, gap := r.rec.Marks[r.m], r.gap()
		if n = r.nextMark(); gap > 0 {
			n = min(n, last.N+max(1, int((at.Sub(last.At)+gap-1)/gap)))
		}
	}
	if n >= r.Count {
		return false
	}
	r.set(n)
	return true
}

func (r *reel) set(n int) {
	r.n = n
	for r.m+1 < len(r.rec.Marks) && r.rec.Marks[r.m+1].N <= n {
		r.m++
	}
	for r.m > 0 && r.rec.Marks[r.m].N > n {
		r.m--
	}
	m := r.moment()
	r.at, r.order = m.At, m.Order
}

// nextMark is the number of the next that is marked, or of the end.
func (r *reel) nextMark() int {
	if r.m+1 < len(r.rec.Marks) {
		return r.rec.Marks[r.m+1].N
	}
	return r.Count
}

// gap is the pace between the mark at hand and the next.
func (r *reel) gap() time.Duration {
	last, to, n := r.rec.Marks[r.m], r.Last, r.Count-1
	if r.m+1 < len(r.rec.Marks) {
		to, n = r.rec.Marks[r.m+1].At, r.rec.Marks[r.m+1].N
	}
	if n <= last.N {
		return 0
	}
	return to.Sub(last.At) / time.Duration(n-last.N)
}

// unmarked is the order of what has none: after all that happened at the same time.
const unmarked = 1 << 30

func (r *reel) moment() mark {
	last := r.rec.Marks[r.m]
	if last.N == r.n {
		return last
	}
	m := mark{N: r.n, At: last.At.Add(time.Duration(r.n-last.N) * r.gap()), Order: unmarked, Detail: last.Detail}
	if r.m+1 < len(r.rec.Marks) && !m.At.Before(r.rec.Marks[r.m+1].At) { // never after the one that followed it
		m.Order = r.rec.Marks[r.m+1].Order
	}
	return m
}

func (r *reel) fact() *fact {
	m := r.moment()
	return &fact{record: &r.rec, ref: r.Ref, sensor: r.Sensor, outcome: r.Outcome, detail: cmp.Or(m.Detail, r.Detail), at: m.At, order: m.Order,
		exact: m.N == r.rec.Marks[r.m].N, phase: m.Phase, deeds: m.Deeds, reel: r}
}

// index keeps what is to be looked up of the marks.
func (t *tape) index(r *reel) {
	if probe, ok := strings.CutPrefix(r.Sensor, sensorProbe); ok {
		if t.probed[r.Ref] == nil {
			t.probed[r.Ref] = map[string]time.Duration{}
		}
		t.probed[r.Ref][probe] = r.Period
	}
	h := t.facts[r.Ref]
	if h == nil {
		h = &history{}
		t.facts[r.Ref] = h
	}
	for _, m := range r.rec.Marks {
		if m.N >= r.n {
			h.add(r, m)
		}
	}
}

// activate has those begin whose time has come.
func (t *tape) activate() {
	for len(t.to) > 0 && (len(t.reels) == 0 || !t.to[0].at.After(t.reels[0].at)) {
		r := t.to[0]
		t.to = t.to[1:]
		heap.Push(&t.reels, r)
		t.of[r.Ref] = append(t.of[r.Ref], r)
	}
}

// peek is when the next is.
func (t *tape) peek() (time.Time, bool) {
	t.activate()
	if len(t.reels) == 0 {
		return time.Time{}, false
	}
	return t.reels[0].at, true
}

// begins reports whether the next is an agent's beginning.
func (t *tape) begins() bool {
	return slices.ContainsFunc(t.of[health.Ref{}], func(r *reel) bool {
		return r.Sensor == sensorAgent && r.Outcome == agentBegins && r.at.Equal(t.reels[0].at)
	})
}

// take gives all of the next turn, in their order.
func (t *tape) take() []*fact {
	var out []*fact
	at, turn := t.reels[0].at, t.reels[0].order/perTurn
	for {
		next, ok := t.peek()
		if !ok || next.After(at) || t.reels[0].order/perTurn != turn {
			break
		}
		r := t.reels[0]
		out = append(out, r.fact())
		t.turnTo(r, r.n+1)
	}
	slices.SortStableFunc(out, func(x, y *fact) int { // an order may come before the agent that begins has taken over
		return cmp.Or(cmp.Compare(first(y), first(x)), x.order-y.order)
	})
	return out
}

func first(f *fact) int {
	if f.sensor == sensorAgent {
		return 1
	}
	return 0
}

// turnTo has a reel go on with another of its run.
func (t *tape) turnTo(r *reel, n int) {
	if n >= r.Count {
		heap.Remove(&t.reels, r.place)
		t.of[r.Ref] = slices.DeleteFunc(t.of[r.Ref], func(x *reel) bool { return x == r })
		return
	}
	r.set(n)
	heap.Fix(&t.reels, r.place)
}

// leap passes over what can change nothing.
func (t *tape) leap(r *reel) {
	if r.place < 0 {
		return
	}
	to := r.nextMark()
	if gap := r.gap(); gap > 0 {
		to = min(to, r.n+int(stride/gap))
	}
	if to = min(to, r.Count-1); to > r.n {
		r.leapt = true
		t.turnTo(r, to)
	}
}

// back returns to what was passed over and is still to come: now it may change something.
func (t *tape) back(r *reel, now time.Time, order int) {
	if r.leapt && r.place >= 0 && r.seek(now, order) {
		heap.Fix(&t.reels, r.place)
	}
	r.leapt = false
}

// reels are a heap by time.
type reels []*reel

func (q reels) Len() int { return len(q) }
func (q reels) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}

func (q reels) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is heap.Interface's.
func (q *reels) Push(x any) {
	r := x.(*reel)
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop is heap.Interface's.
func (q *reels) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	r.place = -1
	*q = (*q)[:last]
	return r
}

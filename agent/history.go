package agent

import (
	"cmp"
	"slices"
	"time"

	"atalaya/agent/health"
)

// alike is how far apart the same deed may be in the record and in the replay.
const alike = time.Second

// A history is what is to be known beforehand of what was recorded of one container: what was asked and tried, and what came
// of it.
type history struct {
	looks  []*looked
	tries  []*tried
	phases []phased
	dones  []doneAt
	jobs   map[string]bool // that ended
}

// phased is a change of phase.
type phased struct {
	at    time.Time
	order int
	phase health.Phase
}

type doneAt struct {
	at time.Time
	health.Done
}

// A looked is one look that was answered.
type looked struct {
	asked, at time.Time
	reel      *reel
	seq       int // the number that it has in the replay; 0: it was not asked for there
}

// A tried is one attempt that was made then.
type tried struct {
	at      time.Time
	kind    health.ActionKind // of its first order
	n       int
	of      string // case
	orders  []time.Time
	done    health.Done   // the last answer
	took    time.Duration // until then
	answers int
	runs    bool      // it ran afterwards
	well    time.Time // when it was well, if that came of it
	made    int       // the number of the same attempt in the replay; 0: it was not made there
}

func (h *history) add(r *reel, m mark) {
	if m.Phase != "" {
		h.phases = append(h.phases, phased{m.At, m.Order, m.Phase})
	}
	if r.Sensor == sensorLook {
		h.looks = append(h.looks, &looked{asked: r.rec.Asked, at: m.At, reel: r})
	}
	if r.rec.Ended != nil {
		if h.jobs == nil {
			h.jobs = map[string]bool{}
		}
		h.jobs[r.rec.Ended.ID] = true
	}
	if r.rec.Done != nil {
		h.dones = append(h.dones, doneAt{m.At, *r.rec.Done})
	}
	for _, d := range m.Deeds {
		if d.Kind != health.DoStart && d.Kind != health.DoRestart {
			continue
		}
		i := slices.IndexFunc(h.tries, func(t *tried) bool { return t.of == d.Case && t.n == d.Attempt })
		if i < 0 {
			h.tries = append(h.tries, &tried{at: m.At, kind: d.Kind, n: d.Attempt, of: d.Case})
			i = len(h.tries) - 1
		}
		t := h.tries[i]
		t.orders = append(t.orders, m.At)
		if m.At.Before(t.at) { // runs come in no order of their marks
			t.at, t.kind = m.At, d.Kind
		}
	}
}

// conclude finds out what came of each attempt.
func (h *history) conclude() {
	byTime := func(x, y time.Time) int { return x.Compare(y) }
	slices.SortStableFunc(h.tries, func(x, y *tried) int { return byTime(x.at, y.at) })
	slices.SortFunc(h.phases, func(x, y phased) int { return cmp.Or(byTime(x.at, y.at), x.order-y.order) })
	h.phases = slices.CompactFunc(h.phases, func(x, y phased) bool { return x.phase == y.phase })
	slices.SortStableFunc(h.looks, func(x, y *looked) int { return byTime(x.asked, y.asked) })
	slices.SortStableFunc(h.dones, func(x, y doneAt) int { return byTime(x.at, y.at) })
	for i, t := range h.tries {
		slices.SortFunc(t.orders, byTime)
		until := time.Time{}
		if i+1 < len(h.tries) {
			until = h.tries[i+1].at
		}
		in := func(at time.Time) bool { return !at.Before(t.at) && (until.IsZero() || at.Before(until)) }
		for _, d := range h.dones {
			if in(d.at) {
				t.done, t.took = d.Done, d.at.Sub(t.at)
				t.answers++
			}
		}
		for _, p := range h.phases {
			if !in(p.at) {
				continue
			}
			t.runs = t.runs || p.phase == health.Settling || p.phase == health.Up
			if p.phase == health.Up && t.well.IsZero() {
				t.well = p.at
			}
		}
	}
}

// phase is the one in which it was at a moment.
func (h *history) phase(at time.Time) health.Phase {
	n, _ := slices.BinarySearchFunc(h.phases, at, func(p phased, at time.Time) int {
		if p.at.After(at) {
			return 1
		}
		return -1
	})
	if n == 0 {
		return ""
	}
	return h.phases[n-1].phase
}

// look gives the recorded one that answers what is asked now: it was asked at about the same time, and answered later.
func (h *history) look(asked time.Time) *looked {
	for _, l := range h.looks {
		if l.seq == 0 && !l.asked.IsZero() && l.asked.Sub(asked).Abs() <= alike && !l.at.Before(asked) {
			return l
		}
	}
	return nil
}

// try gives the recorded attempt that is the same as one that is ordered now.
func (h *history) try(at time.Time, kind health.ActionKind) *tried {
	for _, t := range h.tries {
		if t.made == 0 && t.kind == kind && t.at.Sub(at).Abs() <= alike {
			return t
		}
	}
	return nil
}

// under gives the recorded attempt that was under way at a moment: the latest that began.
func (h *history) under(at time.Time) *tried {
	var out *tried
	for _, t := range h.tries {
		if !t.at.After(at) {
			out = t
		}
	}
	return out
}

// next gives the first recorded attempt from a moment on, before it was well again.
func (h *history) next(at time.Time) *tried {
	for _, t := range h.tries {
		if t.at.Before(at) {
			continue
		}
		for _, p := range h.phases {
			if p.phase == health.Up && !p.at.Before(at) && p.at.Before(t.at) {
				return nil
			}
		}
		return t
	}
	return nil
}

// again is when it was well again from a moment on; zero: it was not. Sick: a probe has failed by then, which may not have
// been confirmed yet.
func (h *history) again(at time.Time, sick bool) phased {
	if h.phase(at) == health.Up && (!sick || h.next(at) == nil) {
		return phased{at: at}
	}
	for _, p := range h.phases {
		if p.phase == health.Up && p.at.After(at) {
			return p
		}
	}
	return phased{}
}

// reached reports whether a fact is not before it.
func (p phased) reached(f *fact) bool {
	return f.at.After(p.at) || f.at.Equal(p.at) && f.order >= p.order
}

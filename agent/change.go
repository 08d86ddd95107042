package agent

import (
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// change starts or stops a container. It never begins while a command, ours or of a predecessor, is still at it.
func (h *hands) change(j job, act health.Action) {
	unlock, ok := h.lock(j.ref)
	if !ok {
		return
	}
	defer unlock()
	d := h.dossier(act.Case)
	d.volatile(h.ctx)
	for _, first := range act.First {
		if !j.inst.Can(first) {
			continue
		}
		tr, _, ok := h.order(j, act, first, 0)
		if !ok {
			return
		}
		h.a.inbox.put(func(t *turn) { t.cured(j.ref, tr) })
	}
	verb, limit := h.verb(j, act)
	tr, ans, ok := h.order(j, act, verb, limit)
	if !ok {
		return
	}
	done := health.Done{Attempt: act.Attempt, Verb: verb, Err: ans.Err, Cause: ans.Cause, Already: ans.Already}
	h.a.inbox.put(func(t *turn) { t.finished(j.ref, done, tr, string(ans.Log)) })
}

// order has the engine do one thing, and keeps what it said. ok is false when the agent ends meanwhile: the command goes on,
// and our successor awaits it.
func (h *hands) order(j job, act health.Action, verb health.Verb, limit time.Duration) (tr health.Tried, ans engine.Answer, ok bool) {
	began := time.Now()
	ans = j.inst.Do(h.ctx, verb, j.ref.ID, limit)
	if h.ctx.Err() != nil && ans.Transcript.Abandoned {
		return tr, ans, false
	}
	h.dossier(act.Case).transcript(act, verb, ans)
	tr = health.Tried{Attempt: act.Attempt, Verb: verb, At: began, Took: health.ToMillis(ans.Transcript.Took), Command: ans.Transcript.Argv,
		Exit: ans.Transcript.Exit, Answer: answer(ans), Cause: ans.Cause}
	return tr, ans, true
}

// cured takes in what came of a cure that precedes a start; whether it helped is what the start shows.
func (t *turn) cured(ref health.Ref, tr health.Tried) {
	if g := t.guests[ref]; g != nil {
		t.keepTried(g, tr)
	}
}

// keepTried keeps an attempt with its case.
func (t *turn) keepTried(g *guest, tr health.Tried) {
	tr.At = t.clock.wall(t.clock.at(tr.At))
	g.tried = append(g.tried, tr)
	if len(g.tried) > 40 {
		g.tried = g.tried[1:]
	}
	t.noteTried(g, tr)
}

// verb chooses the engine's command: its own restart where it has one, else a stop that asks, or one that does not.
func (h *hands) verb(j job, act health.Action) (health.Verb, time.Duration) {
	switch {
	case act.Kind == health.DoStart:
		return health.VerbStart, 0
	case act.Hard && j.inst.Can(health.VerbKill):
		return health.VerbKill, 0
	case !act.Hard && j.inst.Can(health.VerbRestart):
		return health.VerbRestart, 0
	}
	return health.VerbStop, j.setup.Policy.StopWithin
}

// answer is what the engine said, for people: its own words, bounded.
func answer(ans engine.Answer) string {
	out := string(ans.Transcript.Stderr)
	if out == "" {
		out = string(ans.Transcript.Stdout)
	}
	if out == "" {
		out = ans.Err
	}
	if len(out) > 2000 {
		out = out[:2000] + "…"
	}
	return out
}

// finished takes in the outcome of a change.
func (t *turn) finished(ref health.Ref, d health.Done, tr health.Tried, log string) {
	t.survey.End(ref)
	g := t.guests[ref]
	if g == nil {
		return
	}
	g.engineLog = log
	t.keepTried(g, tr)
	t.answered(g, d)
}

// answered steps with the outcome of a change, and then with those that have waited for its place.
func (t *turn) answered(g *guest, d health.Done) {
	t.take(g, sensed{sensor: sensorDone, outcome: string(d.Verb), detail: d.Err, record: record{Done: &d}}, health.Observation{Done: &d})
	var waiting []*guest
	for _, o := range t.guests {
		if o.state.Queue {
			waiting = append(waiting, o)
		}
	}
	for _, o := range sorted(waiting) {
		t.step(o, health.Observation{})
	}
}

package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// heartbeat is how often the loop turns when nothing happens: it feeds the watchdog.
const heartbeat = 5 * time.Second

// loop is the decision goroutine.
func (a *Agent) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-a.inbox.ready:
		case <-timer.C:
		}
		a.turn(a.inbox.drain())
		timer.Reset(a.untilWake())
	}
	a.turn([]func(*turn){func(t *turn) { t.flush = true }})
}

// untilWake is how long the loop may sleep if nothing arrives.
func (a *Agent) untilWake() time.Duration {
	now := a.clock.now()
	d := heartbeat
	for _, g := range a.guests {
		if w := g.state.Wake; g.born && !w.IsZero() && w.Sub(now) < d {
			d = w.Sub(now)
		}
	}
	for _, w := range []time.Time{a.windows.next, a.nextJob} {
		if due := w.Sub(a.clock.wall(now)); !w.IsZero() && due < d {
			d = due
		}
	}
	return max(d, time.Millisecond)
}

// A turn is one round of the loop: what arrived is stepped, then committed, then carried out.
type turn struct {
	*Agent
	at      time.Time
	batch   store.Batch
	dirty   map[*guest]bool
	work    []work
	after   []func() // once committed: answers to people
	notices int      // queued in this turn
	deeds   []placed // what was ordered in it
	flush   bool     // the journal is written whole: the agent ends
}

// work is what one Step of one container ordered, with all that carrying it out needs.
type work struct {
	g    *guest
	job  job
	acts []health.Action
}

func (a *Agent) turn(events []func(*turn)) {
	t := &turn{Agent: a, at: a.clock.now(), dirty: map[*guest]bool{}}
	a.journal.turn(t.at)
	a.byName = nil
	a.lastRun.Store(time.Now().UnixNano())
	for _, e := range events {
		e(t)
	}
	t.openWindows()
	t.dueJobs()
	for _, g := range a.due(t.at) {
		t.passed(g)
	}
	t.depend()
	t.hostwide()
	t.checkpoint()
	t.commit()
	a.turns.Add(1)
	a.lastRun.Store(time.Now().UnixNano())
	for _, f := range t.after {
		f()
	}
	for _, w := range t.work {
		a.hands.carryOut(w)
	}
}

// due are those that asked to be woken by now, always in the same order: who comes first may get what room there is. What
// awaits a predecessor's command has no policy yet, and sleeps.
func (a *Agent) due(at time.Time) []*guest {
	var out []*guest
	for _, g := range a.guests {
		if w := g.state.Wake; g.born && !w.IsZero() && !at.Before(w) {
			out = append(out, g)
		}
	}
	return sorted(out)
}

func sorted(all []*guest) []*guest {
	slices.SortFunc(all, func(x, y *guest) int { return strings.Compare(x.ref.String(), y.ref.String()) })
	return all
}

// take has the core decide about one observation, and keeps it in the journal.
func (t *turn) take(g *guest, s sensed, o health.Observation) {
	m := mark{At: t.at, Order: t.journal.next()}
	var changed bool
	changed, m.Deeds = t.step(g, o)
	m.Phase, s.ref = g.state.Phase, g.ref
	if strings.HasPrefix(s.sensor, sensorProbe) {
		m.Detail = s.detail
	}
	t.journal.observe(s, m, changed)
	if g.state.Phase == health.Gone {
		t.journal.drop(g.ref)
	}
}

// passed steps with time alone. Mostly that changes nothing, and nothing is kept.
func (t *turn) passed(g *guest) {
	order := t.journal.next()
	if changed, deeds := t.step(g, health.Observation{}); changed {
		t.journal.observe(sensed{ref: g.ref, sensor: sensorTime, outcome: "passed"}, mark{At: t.at, Order: order, Phase: g.state.Phase, Deeds: deeds}, true)
	}
}

// step has the core decide about one observation. It reports whether that changed anything that is worth a commit, and what
// is to be done.
func (t *turn) step(g *guest, o health.Observation) (changed bool, deeds []Deed) {
	o.At, o.Room = t.at, t.room(g)
	before := g.state
	next, acts := health.Step(g.setup.Policy, before, o)
	g.state = next
	t.backups += backingUp(next) - backingUp(before)
	t.survey.Note(next, g.setup.Priority)
	if changed = !next.Same(before) || len(acts) > 0; changed {
		t.dirty[g] = true
	}
	if before.Config != "" && next.Config != before.Config {
		g.changed = t.at
	}
	if in := next.Incident; in != nil && before.Incident != nil && *in != *before.Incident { // alerts bring the rest
		t.batch.Incidents = append(t.batch.Incidents, *in)
	}
	if in := next.Backup.Incident; in != nil && before.Backup.Incident != nil && *in != *before.Backup.Incident {
		t.batch.Incidents = append(t.batch.Incidents, *in)
	}
	if next.Phase != before.Phase && before.Phase != "" {
		if text := t.turned(before, next); text != "" {
			t.noteOf(caseID(next, before), g, "phase", text)
		}
	}
	if next.Phase != before.Phase || !next.Life.Equal(before.Life) {
		t.aim(g)
	}
	if len(acts) > 0 {
		deeds = t.ordered(g, before, acts)
	}
	if next.Phase == health.Gone {
		t.forget(g)
	}
	return changed, deeds
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// ordered takes in what the core wants done: alerts become rows of this turn's transaction, the rest is work after it.
func (t *turn) ordered(g *guest, before health.State, acts []health.Action) (deeds []Deed) {
	t.dirty[g] = true
	var rest []health.Action
	for _, act := range acts {
		switch act.Kind {
		case health.DoStart, health.DoRestart:
			t.survey.Begin(g.ref, t.at, act.Kind == health.DoRestart && !act.Hard)
			t.note(g, "action", does(act))
			t.metrics.attempts.WithLabelValues(string(act.Kind)).Inc()
			if t.memory.failing() {
				t.memory.spend(g.ref)
			}
			deeds = append(deeds, deedOf(act, false))
			rest = append(rest, act)
		case health.DoOpen, health.DoUpdate, health.DoEscalate, health.DoResolve, health.DoTell, health.DoWarn:
			deeds = append(deeds, deedOf(act, t.told(g, act)))
			if act.Kind == health.DoResolve {
				rest = append(rest, act)
			}
		default:
			rest = append(rest, act)
		}
	}
	for _, d := range deeds {
		t.deeds = append(t.deeds, placed{g.ref, d})
	}
	if len(rest) == 0 {
		return deeds
	}
	rest = t.ofBackups(g, before, rest)
	if len(rest) == 0 {
		return deeds
	}
	w := work{g: g, job: t.job(g, before), acts: rest}
	w.job.told, w.job.incident = t.seqs[rest[0].Case], g.state.Incident
	for _, act := range acts {
		if act.Kind == health.DoResolve {
			w.job.incident = act.Incident
		}
	}
	t.work = append(t.work, w)
	for _, act := range rest {
		if act.Kind == health.DoResolve || act.Kind == health.DoDrop {
			t.over(act.Case)
			g.caseEnded()
		}
	}
	return deeds
}

func deedOf(act health.Action, told bool) Deed {
	d := Deed{Kind: act.Kind, Attempt: act.Attempt, Hard: act.Hard, Case: act.Case, Reason: act.Reason, Told: told}
	if act.Incident != nil {
		d.Opened, d.About = act.Incident.Opened, act.Incident.Kind
	}
	return d
}

// over forgets what was remembered for a case that is over, once its last part of evidence has it.
func (t *turn) over(id string) {
	if _, ok := t.seqs[id]; ok {
		delete(t.seqs, id)
		t.batch.Meta = meta(t.batch.Meta, "seq/"+id, "")
	}
}

// note adds a line to the timeline of the container's case, and to the journal.
func (t *turn) note(g *guest, kind, text string) { t.noteOf(caseID(g.state), g, kind, text) }

// noteOf does so for a case that the state may know no more: what ends a case belongs to it.
func (t *turn) noteOf(id string, g *guest, kind, text string) {
	t.remark(g, kind, text)
	t.batch.Notes = append(t.batch.Notes, store.Note{Ref: g.ref, Incident: id, At: t.at, Kind: kind, Text: text})
}

// remark adds a line to the timeline of the case only: what the journal holds already.
func (t *turn) remark(g *guest, kind, text string) {
	g.remember(t.clock.wall(t.at), text)
	t.log.Debug("decided", "container", g.ref.String(), "kind", kind, "what", text)
}

// commit makes the turn durable, before anything is done. It never waits longer than a second.
func (t *turn) commit() {
	for g := range t.dirty {
		if g.state.Phase != health.Gone {
			t.batch.States = append(t.batch.States, g.state)
		}
	}
	t.batch.Runs = t.journal.due(t.at, len(t.batch.States) > 0, t.flush)
	if len(t.batch.States)+len(t.batch.Forget)+len(t.batch.Runs)+len(t.batch.Notes)+len(t.batch.Alerts)+len(t.batch.Meta) == 0 {
		if t.memory.failing() && t.o.Store.Health() == nil {
			t.memory.noted(t, nil)
		}
		return
	}
	t.batch.At = t.at
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	err := t.o.Store.Commit(ctx, t.batch)
	t.metrics.commit.Observe(time.Since(began).Seconds())
	t.memory.noted(t, err)
	if err == nil && len(t.batch.Alerts) > 0 && t.o.Queued != nil {
		t.o.Queued()
	}
}

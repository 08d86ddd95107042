package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
)

// planned is a schedule of one container with its next time, by the host's clock.
type planned struct {
	Schedule
	next time.Time
}

const (
	// lateAfter is how late a job may be begun that is not to be caught up: a loop that was busy is not downtime.
	lateAfter = 2 * time.Minute
	// setBack is how far in the future of the host's clock a job may have been done before that clock is taken as set back.
	setBack = time.Hour
	// backupsEvery is how often an engine is asked for backups that others make.
	backupsEvery = time.Hour
	// mostMissed bounds the times that are counted through after a downtime.
	mostMissed = 100_000
)

// replan works out what the schedules have for a container, from what it has heard of them.
func (t *turn) replan(g *guest) {
	if !g.born {
		return
	}
	wall := t.clock.wall(t.at)
	g.plan = nil
	for _, s := range g.setup.Schedules {
		mark := g.state.Jobs.Heard[s.Name]
		if mark.IsZero() || mark.Sub(wall) > setBack {
			mark = wall.Round(0)
			t.isDue(g, health.Job{Name: s.Name, Due: mark, Skip: health.SkipNew})
		}
		p := planned{s, s.Spec.Next(mark)}
		g.plan = append(g.plan, p)
		t.soonest(p.next)
	}
}

func (t *turn) soonest(next time.Time) {
	if !next.IsZero() && (t.nextJob.IsZero() || next.Before(t.nextJob)) {
		t.nextJob = next
	}
}

// dueJobs tells the containers what is due.
func (t *turn) dueJobs() {
	wall := t.clock.wall(t.at)
	if t.nextJob.IsZero() || wall.Before(t.nextJob) {
		return
	}
	t.nextJob = time.Time{}
	for _, g := range t.guests {
		for i := range g.plan {
			if p := &g.plan[i]; g.born && !p.next.IsZero() && !wall.Before(p.next) {
				t.dueJob(g, p, wall)
			}
			t.soonest(g.plan[i].next)
		}
	}
}

// dueJob tells of the latest run that is due; what came before it, while nobody was there, is one with it.
func (t *turn) dueJob(g *guest, p *planned, wall time.Time) {
	due := p.next
	for range mostMissed {
		p.next = p.Spec.Next(due)
		if p.next.IsZero() || p.next.After(wall) {
			break
		}
		due = p.next
	}
	j := health.Job{Name: p.Name, Due: due}
	if !p.next.IsZero() {
		j.Until = t.at.Add(p.next.Sub(wall))
	}
	if jp := g.setup.Policy.Jobs[p.Name]; wall.Sub(due) > lateAfter && !jp.CatchUp {
		j.Skip = health.SkipMissed
	}
	t.note(g, "schedule", fmt.Sprintf("%s by schedule %q is due", g.setup.Policy.Jobs[p.Name].Do, p.Name))
	t.isDue(g, j)
}

// isDue steps with a run of a schedule.
func (t *turn) isDue(g *guest, j health.Job) {
	t.take(g, sensed{sensor: sensorJob, outcome: j.Name, detail: string(j.Skip), record: record{Job: &j}}, health.Observation{Job: &j})
}

// backingUp is 1 where a scheduled backup is about to be made, or is.
func backingUp(s health.State) int {
	if r := s.Jobs.Run; r != nil && r.Do == health.VerbBackup {
		return 1
	}
	return 0
}

// backupsBusy says why no scheduled backup of a container may be begun now; empty: it may.
func (t *turn) backupsBusy(g *guest) string {
	n := t.backups - backingUp(g.state)
	if t.set.Backups <= 0 || n < t.set.Backups {
		return ""
	}
	return fmt.Sprintf("others are backed up on this host, %d at once", n)
}

// ofBackups takes what concerns an incident about backups out of what was ordered: it is another than the container's own.
func (t *turn) ofBackups(g *guest, before health.State, acts []health.Action) (rest []health.Action) {
	own := caseID(g.state, before)
	for _, act := range acts {
		in := act.Incident
		switch {
		case in != nil && in.Kind == health.KindBackup:
			w := work{g: g, job: t.job(g, before), acts: []health.Action{act}}
			w.job.told, w.job.incident, w.job.verdict, w.job.tried = t.seqs[act.Case], in, health.Verdict{}, nil
			w.job.moments = []evidence.Moment{{At: t.clock.wall(in.Opened), Text: in.Reason}}
			t.work = append(t.work, w)
			if act.Kind == health.DoResolve {
				t.over(act.Case)
			}
		case act.Kind == health.DoDrop && act.Case != own:
			t.work = append(t.work, work{g: g, job: t.job(g, before), acts: []health.Action{act}})
		default:
			rest = append(rest, act)
		}
	}
	return rest
}

// aboutBackup puts an alert about backups into words.
func (t *turn) aboutBackup(g *guest, al *health.Alert) {
	al.Quiet = ""
	al.Next = t.nextBackup(g)
	switch who := fmt.Sprintf("%s on %s", g.name(), al.Host.FQDN); al.Kind {
	case health.AlertResolved:
		al.Next, al.Summary = "", fmt.Sprintf("%s is backed up again: %s", who, al.How)
	default:
		al.Severity, al.Summary = "warning", who+": "+al.Reason
	}
}

// nextBackup says when the next is due.
func (t *turn) nextBackup(g *guest) string {
	var next time.Time
	for _, p := range g.plan {
		if g.setup.Policy.Jobs[p.Name].Do == health.VerbBackup && !p.next.IsZero() && (next.IsZero() || p.next.Before(next)) {
			next = p.next
		}
	}
	if next.IsZero() {
		return ""
	}
	return "the next backup is due at " + next.Format(time.RFC3339)
}

// jobDo carries out a scheduled backup or stop. It waits until nothing else is at the container.
func (h *hands) jobDo(j job, act health.Action) {
	unlock, ok := h.lock(j.ref)
	if !ok {
		return
	}
	defer unlock()
	if r := h.a.o.Recorder; r != nil && act.Verb == health.VerbBackup {
		if old := h.dossier(act.Case).take(r.Begin(evidence.Request{Incident: act.Case, Part: 1, Ref: j.ref, Name: j.name, Host: h.a.o.Host,
			Reason: act.Reason, Init: j.state.Init, Cgroup: j.cgroup, Failed: h.a.clock.wall(j.at)})); old != nil {
			old.Drop()
		}
	}
	ans := h.jobOrder(j, act)
	if h.ctx.Err() != nil && ans.Transcript.Abandoned {
		return // it goes on, and our successor awaits it
	}
	h.dossier(act.Case).transcript(act, act.Verb, ans)
	d := health.JobDone{ID: act.Case, Err: ans.Err, Cause: ans.Cause}
	took := ans.Transcript.Took
	h.a.inbox.put(func(t *turn) { t.jobEnded(j.ref, act, d, took) })
}

// jobOrder has the engine do it, or the command that is configured.
func (h *hands) jobOrder(j job, act health.Action) engine.Answer {
	limit := j.setup.Policy.Jobs[act.Job].Limit
	i := slices.IndexFunc(j.setup.Schedules, func(s Schedule) bool { return s.Name == act.Job })
	if act.Verb == health.VerbBackup && i >= 0 && j.setup.Schedules[i].Command != nil {
		return j.inst.Run(h.ctx, act.Verb, j.setup.Schedules[i].Command, j.ref.ID, j.name, limit)
	}
	if act.Verb == health.VerbBackup && !j.inst.Can(act.Verb) {
		return engine.Answer{Err: fmt.Sprintf("the engine %q makes no backups by itself: give schedule %q a command, or match other containers", j.ref.Engine, act.Job)}
	}
	return j.inst.Do(h.ctx, act.Verb, j.ref.ID, limit)
}

// jobEnded takes in what came of a job.
func (t *turn) jobEnded(ref health.Ref, act health.Action, d health.JobDone, took time.Duration) {
	outcome, text := "ok", fmt.Sprintf("%s ended well after %s", act.Reason, took.Round(time.Millisecond))
	if d.Err != "" {
		outcome, text = "failed", fmt.Sprintf("%s failed: %s%s", act.Reason, d.Err, because(d.Cause))
	}
	t.metrics.jobs.WithLabelValues(string(act.Verb), outcome).Inc()
	if g := t.guests[ref]; g != nil {
		t.note(g, "schedule", text)
		t.log.Info("a scheduled job has ended", "container", ref.String(), "job", act.Job, "do", string(act.Verb), "outcome", outcome, "took", took, "err", d.Err)
		t.take(g, sensed{sensor: sensorEnded, outcome: outcome, detail: d.Err, record: record{Ended: &d}}, health.Observation{Ended: &d})
	}
}

// askBackups asks the engines, one container after the other, for backups that others made of those that have schedules.
func (a *Agent) askBackups(ctx context.Context) {
	if !slices.ContainsFunc(a.inst, func(in *instance) bool { return in.KnowsBackups() }) {
		return
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		ask := make(chan []*askBackup, 1)
		a.inbox.put(func(t *turn) { ask <- t.toAsk() })
		select {
		case all := <-ask:
			for _, q := range all {
				a.askBackup(ctx, q)
			}
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

type askBackup struct {
	ref  health.Ref
	inst *instance
}

// toAsk gives those whose engine is to be asked.
func (t *turn) toAsk() (out []*askBackup) {
	for ref, g := range t.guests {
		if !g.born || !g.inst.KnowsBackups() || !g.backsUp() || !g.asked.IsZero() && t.at.Sub(g.asked) < backupsEvery {
			continue
		}
		g.asked = t.at
		out = append(out, &askBackup{ref, g.inst})
	}
	slices.SortFunc(out, func(x, y *askBackup) int { return strings.Compare(x.ref.String(), y.ref.String()) })
	return out
}

// backsUp tells whether a schedule makes backups of the container.
func (g *guest) backsUp() bool {
	for _, jp := range g.setup.Policy.Jobs {
		if jp.Do == health.VerbBackup {
			return true
		}
	}
	return false
}

func (a *Agent) askBackup(ctx context.Context, q *askBackup) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := q.inst.LastBackup(ctx, q.ref.ID)
	if err != nil {
		a.log.Warn("the engine does not tell of its last backup", "container", q.ref.String(), "err", err)
		return
	}
	if b.OK && !b.At.IsZero() {
		w := health.BackupWord{At: a.clock.at(b.At).Round(0), Said: b.Said}
		a.inbox.put(func(t *turn) {
			if g := t.guests[q.ref]; g != nil && g.born {
				t.take(g, sensed{sensor: sensorBackup, outcome: "said", detail: w.Said, record: record{Backup: &w}}, health.Observation{Backup: &w})
			}
		})
	}
}

// jobViews shows what the schedules have for a container.
func (t *turn) jobViews(g *guest) []health.JobView {
	var out []health.JobView
	for _, p := range g.plan {
		v := health.JobView{Name: p.Name, Do: g.setup.Policy.Jobs[p.Name].Do, Next: p.next}
		if r := g.state.Jobs.Run; r != nil && r.Job.Name == p.Name && r.Ordered {
			v.Since = t.clock.wall(r.Since)
		}
		for i, w := range g.state.Jobs.Waiting {
			if w.Name == p.Name {
				v.Postponed = "it is not its turn"
				if i == 0 {
					v.Postponed = g.state.Jobs.Why
				}
			}
		}
		out = append(out, v)
	}
	return out
}

// backupView shows what is known of the backups of a container; nil where none are scheduled and none are known.
func (t *turn) backupView(g *guest) *health.BackupView {
	b := g.state.Backup
	if !g.backsUp() && b.Good.IsZero() {
		return nil
	}
	v := &health.BackupView{Good: t.clock.wall(b.Good), By: b.By, Failed: t.clock.wall(b.Failed), Err: b.Err}
	if b.Incident != nil {
		v.Incident = b.Incident.ID
	}
	return v
}

// backupText tells of the backups of a container, for the evidence; empty where none are scheduled.
func (a *Agent) backupText(j job) string {
	b := j.state.Backup
	if b.Expected.IsZero() && b.Good.IsZero() {
		return ""
	}
	text := "There has been no good backup yet.\n"
	if !b.Good.IsZero() {
		text = fmt.Sprintf("The last good backup was begun at %s (%s), %s before this was written.\n", a.clock.wall(b.Good).Format(time.RFC3339), b.By,
			a.clock.now().Sub(b.Good).Round(time.Second))
	}
	if !b.Failed.IsZero() {
		text += fmt.Sprintf("The latest failed at %s: %s\n", a.clock.wall(b.Failed).Format(time.RFC3339), b.Err)
	}
	return text
}

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// told turns an action of the core into an incident's row and one alert per channel, in this turn's transaction. It reports
// whether there is anything to be told: not in mode observe, and not of what belongs to an event of the host.
func (t *turn) told(g *guest, act health.Action) bool {
	kind, severity := alertKind(act.Kind)
	al := health.Alert{Schema: health.AlertSchema, Kind: kind, Severity: severity, Host: t.o.Host, Reason: act.Reason,
		At: t.clock.wall(t.at), Since: t.clock.wall(t.at), Verdict: nil}
	sub := g.subject()
	al.Container = &sub
	child := act.Incident != nil && act.Incident.Untold()
	backup := act.Incident != nil && act.Incident.Kind == health.KindBackup
	if in := act.Incident; in != nil {
		t.metrics.incidents.WithLabelValues(string(act.Kind)).Inc()
		stored := *in
		t.batch.Incidents = append(t.batch.Incidents, stored)
		al.Incident, al.Since = in.ID, t.clock.wall(in.Opened)
		if !in.Confirmed.IsZero() {
			al.Confirmed = t.clock.wall(in.Confirmed)
		}
		if !child {
			al.Seq = t.seq(in.ID)
		}
		al.Reason = in.Reason
		if !backup {
			al.Attempts = slices.Clone(g.tried)
		}
		if v := t.judge(g, health.State{Case: g.state.Case}); v.Sentence != "" && !backup {
			al.Verdict = &v
		}
		if kind == health.AlertResolved {
			al.How, al.Verdict = in.How, nil
		}
		if kind == health.AlertResolved && !backup {
			al.DownFor = health.ToMillis(in.Resolved.Sub(in.Opened))
			t.metrics.recovered.Observe(in.Resolved.Sub(in.Opened).Seconds())
		}
	}
	if !backup && (kind == health.AlertOpen || kind == health.AlertUpdate || kind == health.AlertEscalate) {
		al.Affected = t.affected(t.dependents(g))
	}
	al.Next, al.Todo, al.Quiet = t.next(g, kind), t.todo(g, al), quiet(g, kind)
	al.Summary = summary(al, g.state, act.Incident)
	if backup {
		t.aboutBackup(g, &al)
	}
	if len(al.Affected) > 0 {
		al.Summary += "; it takes down with it " + few(al.Affected)
	}
	about := al.Incident // the state has let go of it when it is resolved
	if about == "" {
		about = caseID(g.state)
	}
	t.noteOf(about, g, "alert", string(kind)+": "+al.Summary)
	t.log.Log(context.Background(), level(al.Severity), "incident", "turn", string(kind), "container", g.ref.String(), "incident", al.Incident, "summary", al.Summary)
	hushed := act.Kind == health.DoTell && g.state.Host.Window.Name != "" // whoever works on it knows what is done
	tell := g.setup.Policy.Mode != health.ModeObserve && !child && !hushed
	if tell {
		t.queue(g.setup.Channels, al, act)
	}
	return tell
}

// queue writes one row per channel. What tells of an incident waits for the part of the evidence that is being taken, but
// not long.
func (t *turn) queue(channels []string, al health.Alert, act health.Action) {
	due := t.at
	if act.Kind != health.DoTell && act.Kind != health.DoWarn && t.o.Recorder != nil {
		due = due.Add(t.set.OpenDue)
	}
	key := fmt.Sprintf("%s/%d", al.Incident, al.Seq)
	if al.Incident == "" {
		t.notices++ // several may fall into one turn
		key = fmt.Sprintf("notice/%s/%d-%d", subjectRef(al), t.at.UnixNano(), t.notices)
	}
	for _, ch := range channels {
		t.batch.Alerts = append(t.batch.Alerts, store.Queued{Channel: ch, Alert: al, Due: due, Key: key})
	}
}

func subjectRef(al health.Alert) string {
	if al.Container == nil {
		return "host"
	}
	return al.Container.Ref
}

// notice tells something that belongs to no container, to every channel.
func (t *turn) notice(severity, text string) {
	now := t.clock.wall(t.at)
	al := health.Alert{Schema: health.AlertSchema, Kind: health.AlertNotice, Severity: severity, Host: t.o.Host,
		Summary: fmt.Sprintf("%s: %s", t.o.Host.FQDN, text), Reason: text, Since: now, At: now}
	t.log.Log(context.Background(), level(severity), "notice", "what", text)
	if t.set.Mode != health.ModeObserve {
		t.queue(t.set.Channels, al, health.Action{Kind: health.DoTell})
	}
}

// seq numbers the alerts of an incident: 1, 2, …; it goes on where the agent before this one stopped.
func (t *turn) seq(id string) int {
	if t.seqs == nil {
		t.seqs = map[string]int{}
	}
	t.seqs[id]++
	t.batch.Meta = meta(t.batch.Meta, "seq/"+id, fmt.Sprint(t.seqs[id]))
	return t.seqs[id]
}

func meta(m map[string]string, k, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	return m
}

func level(severity string) slog.Level {
	switch severity {
	case "critical":
		return slog.LevelError
	case "warning":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func alertKind(k health.ActionKind) (kind health.AlertKind, severity string) {
	switch k {
	case health.DoOpen:
		return health.AlertOpen, "critical"
	case health.DoUpdate:
		return health.AlertUpdate, "critical"
	case health.DoEscalate:
		return health.AlertEscalate, "critical"
	case health.DoResolve:
		return health.AlertResolved, "info"
	case health.DoWarn:
		return health.AlertNotice, "warning"
	}
	return health.AlertNotice, "info"
}

// next says what the agent does next.
func (t *turn) next(g *guest, kind health.AlertKind) string {
	s := g.state
	if kind == health.AlertResolved {
		return ""
	}
	switch s.Phase {
	case health.Waiting, health.Exhausted:
		if s.Queue {
			return "an attempt as soon as there is room: " + s.Why
		}
		return fmt.Sprintf("next attempt at %s", t.clock.wall(s.Due).Format(time.RFC3339))
	case health.Settling:
		return "waiting for it to be well"
	case health.Starting, health.Stopping:
		return "an attempt is under way"
	}
	return s.Why
}

func (t *turn) todo(g *guest, al health.Alert) string {
	var todo []string
	if al.Verdict != nil && al.Verdict.Cure != "" {
		todo = append(todo, al.Verdict.Cure)
	}
	if g.setup.Runbook != "" {
		todo = append(todo, "runbook: "+g.setup.Runbook)
	}
	return strings.Join(todo, "; ")
}

func quiet(g *guest, kind health.AlertKind) string {
	if kind == health.AlertResolved || kind == health.AlertNotice {
		return ""
	}
	return fmt.Sprintf("atalaya hold %s --for 1h --reason \"…\"", g.ref)
}

// noteTried keeps an attempt with the incident, for the store and for a successor of this agent.
func (t *turn) noteTried(g *guest, tr health.Tried) {
	data, err := json.Marshal(tr)
	if err != nil { // it holds nothing that does not marshal
		t.log.Error("an attempt could not be kept", "container", g.ref.String(), "err", err)
	}
	said := "exit " + fmt.Sprint(tr.Exit)
	if tr.Cause != "" {
		said += ": " + tr.Cause
	}
	line := fmt.Sprintf("attempt %d: %s ended after %.0f ms, %s", tr.Attempt, tr.Verb, float64(tr.Took), said)
	g.remember(t.clock.wall(t.at), line)
	t.batch.Notes = append(t.batch.Notes, store.Note{Ref: g.ref, Incident: caseID(g.state), At: t.at, Kind: "tried", Text: line, Data: data})
}

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/diagnose"
	"atalaya/agent/health"
)

// eventKey is where the store keeps the event of the whole host that goes on.
const eventKey = "host-event"

// daemonDeadAfter is how long the lists of an engine must have failed before that counts as a fault of the host.
const daemonDeadAfter = 15 * time.Second

// strained brings the survey up to date on what is wrong with the host itself.
func (t *turn) strained() {
	if !t.journal.silent { // in a replay it is as recorded
		t.ail()
	}
	t.faults = t.strain.Faults
	if t.hushed() && t.survey.Event() == nil { // what is open already stays so until it is over
		t.faults = nil
	}
	t.survey.Host(t.at, t.faults, t.strain.Choking)
}

// ail finds out what is wrong with the host itself.
func (t *turn) ail() {
	faults, choking := []string{}, ""
	if t.o.Watcher != nil {
		s := t.o.Watcher.Strain()
		faults, choking = append(faults, s.Faults...), s.Choking
	}
	for _, g := range t.guests {
		if g.state.RunState == health.Running { // a link that only starts make may be gone with the last that ran
			faults = append(faults, g.state.Host.Faults...)
		}
	}
	for _, in := range t.inst {
		if !in.failing.IsZero() && t.at.Sub(in.failing) >= daemonDeadAfter {
			faults = append(faults, fmt.Sprintf("the engine %s does not answer: %s", in.label(), in.view.Err))
		}
	}
	slices.Sort(faults)
	faults = slices.Compact(faults)
	if t.strain.Choking == choking && slices.Equal(t.strain.Faults, faults) {
		return
	}
	s := strain{faults, choking}
	t.strain = s
	t.journal.observe(sensed{sensor: sensorStrain, outcome: "said", record: record{Strain: &s}}, mark{At: t.at, Order: t.journal.next()}, true)
}

// hostwide judges, at the end of a turn, whether many containers fail together, and tells of it once.
func (t *turn) hostwide() {
	if e := t.survey.Event(); e != nil && len(e.Faults) > 0 { // what no longer holds keeps nobody waiting
		t.strained()
	}
	for _, turned := range t.survey.Judge(t.at) {
		t.toldHost(turned)
		if turned.Kind == health.DoResolve { // whoever still fails is told by itself from here on
			for _, ref := range turned.Event.Children {
				if g := t.guests[ref]; g != nil && g.born {
					t.step(g, health.Observation{})
				}
			}
		}
	}
	t.keepEvent()
}

// keepEvent writes the event that goes on, so that the next agent goes on with it.
func (t *turn) keepEvent() {
	text := ""
	if e := t.survey.Event(); e != nil {
		b, err := json.Marshal(e)
		if err != nil { // it holds nothing that does not marshal
			t.log.Error("the event of the host cannot be kept", "err", err)
		}
		text = string(b)
	}
	if text != t.event {
		t.event = text
		t.batch.Meta = meta(t.batch.Meta, eventKey, text)
	}
}

// resumeEvent goes on with what the agent before this one had open.
func (t *turn) resumeEvent() {
	text := t.loaded.Meta[eventKey]
	if text == "" {
		return
	}
	var e health.HostEvent
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.log.Warn("the event of the host that was open cannot be read back: it is forgotten", "err", err)
		return
	}
	t.event = text
	t.survey.Resume(&e)
}

// toldHost writes the incident of the host and one alert per channel.
func (t *turn) toldHost(turned health.HostTurn) {
	e := turned.Event
	in := health.Incident{ID: e.ID, Name: t.o.Host.FQDN, Reason: e.Reason, Opened: e.Since, Confirmed: e.Opened}
	kind, severity := alertKind(turned.Kind)
	al := health.Alert{Schema: health.AlertSchema, Kind: kind, Severity: severity, Host: t.o.Host, Incident: e.ID, Reason: turned.Reason,
		Seq: t.seq(e.ID), At: t.clock.wall(t.at), Since: t.clock.wall(e.Since), Confirmed: t.clock.wall(e.Opened), Affected: t.affected(e.Children)}
	al.Summary = fmt.Sprintf("%s: %s", t.o.Host.FQDN, e.Reason)
	if n := len(e.Children); n > 0 && kind != health.AlertResolved {
		al.Summary += fmt.Sprintf("; affected: %s", few(al.Affected))
	}
	for _, r := range e.Children {
		if g := t.guests[r]; g != nil && g.state.Case != nil {
			al.Incidents = append(al.Incidents, g.state.Case.ID)
		}
	}
	if kind == health.AlertOpen {
		v := diagnose.JudgeHost(t.o.Host.FQDN, e)
		al.Verdict, al.Todo = &v, v.Cure
	}
	al.Next = t.nextHost(e)
	if kind == health.AlertResolved {
		in.Resolved, in.How = t.at, turned.Reason
		al.How, al.DownFor, al.Next = turned.Reason, health.ToMillis(t.at.Sub(e.Since)), ""
		al.Summary = fmt.Sprintf("%s: over after %s: %s (%s)", t.o.Host.FQDN, t.at.Sub(e.Since).Round(time.Second), e.Reason, turned.Reason)
	}
	t.metrics.incidents.WithLabelValues(string(turned.Kind)).Inc()
	t.batch.Incidents = append(t.batch.Incidents, in)
	t.log.Log(context.Background(), level(severity), "incident of the host", "turn", string(kind), "incident", e.ID, "summary", al.Summary)
	tell := t.set.Mode != health.ModeObserve
	if tell {
		t.queue(t.set.Channels, al, health.Action{Kind: turned.Kind}) // it waits for the evidence of its containers
	}
	deed := Deed{Kind: turned.Kind, Case: e.ID, Opened: e.Since, Told: tell, Reason: turned.Reason}
	t.deeds = append(t.deeds, placed{Deed: deed})
	m := mark{At: t.at, Order: t.journal.next(), Deeds: []Deed{deed}}
	t.journal.observe(sensed{sensor: sensorEvent, outcome: string(turned.Kind)}, m, true)
	if kind == health.AlertResolved {
		delete(t.seqs, e.ID)
		t.batch.Meta = meta(t.batch.Meta, "seq/"+e.ID, "")
	}
}

// nextHost says what is done about it.
func (t *turn) nextHost(e health.HostEvent) string {
	switch {
	case len(e.Faults) > 0:
		return "what has died is started again; what only fails is left alone until this is over"
	case t.set.Mode != health.ModeHeal:
		return ""
	}
	return fmt.Sprintf("what has died is started again, %d at once; of what only fails, at most %d are restarted within %s, after another look at each",
		t.survey.Places, t.survey.Bucket, t.survey.Window)
}

// affected names containers for people.
func (t *turn) affected(refs []health.Ref) []string {
	var out []string
	for _, r := range refs {
		out = append(out, t.saying(r))
	}
	return out
}

// few names the first ones, and counts the rest.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
}

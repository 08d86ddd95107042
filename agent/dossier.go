package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/store"
)

// A dossier is the evidence of one case that is being taken: a capture from before an attempt to after it.
type dossier struct {
	mu  sync.Mutex
	cap *evidence.Capture
}

// dossier gives that of a case, making it when it is the first.
func (h *hands) dossier(id string) *dossier {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.cases[id]
	if d == nil {
		d = &dossier{}
		h.cases[id] = d
	}
	return d
}

func (h *hands) drop(id string) {
	h.mu.Lock()
	d := h.cases[id]
	delete(h.cases, id)
	delete(h.lines, id)
	h.mu.Unlock()
	if d != nil {
		if c := d.take(nil); c != nil {
			c.Drop()
		}
	}
}

// inLine lines up what seals a part of a case behind what was ordered to before, so that no part, and no alert that waits
// for it, overtakes another: a container is often well again before the round after its start is in.
func (h *hands) inLine(acts []health.Action) (turn <-chan struct{}, done func()) {
	for _, act := range acts {
		if act.Kind != health.DoResolve && (act.Kind != health.DoCapture || !act.After) {
			continue
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		mine := make(chan struct{})
		turn = h.lines[act.Case] // nil where there is none
		h.lines[act.Case] = mine
		return turn, func() { close(mine) }
	}
	return nil, func() {}
}

// take puts a capture in place and gives the one that was there.
func (d *dossier) take(c *evidence.Capture) *evidence.Capture {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.cap
	d.cap = c
	return old
}

func (d *dossier) get() *evidence.Capture {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cap
}

// volatile waits for what the change would destroy, within the budget.
func (d *dossier) volatile(ctx context.Context) {
	if c := d.get(); c != nil {
		c.Volatile(ctx)
	}
}

func (d *dossier) transcript(act health.Action, verb health.Verb, ans engine.Answer) {
	c := d.get()
	if c == nil {
		return
	}
	c.AddTranscript(fmt.Sprintf("%02d-%s.txt", act.Attempt, verb), ans.Transcript)
	if len(ans.Log) > 0 {
		c.Add(fmt.Sprintf("%02d-%s-engine.log", act.Attempt, verb), fmt.Sprintf("the virtualization software's own log of attempt %d (%s), "+
			"written for this attempt alone: where it failed, the first error in it is the cause", act.Attempt, verb), ans.Log)
	}
}

// capture takes one of the two rounds of evidence. After the second the part is sealed, and its alert need not wait.
func (h *hands) capture(j job, act health.Action) {
	r := h.a.o.Recorder
	if r == nil {
		return
	}
	d := h.dossier(act.Case)
	if !act.After {
		if old := d.take(r.Begin(h.request(j, act))); old != nil {
			old.Drop()
		}
		return
	}
	if j.incident != nil && !j.incident.Resolved.IsZero() { // by the same Step: its end has a part of its own
		j.told--
	}
	c := d.take(nil)
	if c == nil {
		c = r.Begin(h.request(j, act))
	} else {
		c.After(h.items(j, true))
	}
	h.seal(j, act, c)
}

// close seals the last part of an incident that is over: how it ended, with what shows how the container is now, and what
// was taken for an attempt that came to nothing.
func (h *hands) close(j job, act health.Action) {
	r := h.a.o.Recorder
	if r == nil {
		return
	}
	h.await(j) // or it takes what the round before it has yet to seal
	c := h.dossier(act.Case).take(nil)
	h.forget(act.Case)
	if c == nil {
		q := h.request(j, act)
		q.Items = nil
		c = r.Begin(q)
	}
	c.After(append(evidence.Processes(j.state.Init, j.cgroup), h.words(j, true)...))
	h.seal(j, act, c)
}

func (h *hands) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cases, id)
	delete(h.lines, id)
}

// await waits until the parts of the case that were ordered before this one are sealed, ten seconds at most.
func (h *hands) await(j job) {
	if j.turn == nil {
		return
	}
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case <-j.turn:
	case <-limit.C:
	}
}

// seal writes the bundle, records it, and lets the alerts go that waited for it.
func (h *hands) seal(j job, act health.Action, c *evidence.Capture) {
	h.await(j)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), 10*time.Second)
	defer cancel()
	sealed, err := c.Seal(ctx, h.report(j))
	if err != nil {
		h.a.log.Error("the evidence could not be sealed", "container", j.ref.String(), "incident", act.Case, "err", err)
		return
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(h.ctx), 10*time.Second) // others may have been sealed before it
	defer cancel()
	h.keep(ctx, act.Case, j.told, sealed)
}

// keep records a sealed part, and lets the alerts go that waited for it: those that were told when it was ordered, because
// a later one waits for a part of its own.
func (h *hands) keep(ctx context.Context, id string, told int, s evidence.Sealed) {
	b := store.Bundle{Incident: id, Part: s.Part, Path: s.Path, SHA256: s.SHA256, Audience: "private", Size: s.Size, Sealed: s.At}
	if err := h.a.o.Store.AddBundle(ctx, b); err != nil {
		h.a.log.Error("a sealed bundle could not be recorded; the file is there", "path", s.Path, "err", err)
	}
	if err := h.a.o.Store.Advance(ctx, id, told, h.a.clock.now()); err != nil {
		h.a.log.Warn("alerts wait for their full time although the evidence is sealed", "incident", id, "err", err)
	}
	if h.a.o.Queued != nil {
		h.a.o.Queued()
	}
	h.a.log.Info("evidence sealed", "incident", id, "path", s.Path, "bytes", s.Size)
}

func (h *hands) request(j job, act health.Action) evidence.Request {
	q := evidence.Request{Incident: act.Case, Part: max(1, act.Attempt), Ref: j.ref, Name: j.name, Host: h.a.o.Host,
		Reason: act.Reason, Init: j.state.Init, Cgroup: j.cgroup, Items: h.items(j, false)}
	if in := j.incident; in != nil && in.Kind == health.KindBackup {
		q.Failed = h.a.clock.wall(in.Opened)
		if act.Kind == health.DoResolve {
			q.Part = in.Attempts + 2
		}
		return q
	}
	c := j.state.Case
	if c == nil { // it has just ended
		c = j.before.Case
	}
	if act.Kind == health.DoResolve {
		q.Part = c.Tried + 1
	}
	q.Failed = h.a.clock.wall(c.Since)
	return q
}

// items are one round of evidence about a container, the most volatile first.
func (h *hands) items(j job, after bool) []evidence.Item {
	var items []evidence.Item
	if !j.inst.Far() { // nothing here is about a container on another host
		items = evidence.Builtin(j.state.Init, j.cgroup)
	}
	items = append(items, h.words(j, after)...)
	if text := h.a.backupText(j); text != "" {
		items = append(items, evidence.Item{Name: "backups.txt", Shows: "the last good backup, by the schedules of this agent", Data: []byte(text)})
	}
	if !after { // what is kept of the probes is from before
		for name, res := range j.failures {
			items = append(items, evidence.Item{Name: probeFile(name), Shows: "what the failing probe " + name + " saw",
				Data: append([]byte(res.Detail+"\n\n"), res.Transcript...)})
		}
	}
	if j.inst.Far() {
		return items
	}
	return append(items, evidence.Item{Name: "host-vitals.txt", Shows: "load, memory, disks and pressure of the host", Func: host.Vitals})
}

// words are what the engine has about the container. What it never has is said once, in the round before.
func (h *hands) words(j job, after bool) []evidence.Item {
	var items []evidence.Item
	var runner evidence.Runner // nil: this host's
	if j.inst.Far() {
		runner = j.inst.Runner()
	}
	for _, src := range j.inst.Evidence(j.ref.ID, j.sight) {
		i := evidence.Item{Name: "engine-" + src.Name, Shows: src.Shows, Argv: src.Argv, Runner: runner, Path: src.Path, Root: src.Root,
			Volatile: src.Volatile, Max: src.Tail, Image: src.Image}
		if src.Tail > 0 { // of a far host's file it is the output of a command
			i.Cut = evidence.KeepTail
		}
		if src.Absent != "" {
			i.Func = func(context.Context) ([]byte, error) { return nil, errors.New(src.Absent) }
		}
		if src.Absent == "" || !after {
			items = append(items, i)
		}
	}
	return items
}

// probeFile is the file of a bundle in which is what a failing probe saw.
func probeFile(probe string) string { return "probes-" + strings.ReplaceAll(probe, ":", "_") + ".txt" }

// report is what REPORT.txt says.
func (h *hands) report(j job) evidence.Report {
	rep := evidence.Report{Subject: j.subject, Phase: j.state.Phase, Verdict: j.verdict, Tried: j.tried, Timeline: j.moments, Next: j.state.Why}
	if in := j.incident; in != nil {
		rep.Incident = *in
		for _, at := range []*time.Time{&rep.Incident.Opened, &rep.Incident.Confirmed, &rep.Incident.Resolved} {
			if !at.IsZero() {
				*at = h.a.clock.wall(*at)
			}
		}
	}
	return rep
}

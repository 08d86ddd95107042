package agent

import (
	"context"
	"fmt"
	"path"
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
	h.mu.Unlock()
	if d != nil {
		if c := d.take(nil); c != nil {
			c.Drop()
		}
	}
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
		c.Add(fmt.Sprintf("%02d-%s-engine.log", act.Attempt, verb), ans.Log)
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
	c := d.take(nil)
	h.forget(act.Case)
	if c == nil {
		c = r.Begin(h.request(j, act))
	} else {
		c.After(h.items(j))
	}
	h.seal(j, act.Case, c)
}

// close ends the dossier of an incident that is over: what was taken for an attempt that came to nothing is kept.
func (h *hands) close(j job, id string) {
	h.mu.Lock()
	d := h.cases[id]
	delete(h.cases, id)
	h.mu.Unlock()
	if d == nil {
		return
	}
	if c := d.take(nil); c != nil {
		h.seal(j, id, c)
	}
}

func (h *hands) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cases, id)
}

// seal writes the bundle, records it, and lets the alerts go that waited for it.
func (h *hands) seal(j job, id string, c *evidence.Capture) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), 10*time.Second)
	defer cancel()
	sealed, err := c.Seal(ctx, h.report(j))
	if err != nil {
		h.a.log.Error("the evidence could not be sealed", "container", j.ref.String(), "incident", id, "err", err)
		return
	}
	h.keep(ctx, id, sealed)
}

// keep records a sealed part, and lets the alerts go that waited for it.
func (h *hands) keep(ctx context.Context, id string, s evidence.Sealed) {
	b := store.Bundle{Incident: id, Part: s.Part, Path: s.Path, SHA256: s.SHA256, Audience: "private", Size: s.Size, Sealed: s.At}
	if err := h.a.o.Store.AddBundle(ctx, b); err != nil {
		h.a.log.Error("a sealed bundle could not be recorded; the file is there", "path", s.Path, "err", err)
	}
	if err := h.a.o.Store.Advance(ctx, id, h.a.clock.now()); err != nil {
		h.a.log.Warn("alerts wait for their full time although the evidence is sealed", "incident", id, "err", err)
	}
	if h.a.o.Queued != nil {
		h.a.o.Queued()
	}
	h.a.log.Info("evidence sealed", "incident", id, "path", s.Path, "bytes", s.Size)
}

func (h *hands) request(j job, act health.Action) evidence.Request {
	q := evidence.Request{Incident: act.Case, Part: max(1, act.Attempt), Ref: j.ref, Name: j.name, Host: h.a.o.Host,
		Reason: act.Reason, Init: j.state.Init, Cgroup: j.cgroup, Items: h.items(j)}
	if c := j.state.Case; c != nil {
		q.Failed = h.a.clock.wall(c.Since)
	}
	return q
}

// items are one round of evidence about a container, the most volatile first.
func (h *hands) items(j job) []evidence.Item {
	var items []evidence.Item
	var runner evidence.Runner
	if j.inst.Far() {
		runner = j.inst.Runner() // nothing here is about a container on another host
	} else {
		items = evidence.Builtin(j.state.Init, j.cgroup)
	}
	for _, src := range j.inst.Evidence(j.ref.ID, j.sight) {
		item := evidence.Item{Name: path.Join("engine", src.Name), Argv: src.Argv, Runner: runner, Path: src.Path, Root: src.Root, Volatile: src.Volatile, Max: src.Tail}
		if src.Tail > 0 {
			item.Cut = evidence.KeepTail
		}
		items = append(items, item)
	}
	for name, res := range j.failures {
		items = append(items, evidence.Item{Name: path.Join("probes", name+".txt"), Shows: "what the failing probe " + name + " saw",
			Data: append([]byte(res.Detail+"\n\n"), res.Transcript...)})
	}
	if j.inst.Far() {
		return items
	}
	return append(items, evidence.Item{Name: "host-vitals.txt", Shows: "load, memory, disks and pressure of the host", Func: host.Vitals})
}

// report is what REPORT.txt says.
func (h *hands) report(j job) evidence.Report {
	rep := evidence.Report{Subject: j.subject, Verdict: j.verdict, Tried: j.tried, Timeline: j.moments, Next: j.state.Why}
	if in := j.state.Incident; in != nil {
		rep.Incident = *in
		rep.Incident.Opened = h.a.clock.wall(in.Opened)
	}
	return rep
}

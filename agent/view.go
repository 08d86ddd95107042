package agent

import (
	"context"
	"fmt"
	"os"
	"sort"

	"atalaya/agent/health"
)

// View gives what the agent knows at this moment. It asks the decision goroutine, so it costs nothing when nobody looks.
func (a *Agent) View(ctx context.Context) (health.View, error) {
	ch := make(chan health.View, 1)
	a.inbox.put(func(t *turn) { // after the commit: what is shown, the store has as well
		t.after = append(t.after, func() { ch <- t.view() })
	})
	select {
	case v := <-ch:
		if a.o.Stuck != nil { // it may ask PID 1: not on the decision goroutine
			v.Stuck = a.o.Stuck()
		}
		if a.o.Config != nil {
			v.Config = a.o.Config()
		}
		if a.o.Channels != nil {
			v.Channels = a.o.Channels()
			for i := range v.Channels {
				v.Channels[i].Failing = a.clock.wall(v.Channels[i].Failing)
			}
		}
		return v, nil
	case <-a.stopped:
		return health.View{}, &OrderError{"the agent is ending"}
	case <-ctx.Done():
		return health.View{}, fmt.Errorf("look at the agent's state: %w", ctx.Err())
	}
}

func (t *turn) view() health.View {
	v := health.View{At: t.clock.wall(t.at), Host: t.o.Host, Version: t.o.Version, DryRun: t.o.DryRun, PID: os.Getpid(), Started: t.clock.start,
		Mode: t.set.Mode, Sensor: t.o.Sentinel.Sensor(), Closed: t.closed, Store: "ok",
		Loop: health.Loop{Turns: t.turns.Load(), Last: t.clock.wall(t.at), Inbox: t.inbox.len(), Running: int(t.hands.running.Load())}}
	if t.memory.failing() {
		v.Store = "healing goes on from memory, one attempt per container: " + t.memory.err.Error()
	}
	v.Windows = t.windowViews()
	for _, in := range t.inst {
		v.Instances = append(v.Instances, in.view)
	}
	for _, g := range t.guests {
		v.Containers = append(v.Containers, t.containerView(g))
	}
	sort.Slice(v.Containers, func(i, j int) bool { return v.Containers[i].Ref.String() < v.Containers[j].Ref.String() })
	return v
}

func (t *turn) containerView(g *guest) health.ContainerView {
	s := g.state
	c := health.ContainerView{Ref: g.ref, Name: g.name(), State: s.RunState, Detail: s.Detail, Phase: s.Phase, Since: t.clock.wall(s.Since),
		Why: s.Why, Init: s.Init, Addrs: g.sight.Addrs, Intent: health.Intended(g.setup.Policy, s), Mode: g.setup.Policy.Mode,
		Attempts: len(s.Attempts), Wake: t.clock.wall(s.Wake)}
	if g.awaiting != "" {
		c.Why = "awaiting a command of the agent before this one: " + g.awaiting
	}
	if s.Hold != nil {
		h := *s.Hold
		h.Until = t.clock.wall(h.Until)
		c.Hold = &h
	}
	if w := s.Host.Window; w.Name != "" {
		c.Window = &health.Window{Name: w.Name, Until: t.clock.wall(w.Until)}
	}
	c.Jobs, c.Backup = t.jobViews(g), t.backupView(g)
	if s.Incident != nil {
		c.Incident = s.Incident.ID
	}
	switch s.Phase {
	case health.Waiting, health.Exhausted:
		c.Next = "attempt at " + t.clock.wall(s.Due).Format("15:04:05")
		if s.Queue {
			c.Next = "attempt as soon as there is room"
		}
	}
	names := make([]string, 0, len(g.setup.Probes)+1)
	for _, p := range g.setup.Probes {
		names = append(names, p.Spec.Name)
	}
	if _, ok := g.signals[engineHealth]; ok {
		names = append(names, engineHealth)
	}
	for _, name := range names {
		sv := g.signals[name]
		sv.Probe, sv.Fails, sv.Failing = name, s.Probes[name].Fails, s.Probes[name].Failing
		c.Signals = append(c.Signals, sv)
	}
	return c
}

package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/sentinel"
)

// A glance is one read of /proc, begun at the moment of a death: whoever stops a container is gone some 30 ms after it, and
// neither a slow disk nor a full inbox may come between.
type glance struct {
	init   health.Process // whose death it was begun for
	done   chan struct{}
	actors []health.Actor
}

// glances are the latest of each container.
type glances struct {
	mu sync.Mutex
	of map[health.Ref]*glance
}

// glimpse begins one read of /proc for all deaths that were reported together.
func (a *Agent) glimpse(wg *sync.WaitGroup, deaths []sentinel.Event) {
	g := &glance{done: make(chan struct{})}
	a.glances.mu.Lock()
	for _, e := range deaths {
		if a.glances.of == nil {
			a.glances.of = map[health.Ref]*glance{}
		}
		a.glances.of[e.Ref] = &glance{init: e.Death.Init, done: g.done}
	}
	a.glances.mu.Unlock()
	wg.Go(func() {
		defer close(g.done)
		actors := a.who(a.meaning)
		a.glances.mu.Lock()
		defer a.glances.mu.Unlock()
		for _, e := range deaths {
			if of := a.glances.of[e.Ref]; of != nil && of.done == g.done {
				of.actors = append(a.ran(e.At), actors...)
			}
		}
	})
}

// meaning is what a command line does to some container of some instance.
func (a *Agent) meaning(argv []string) (health.Verb, bool) {
	for _, in := range a.inst {
		if _, verb, ok := in.Meaning(argv); ok && verb != health.VerbStart {
			return verb, true
		}
	}
	return "", false
}

// markTools has the kernel tell of every run of the engines' tools, also of those that are over before /proc is read. It comes
// before the first list: whoever is seen running may be stopped the moment after.
func (a *Agent) markTools() {
	var files []string
	for _, in := range a.inst {
		files = append(files, in.Files()...)
	}
	if len(files) == 0 {
		return
	}
	slices.Sort(files)
	execs, err := sentinel.WatchExecs(slices.Compact(files), a.o.Own, a.meaning)
	if err != nil {
		a.log.Info("who stops a container is known only while the command lives", "err", err)
		return
	}
	a.execs.Store(execs)
}

// watchTools takes in what the kernel tells of them.
func (a *Agent) watchTools(ctx context.Context) {
	if e := a.execs.Load(); e != nil {
		a.run(ctx, "watch over the runs of tools", e.Run)
	}
}

// ran gives the runs of tools that may have caused a death at that time.
func (a *Agent) ran(at time.Time) []health.Actor {
	if e := a.execs.Load(); e != nil {
		return e.At(at)
	}
	return nil
}

// seenAt gives what was seen at the death of init; ok is false when nothing was begun for it.
func (a *Agent) seenAt(ctx context.Context, ref health.Ref, init health.Process) (actors []health.Actor, ok bool) {
	a.glances.mu.Lock()
	g := a.glances.of[ref]
	a.glances.mu.Unlock()
	if g == nil || g.init != init || init.PID == 0 {
		return nil, false
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, false
	}
	a.glances.mu.Lock()
	defer a.glances.mu.Unlock()
	return g.actors, true
}

// who reads /proc once, leaving out our own commands.
func (a *Agent) who(meaning func(argv []string) (health.Verb, bool)) []health.Actor {
	return sentinel.Who(a.o.Own, meaning)
}

// who gives a live command that is, or at the death was, doing something to the container; stopping counts before all else.
func (h *hands) who(ctx context.Context, j job) *health.Actor {
	mine := func(argv []string) (health.Verb, bool) {
		id, verb, ok := j.inst.Meaning(argv)
		return verb, ok && id == j.ref.ID && verb != health.VerbStart
	}
	actors, ok := h.a.seenAt(ctx, j.ref, justDied(j))
	if !ok {
		actors = append(h.a.ran(time.Now()), h.a.who(mine)...)
	}
	var found *health.Actor
	for _, act := range actors {
		if _, ok := mine(act.Argv); !ok {
			continue
		}
		if found == nil || act.Verb == health.VerbStop || act.Verb == health.VerbKill {
			found = &act
		}
	}
	return found
}

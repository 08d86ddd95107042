package agent

import (
	"context"
	"fmt"

	"atalaya/agent/health"
)

// Explain says why a container is judged as it is, and what happens next, with its latest moments in the store. A name that
// fits none, or several, is an *OrderError.
func (a *Agent) Explain(ctx context.Context, name string) (health.Explanation, error) {
	type reply struct {
		e   health.Explanation
		err error
	}
	ch := make(chan reply, 1)
	a.inbox.put(func(t *turn) {
		t.after = append(t.after, func() {
			g, err := t.find(name)
			if err != nil {
				ch <- reply{err: err}
				return
			}
			ch <- reply{e: t.explain(g)}
		})
	})
	var r reply
	select {
	case r = <-ch:
	case <-a.stopped:
		return health.Explanation{}, &OrderError{"the agent is ending"}
	case <-ctx.Done():
		return health.Explanation{}, fmt.Errorf("ask for an explanation: %w", ctx.Err())
	}
	if r.err != nil {
		return health.Explanation{}, r.err
	}
	notes, err := a.o.Store.Notes(ctx, r.e.Ref, ExplainMoments)
	for _, n := range notes {
		r.e.Moments = append(r.e.Moments, health.Moment{At: a.clock.wall(n.At), Kind: n.Kind, Text: n.Text})
	}
	return r.e, err
}

// ExplainMoments is how many of the latest moments an explanation has.
const ExplainMoments = 8

func (t *turn) explain(g *guest) health.Explanation {
	e := health.Explain(g.setup.Policy, g.state, t.at, t.clock.wall)
	if g.awaiting != "" {
		e.Words = append(e.Words, "A command of the agent before this one still runs on it, and is awaited: "+g.awaiting+".")
	}
	if ev := t.survey.Event(); ev != nil {
		e.Event = ev.Reason
		e.Words = append(e.Words, fmt.Sprintf("Something befalls the whole host since %s: %s (incident %s).", t.clock.wall(ev.Since).Local().Format("15:04:05"), ev.Reason, ev.ID))
	}
	if g.state.Case != nil {
		if room := t.room(g); !room.Start || !room.Restart && g.state.Case.Kind == health.CaseSick {
			e.Room = room.Why
			e.Words = append(e.Words, fmt.Sprintf("The host has no room for an attempt now: %s.", room.Why))
		}
	}
	if deps := t.dependents(g); len(deps) > 0 {
		e.Words = append(e.Words, "These depend on it: "+few(t.affected(deps))+".")
	}
	return e
}

package agent

import (
	"context"
	"fmt"

	"atalaya/agent/health"
)

// Ready is closed when every engine instance has been listed once, or could not be.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// heard notes that an instance was listed, or could not be.
func (t *turn) heard(in *instance) {
	if in.heard {
		return
	}
	in.heard = true
	for _, in := range t.inst {
		if !in.heard {
			return
		}
	}
	t.after = append(t.after, func() { close(t.ready) })
}

// Pulse has the decision loop turn and returns when it has, or with an error at the end of ctx: then it is stuck. It is
// for watchdogs, which need an answer sooner than the loop turns by itself.
func (a *Agent) Pulse(ctx context.Context) error {
	turned := make(chan struct{})
	a.inbox.put(func(t *turn) { t.after = append(t.after, func() { close(turned) }) })
	select {
	case <-turned:
		return nil
	case <-a.stopped:
		return &OrderError{"the agent is ending"}
	case <-ctx.Done():
		return fmt.Errorf("have the decision loop turn: %w", ctx.Err())
	}
}

// label names an instance for people.
func (in *instance) label() string {
	if in.ref.Instance == "" {
		return in.ref.Engine
	}
	return in.ref.Engine + ":" + in.ref.Instance
}

// tellList tells people when the lists of an instance begin to be taken one by one, and when that is over. Lists that fail
// are a fault of the host: see strained.
func (t *turn) tellList(in *instance, before health.InstanceView) {
	who := in.label()
	now := in.view
	switch {
	case now.Degraded != "" && before.Degraded == "" && before.Err == "":
		t.notice("warning", fmt.Sprintf("the containers of %s are asked one by one, because a list of all hangs: %s", who, now.Degraded))
	case now.Err == "" && now.Degraded == "" && before.Degraded != "":
		t.notice("info", fmt.Sprintf("the containers of %s can be listed again", who))
	}
}

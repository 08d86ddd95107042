package agent_test

import (
	"context"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// A decision loop that is stuck has no pulse, whatever else of the agent goes on: systemd must get to know.
func TestAStuckLoopHasNoPulse(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	stuck, free := make(chan struct{}), make(chan struct{})
	p.Edit = func(s health.Sighting, _ *agent.Setup) {
		if s.Name == "web2" {
			close(stuck)
			<-free
			stuck = make(chan struct{}) // once more is not waited for
		}
	}
	r := p.start(t)
	r.up("lxc/web1")
	if err := pulse(t, r, patience); err != nil {
		t.Fatal(err)
	}
	l.Add("web2")
	<-stuck
	err := pulse(t, r, 300*time.Millisecond)
	alive := r.agent.Alive(100 * time.Millisecond)
	close(free)
	if err == nil || alive == nil {
		t.Errorf("stuck: pulse %v, alive %v", err, alive)
	}
	if err := pulse(t, r, patience); err != nil {
		t.Errorf("free again: %v", err)
	}
}

func pulse(t *testing.T, r *running, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return r.agent.Pulse(ctx)
}

package agent

import (
	"context"
	"time"

	"atalaya/agent/health"
	"atalaya/probes"
)

const (
	// eventsAgain is how soon a list may follow another because of events: a daemon that starts fifty containers sends
	// hundreds of them.
	eventsAgain = 500 * time.Millisecond
	// A stream that ends is followed again after a second, then later and later, and at once again after it held for long.
	followFirst, followLast = time.Second, time.Minute
)

// follow has the tool's own events bring the next list forward. They prove nothing: each is only a reason to ask.
func (a *Agent) follow(ctx context.Context, in *instance) {
	if !in.HasEvents() {
		return
	}
	told := false
	for wait := followFirst; ctx.Err() == nil; {
		began := time.Now()
		err := in.Events(ctx, func(string) { in.ask() })
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > followLast {
			wait, told = followFirst, false
		}
		if err != nil && !told {
			told = true
			a.log.Warn("the events of an engine cannot be followed; its lists tell the same later", "engine", in.ref.Engine, "instance", in.ref.Instance, "err", err)
		}
		in.ask() // what happened while nobody listened
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, followLast)
	}
}

// ask brings the next list of the instance forward.
func (in *instance) ask() {
	select {
	case in.asked <- struct{}{}:
	default:
	}
}

// engineHealth is the name of the signal that the engine's own health check gives. No configured probe can be called so.
const engineHealth = "engine:health"

// engineHealthPolicy takes the engine at its word: it has counted failures itself before it says "unhealthy".
func engineHealthPolicy() health.ProbePolicy {
	return health.ProbePolicy{FailAfter: 1, PassAfter: 1, OnFail: health.FailRestart, Every: 10 * time.Second}
}

// healthSaid takes in what the engine's own health check says of a container that runs.
func (t *turn) healthSaid(g *guest, s health.Sighting) {
	if s.Health == "" || s.State != health.Running || g.state.RunState != health.Running {
		return
	}
	said := map[health.Outcome]string{health.Pass: "healthy", health.Fail: "unhealthy", health.Unsure: "still starting"}[s.Health]
	sig := health.Signal{Probe: engineHealth, Seq: g.state.Probes[engineHealth].Seq + 1, Outcome: s.Health,
		Detail: "its own health check says " + said, Init: g.state.Init}
	t.probed(g.ref, t.set.Poll, sig, probes.Result{Outcome: s.Health, Detail: sig.Detail})
}

package agent

import (
	"context"
	"fmt"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/sentinel"
	"atalaya/probes"
)

// probed takes in one outcome.
func (t *turn) probed(ref health.Ref, every time.Duration, sig health.Signal, res probes.Result) {
	g := t.guests[ref]
	if g == nil || sig.Init != g.state.Init && sig.Init.PID != 0 {
		return
	}
	t.metrics.probes.WithLabelValues(string(sig.Outcome)).Inc()
	old := g.signals[sig.Probe]
	if sig.Outcome != old.Outcome && old.Outcome != "" {
		t.remark(g, "probe", fmt.Sprintf("probe %q: %s%s", sig.Probe, sig.Outcome, because(sig.Detail)))
	}
	g.keepFailure(sig, res)
	if res.Warning != "" && old.Warning != res.Warning && !res.ExpiresSoon {
		t.log.Warn("a probe passes, with a warning", "container", ref.String(), "probe", sig.Probe, "warning", res.Warning)
	}
	t.certificate(g, sig.Probe, res)
	g.signals[sig.Probe] = health.SignalView{Probe: sig.Probe, Outcome: sig.Outcome, Detail: sig.Detail, Warning: res.Warning,
		Took: health.ToMillis(sig.Took), Expires: res.CertExpires, At: t.clock.wall(t.at)}
	ever := g.state.Probes[sig.Probe].Ever
	t.take(g, sensed{sensor: sensorProbe + sig.Probe, outcome: string(sig.Outcome), detail: sig.Detail, period: every}, health.Observation{Signal: &sig})
	if !ever && g.state.Probes[sig.Probe].Ever {
		t.note(g, "probe", fmt.Sprintf("probe %q passes for the first time", sig.Probe))
	}
}

// keepFailure keeps what a failing probe saw. What it meets while we stop and start the container is our own doing, and
// what it met in a failure that is over explains no other.
func (g *guest) keepFailure(sig health.Signal, res probes.Result) {
	switch {
	case sig.Outcome == health.Pass && g.state.Case == nil:
		delete(g.failures, sig.Probe)
	case sig.Outcome != health.Fail, g.state.Phase == health.Stopping, g.state.Phase == health.Starting:
	case g.failures == nil:
		g.failures = map[string]probes.Result{sig.Probe: res}
	default:
		g.failures[sig.Probe] = res
	}
}

// inside tries a probe of a container from inside its own network namespace.
func (a *Agent) inside(ctx context.Context, j job, name string) health.Outcome {
	if j.state.Init.PID == 0 {
		return ""
	}
	for _, pr := range j.setup.Probes {
		if pr.Spec.Name != name || pr.Spec.Kind == probes.Exec {
			continue
		}
		g := probes.Guest{Addrs: j.sight.Addrs, Dial: sentinel.Dialer(j.state.Init)}
		return probes.Run(ctx, pr.Spec, pr.Run, g).Outcome
	}
	return ""
}

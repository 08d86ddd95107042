package agent_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/probes"
)

// A certificate that expires soon is told of once, although two probes meet it every ten seconds and the agent is started
// again; its successor is told of anew.
func TestACertificateThatExpiresIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		end := time.Now().Add(240 * time.Hour).Truncate(time.Second)
		meets := func(context.Context, probes.Guest) probes.Result {
			mu.Lock()
			defer mu.Unlock()
			return probes.Result{Outcome: health.Pass, CertExpires: end, ExpiresSoon: true, Warning: "certificate expires in 10 days"}
		}
		b := newBubble(t, newWorld("a"), t.TempDir(), func(s *agent.Settings) {
			setup := s.Setup
			s.Setup = func(g health.Sighting) agent.Setup {
				out := setup(g)
				out.Probes = nil
				for _, name := range []string{"imaps", "web"} {
					out.Policy.Probes[name] = health.DefaultProbePolicy()
					out.Probes = append(out.Probes, agent.Probe{Spec: probes.Spec{Name: name, Kind: probes.TLS, Timeout: time.Second}, Run: meets, Every: 10 * time.Second})
				}
				return out
			}
		})
		time.Sleep(10 * time.Minute)
		told := b.alerted("custom/a", health.AlertNotice)
		if a := told[0].Alert; a.Severity != "warning" || a.Incident != "" || a.Reason != `probe "imaps": certificate expires in 10 days` &&
			a.Reason != `probe "web": certificate expires in 10 days` {
			t.Errorf("%+v", a)
		}
		if s := b.state("a").Signals; len(s) != 2 || s[0].Warning == "" || !s[1].Expires.Equal(end) {
			t.Errorf("shown: %+v", s)
		}
		b.stop()
		b.begin(t)
		time.Sleep(10 * time.Minute)
		b.alerted("custom/a", health.AlertNotice)
		mu.Lock()
		end = end.Add(time.Hour)
		mu.Unlock()
		time.Sleep(time.Minute)
		b.alerted("custom/a", health.AlertNotice, health.AlertNotice)
		b.stop()
	})
}

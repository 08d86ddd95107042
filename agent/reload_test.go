package agent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
)

// A reload changes how many probes are under way at once, in both directions, and how often is listed.
func TestAReloadChangesThePace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b", "c", "d", "e", "f", "g", "h")
		w.probing = 2 * time.Second
		b := newBubble(t, w, t.TempDir(), func(s *agent.Settings) { s.Probes = 3 })
		defer b.stop()
		busiest := func() (probes, lists int) {
			time.Sleep(10 * time.Second) // what was begun before is over
			w.do(func() { w.probed.most, w.counted = 0, 0 })
			time.Sleep(time.Minute)
			w.do(func() { probes, lists = w.probed.most, w.counted })
			return probes, lists
		}
		for _, step := range []struct {
			probes int
			poll   time.Duration
		}{{3, 10 * time.Second}, {1, 20 * time.Second}, {6, 5 * time.Second}} {
			next := b.set
			next.Probes, next.Poll = step.probes, step.poll
			b.agent.Swap(next)
			time.Sleep(20 * time.Second)
			probes, lists := busiest()
			if want := int(time.Minute / step.poll); probes != step.probes || lists < want-1 || lists > want+1 {
				t.Errorf("with %d probes at once and a list every %v: %d at once, %d lists a minute", step.probes, step.poll, probes, lists)
			}
		}
	})
}

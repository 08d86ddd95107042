package agent_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
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

// A container that is configured out while something is wrong with it leaves no incident open, and no alert unresolved.
func TestAReloadThatIgnoresWhatIsDown(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	good, err := os.ReadFile(l.ConfigFile("web1"))
	if err != nil {
		t.Fatal(err)
	}
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1")
	l.SetConfig("web1", string(good)+"lxc.nosuch.key = 1\n")
	r.alerted("lxc/web1", health.AlertOpen)
	p.Edit = func(_ health.Sighting, s *agent.Setup) { s.Ignore = true }
	r.agent.Swap(p.settings())
	if in := r.resolved("lxc/web1", 1)[0]; in.How != "it is configured to be ignored" {
		t.Errorf("incident: %+v", in)
	}
	r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved)
	r.until("nothing is watched", func(v health.View) bool { return len(v.Containers) == 0 })
}

package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
)

const (
	sec = time.Second
	mnt = time.Minute
)

// What cannot be started is tried at once, after 5, 20, 80 and 320 s, and then, told as exhausted, after 30 min doubling
// to 6 h; and nobody is told more than twice of it in three days.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		b := newBubble(t, w, t.TempDir(), func(s *agent.Settings) { s.Poll = mnt })
		defer b.stop()
		time.Sleep(5 * mnt)
		w.die("a", true)
		died := time.Now()
		time.Sleep(20 * mnt)
		tried := w.tried("a")
		quick := []time.Duration{0, 5 * sec, 20 * sec, 80 * sec, 320 * sec}
		if g := gaps(died, tried); len(g) == 0 || g[0] > mnt+sec || !within(g[1:], quick[1:]) {
			t.Fatalf("tried after %v, want %v", g, quick)
		}
		c := b.state("a")
		if c.Phase != health.Exhausted || !strings.HasPrefix(c.Why, "5 attempts within 30m0s did not help") || !strings.HasPrefix(c.Next, "attempt at ") {
			t.Errorf("%+v", c)
		}
		time.Sleep(60 * time.Hour)
		seldom := []time.Duration{30 * mnt, 60 * mnt, 120 * mnt, 240 * mnt, 360 * mnt, 360 * mnt, 360 * mnt, 360 * mnt}
		if g := gaps(tried[4].at, w.tried("a")[5:]); len(g) < 8 || !within(g[:8], seldom) {
			t.Errorf("then tried after %v, want %v", g, seldom)
		}
		b.alerted("custom/a", health.AlertOpen, health.AlertEscalate)
		if got := b.delivered(); got != "[open escalate]" {
			t.Errorf("delivered: %s", got)
		}
		in := b.incidents("custom/a")[0]
		if in.Cause != "its disk is gone" || !in.Escalated || in.Attempts != len(w.tried("a")) {
			t.Errorf("incident: %+v", in)
		}
		w.do(func() { w.guests["a"].broken = false })
		time.Sleep(8 * time.Hour)
		if in := b.incidents("custom/a")[0]; in.Resolved.IsZero() || b.delivered() != "[open escalate resolved]" {
			t.Errorf("incident: %+v, delivered: %s", in, b.delivered())
		}
		if len(w.tried("b")) != 0 {
			t.Error("the other was touched")
		}
	})
}

// A container that is started and dies again spends the budget as well as one that cannot be started. Fifteen healthy
// minutes renew it.
func TestTheBudgetIsForgottenWhenHealthy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		b := newBubble(t, w, t.TempDir(), nil)
		defer b.stop()
		time.Sleep(mnt)
		for n := 1; n <= 3; n++ {
			w.die("a", false)
			time.Sleep(2 * mnt)
			if c := b.state("a"); c.Phase != health.Up || c.Attempts != n {
				t.Fatalf("after %d deaths: %s, %d attempts", n, c.Phase, c.Attempts)
			}
		}
		well := time.Now()
		time.Sleep(12 * mnt)
		if c := b.state("a"); c.Attempts != 3 {
			t.Errorf("after %s: %d attempts", time.Since(well), c.Attempts)
		}
		time.Sleep(3 * mnt)
		if c := b.state("a"); c.Attempts != 0 {
			t.Errorf("after %s: %d attempts", time.Since(well), c.Attempts)
		}
		w.die("a", false)
		died := time.Now()
		time.Sleep(mnt)
		if tried := w.tried("a"); len(tried) != 4 || tried[3].at.Sub(died) > 11*sec {
			t.Errorf("the fourth attempt: %v", gaps(died, tried))
		}
	})
}

// Attempts that were made count for the next agent, whether this one ended in order or was killed.
func TestTheBudgetOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("a")
				b := newBubble(t, w, t.TempDir(), nil)
				defer func() { b.stop() }()
				time.Sleep(mnt)
				w.die("a", true)
				time.Sleep(50 * sec) // three attempts: at once, after 5 s, after 20 s
				if n := len(w.tried("a")); n != 3 {
					t.Fatalf("%d attempts", n)
				}
				id := b.incidents("custom/a")[0].ID
				if killed {
					b.crash(t)
				} else {
					b.stop()
				}
				time.Sleep(10 * sec)
				b.begin(t)
				time.Sleep(20 * mnt)
				tried := w.tried("a")
				if g := gaps(tried[2].at, tried[3:]); !within(g, []time.Duration{80 * sec, 320 * sec}) {
					t.Errorf("the next agent tried after %v", g)
				}
				if in := b.incidents("custom/a"); len(in) != 1 || in[0].ID != id || in[0].Attempts != 5 || !in[0].Escalated {
					t.Errorf("incidents: %+v", in)
				}
				b.alerted("custom/a", health.AlertOpen, health.AlertEscalate)
			})
		})
	}
}

// Fifteen fall sick at once: two are restarted at a time, ten within ten minutes, and the rest when there is room again.
func TestTheBucketOfRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for n := range 15 {
			w.guests[fmt.Sprintf("c%02d", n)] = &fake{running: true}
		}
		w.takes = 3 * sec
		b := newBubble(t, w, t.TempDir(), nil)
		defer b.stop()
		time.Sleep(mnt)
		w.do(func() {
			for _, g := range w.guests {
				g.sick = true
			}
		})
		time.Sleep(9 * mnt)
		if n := len(w.tries); n != 10 || w.most != 2 {
			t.Errorf("%d restarts, %d at once", n, w.most)
		}
		waits := slices.IndexFunc(b.view().Containers, func(c health.ContainerView) bool {
			return c.Phase == health.Waiting && c.Why == "10 sick containers were restarted within 10m0s on this host"
		})
		if waits < 0 {
			t.Errorf("nobody waits for room: %+v", b.view().Containers)
		}
		w.die("c00", false) // a dead one is not held up by it
		time.Sleep(30 * sec)
		if tried := w.tried("c00"); tried[len(tried)-1].verb != "start" {
			t.Errorf("c00: %+v", tried)
		}
		time.Sleep(12 * mnt)
		for _, c := range b.view().Containers {
			if c.Phase != health.Up {
				t.Errorf("%s: %s, %s", c.Name, c.Phase, c.Why)
			}
		}
		if w.most != 2 {
			t.Errorf("%d at once", w.most)
		}
	})
}

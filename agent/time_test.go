package agent_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A hold ends by itself, and what happened under it is dealt with then.
func TestAHoldEndsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		b := newBubble(t, w, t.TempDir(), nil)
		defer b.stop()
		time.Sleep(mnt)
		until := time.Now().Add(time.Hour)
		b.order("a", health.Order{Kind: health.OrderHold, Until: until, Reason: "new disk"})
		time.Sleep(mnt)
		w.die("a", false)
		w.do(func() { w.guests["b"].sick = true })
		time.Sleep(59*mnt - sec)
		if c := b.state("a"); c.Phase != health.Deferred || len(w.tried("a")) != 0 || c.Hold == nil || !c.Hold.Until.Equal(until) {
			t.Errorf("%+v", c)
		}
		if n := len(w.tried("b")); n != 1 {
			t.Errorf("the other was restarted %d times", n)
		}
		time.Sleep(mnt)
		tried := w.tried("a")
		if len(tried) != 1 || tried[0].at.Before(until) || tried[0].at.After(until.Add(sec)) {
			t.Errorf("tried at %+v, the hold was until %s", tried, until)
		}
		b.alerted("custom/a", health.AlertOpen, health.AlertResolved)
	})
}

// The host's clock is five hours behind what is stored: a second bubble begins when the first one did. The agent's time
// goes on all the same, so that neither attempts come early nor a hold lasts longer; people see the host's clock.
func TestTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld("a", "b")
	var then time.Time
	var tries int
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, w, dir, nil)
		defer b.stop()
		time.Sleep(4 * time.Hour)
		w.die("a", true)
		b.order("b", health.Order{Kind: health.OrderHold, Until: time.Now().Add(90 * mnt), Reason: "new disk"})
		time.Sleep(time.Hour)
		w.die("b", false)
		time.Sleep(mnt)
		time.Sleep(7 * sec) // not when something is written anyway
		then, tries = b.agent.Now(), len(w.tried("a"))
		if tries != 6 { // five, and one after half an hour; the next is due an hour after it
			t.Errorf("%d attempts", tries)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, w, dir, nil)
		defer b.stop()
		began := time.Now()
		if back := then.Sub(began); back < 5*time.Hour {
			t.Fatalf("the clock is back by %s only", back)
		}
		time.Sleep(sec)
		if now := b.agent.Now(); now.Before(then) || now.After(then.Add(mnt)) {
			t.Errorf("the agent's time is %s and was %s", now, then)
		}
		v := b.view()
		if d := time.Since(v.At).Abs(); d > sec {
			t.Errorf("people are shown a time off by %s", d)
		}
		a, h := of(v, "custom/a"), of(v, "custom/b")
		if a.Phase != health.Exhausted || a.Since.After(time.Now()) {
			t.Errorf("%+v", a)
		}
		if left := time.Until(h.Hold.Until); left < 28*mnt || left > 30*mnt {
			t.Errorf("the hold is left for %s", left)
		}
		time.Sleep(25 * mnt)
		if n := len(w.tried("a")); n != tries || len(w.tried("b")) != 0 {
			t.Errorf("%d attempts, and %d of the one on hold", n, len(w.tried("b")))
		}
		w.do(func() { w.guests["a"].broken = false })
		time.Sleep(45 * mnt)
		if n := len(w.tried("b")); n != 1 {
			t.Errorf("after its hold it was started %d times", n)
		}
		if in := b.incidents("custom/a"); len(in) != 1 || in[0].Resolved.IsZero() || in[0].Resolved.Before(in[0].Opened) {
			t.Errorf("incident: %+v", in)
		}
		if got := b.delivered(); strings.Count(got, "resolved") != 2 {
			t.Errorf("delivered: %s", got)
		}
	})
}

// A list that fails says nothing about anybody: for an hour nothing is opened, started or forgotten, and one message says
// that it fails. What happened meanwhile is dealt with when it answers again.
func TestAListThatFailsIsNoObservation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		b := newBubble(t, w, t.TempDir(), func(s *agent.Settings) {
			setup := s.Setup
			s.Setup = func(g health.Sighting) agent.Setup { // without the probe, which would say that it is down
				out := setup(g)
				out.Probes, out.Policy.Probes = nil, nil
				return out
			}
		})
		defer b.stop()
		time.Sleep(mnt)
		w.do(func() { w.deaf = "ctl: no answer from the daemon\n" })
		w.die("a", false)
		time.Sleep(time.Hour)
		v := b.view()
		for _, id := range []string{"a", "b"} {
			if c := of(v, "custom/"+id); c.Phase != health.Up || c.State != health.Running {
				t.Errorf("%+v", c)
			}
			b.alerted("custom/" + id)
		}
		if i := v.Instances[0]; i.Err != "list custom containers: ctl list: exit 1: ctl: no answer from the daemon" || time.Since(i.Listed) < 59*mnt {
			t.Errorf("%+v", i)
		}
		if got := b.delivered(); got != "[open]" || !strings.Contains(b.text(), "the engine custom does not answer: list custom containers: ctl list: exit 1") {
			t.Errorf("delivered: %s %s", got, b.text())
		}
		w.do(func() { w.deaf = "" })
		time.Sleep(mnt)
		if c := b.state("a"); c.Phase != health.Up || len(w.tried("a")) != 1 {
			t.Errorf("%+v, tried %+v", c, w.tried("a"))
		}
		b.alerted("custom/a", health.AlertOpen, health.AlertResolved)
		if got := b.delivered(); strings.Count(got, "resolved") != 2 {
			t.Errorf("delivered: %s", got)
		}
	})
}

// An hour in which nothing happens is one row of the journal for each sensor.
func TestAHealthyHourIsOneRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		dir := t.TempDir()
		b := newBubble(t, w, dir, nil)
		time.Sleep(time.Hour + 35*sec) // not when the journal is written anyway
		ended := time.Now()
		b.stop()
		b.begin(t)
		defer b.stop()
		ref := health.Ref{Engine: "custom", ID: "a"}
		runs, err := b.store.Runs(t.Context(), ref, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		runs = slices.DeleteFunc(runs, func(r store.Run) bool { return !r.First.Before(ended) }) // of the agent that reads them
		sensors := map[string]int{}
		n := 0
		for _, r := range runs {
			if r.Period == 0 { // said once, when it was met
				if r.Count != 1 || ended.Sub(r.First) < time.Hour {
					t.Errorf("%+v", r)
				}
				continue
			}
			n++
			sensors[r.Sensor] = r.Count
			if r.Count < 355 || r.Count > 365 || r.Last.Sub(r.First) < 59*mnt || ended.Sub(r.Last) > 11*sec || r.Period != 10*sec {
				t.Errorf("%+v", r)
			}
		}
		if n != 2 || len(runs) > 4 || sensors["engine"] == 0 || sensors["probe:check"] == 0 {
			t.Errorf("%d rows: %+v", len(runs), runs)
		}
		lists, err := b.store.Runs(t.Context(), health.Ref{Engine: "custom"}, time.Time{})
		if err != nil || len(lists) != 1 || lists[0].Sensor != "list" || lists[0].Outcome != "ok" {
			t.Errorf("%+v, %v", lists, err)
		}
	})
}

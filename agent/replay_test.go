package agent_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
)

// replayed has what an agent recorded decided upon anew.
func replayed(t *testing.T, r *running, s agent.Settings, since time.Time) agent.Replayed {
	t.Helper()
	runs, err := r.store.Journal(t.Context(), agent.ReplayFrom, since)
	if err != nil {
		t.Fatal(err)
	}
	out, err := agent.Replay(t.Context(), agent.ReplayOptions{Journal: runs, Settings: s, Host: health.Host{FQDN: "h1.example.org"}, Since: since})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// alike says that the replay did what was done, deed by deed, and shows both where not.
func alike(t *testing.T, out agent.Replayed, least int) {
	t.Helper()
	text := ""
	bad := len(out.Deeds) < least || len(out.Assumed) > 0
	for _, d := range out.Deeds {
		mark := "  "
		if d.Then == nil || d.Now == nil || *d.Then != *d.Now {
			mark, bad = "! ", true
		}
		text += fmt.Sprintf("%s%s %s then %+v now %+v %s\n", mark, d.At.Format("15:04:05.000"), d.Ref, d.Then, d.Now, d.Why)
	}
	if bad {
		t.Errorf("%d deeds, assumed %+v\n%s", len(out.Deeds), out.Assumed, text)
	}
	if out.Then != out.Now {
		t.Errorf("then %+v, now %+v", out.Then, out.Now)
	}
}

// A day in which much happens, with agents that end, in order and by a kill: the record, decided upon anew with the same
// configuration, gives the same deeds, each at the same moment.
func TestAReplayDoesTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("db", "shop", "front", "a", "b", "c", "d", "e", "f", "g")
		b := newBubble(t, w, t.TempDir(), dependent(map[string][]string{"shop": {"db"}, "front": {"shop"}}))
		defer func() { b.stop() }()
		time.Sleep(2 * mnt)
		w.die("a", false)
		w.die("b", true)
		time.Sleep(10 * mnt)
		w.sicken(true, "c")
		time.Sleep(5 * mnt)
		w.die("db", true)
		w.sicken(true, "shop", "front")
		time.Sleep(20 * mnt)
		b.order("d", health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), Reason: "new disk"})
		w.die("d", false)
		w.do(func() { w.guests["db"].broken, w.guests["b"].broken = false, false })
		time.Sleep(30 * mnt)
		b.stop()
		w.die("e", false)
		time.Sleep(5 * mnt)
		b.begin(t)
		time.Sleep(time.Hour)
		w.sicken(true, "a", "b", "c", "f", "g") // many at once
		time.Sleep(time.Hour)
		w.do(func() { w.deaf = "no answer" })
		time.Sleep(10 * mnt)
		w.do(func() { w.deaf = "" })
		w.die("f", true)
		time.Sleep(7 * sec)
		b.crash(t)
		time.Sleep(mnt)
		w.do(func() { w.guests["f"].broken = false })
		b.begin(t)
		b.order("g", health.Order{Kind: health.OrderUnwant})
		time.Sleep(mnt)
		w.die("g", false)
		time.Sleep(time.Hour)
		b.stop()
		time.Sleep(sec)
		b.begin(t)
		alike(t, replayed(t, b.running, b.set, time.Time{}), 50)
	})
}

// Of a journal that is longer than is asked for, only what follows the last beginning is read: there is one each day.
func TestAReplayBeginsInTheMidst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		b := newBubble(t, w, t.TempDir(), func(s *agent.Settings) {
			s.Poll = mnt
			made := s.Setup
			s.Setup = func(g health.Sighting) agent.Setup {
				out := made(g)
				out.Probes[0].Every = mnt
				return out
			}
		})
		defer func() { b.stop() }()
		time.Sleep(time.Hour)
		began := time.Now()
		w.die("a", true)
		time.Sleep(22*time.Hour + 58*mnt) // its incident is open when a day is over
		w.do(func() { w.guests["a"].broken = false })
		time.Sleep(10 * time.Hour)
		w.die("a", false)
		time.Sleep(5 * mnt)
		w.sicken(true, "a")
		time.Sleep(time.Hour)
		b.stop()
		time.Sleep(sec)
		b.begin(t)
		alike(t, replayed(t, b.running, b.set, time.Time{}), 12)
		late := replayed(t, b.running, b.set, time.Now().Add(-2*time.Hour))
		alike(t, late, 6)
		if d := late.From.Sub(began); d < 23*time.Hour || d > 32*time.Hour {
			t.Errorf("it begins after %s", d)
		}
	})
}

package agent_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// replayed has what an agent recorded decided upon anew.
func replayed(t *testing.T, r *running, s agent.Settings, since time.Time) agent.Replayed {
	t.Helper()
	runs, err := r.store.Journal(t.Context(), since)
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

// A policy is tried on what was: one that only alerts leaves down what was started, one that restarts sooner does so at once,
// one that waits longer later, and what the record cannot tell is counted.
func TestAReplayByAnotherPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b", "c", "d", "e", "f", "g", "h")
		b := newBubble(t, w, t.TempDir(), nil)
		defer func() { b.stop() }()
		time.Sleep(10 * mnt)
		w.die("a", false) // started at once
		time.Sleep(10 * mnt)
		w.sicken(true, "b") // restarted after three failures
		time.Sleep(10 * mnt)
		w.die("c", true) // cannot be started for twenty minutes
		time.Sleep(20 * mnt)
		w.do(func() { w.guests["c"].broken = false })
		time.Sleep(2 * time.Hour)
		b.stop()
		time.Sleep(sec)
		b.begin(t)
		time.Sleep(mnt)
		with := func(edit func(*health.Policy)) agent.Replayed {
			s := b.set
			made := s.Setup
			s.Setup = func(g health.Sighting) agent.Setup {
				out := made(g)
				pp := out.Policy.Probes["check"]
				out.Policy.Probes = map[string]health.ProbePolicy{"check": pp}
				edit(&out.Policy)
				return out
			}
			return replayed(t, b.running, s, time.Time{})
		}
		of := func(out agent.Replayed, id string) agent.Compared {
			for _, c := range out.Containers {
				if c.Ref.ID == id {
					return c
				}
			}
			return agent.Compared{}
		}
		probe := func(failAfter int) func(*health.Policy) {
			return func(p *health.Policy) {
				pp := p.Probes["check"]
				pp.FailAfter = failAfter
				p.Probes["check"] = pp
			}
		}
		then := with(func(*health.Policy) {})
		alike(t, then, 10)

		only := with(func(p *health.Policy) { p.Mode = health.ModeAlert })
		if only.Now.Attempts != 0 || only.Now.Incidents != only.Then.Incidents || only.Now.Down < 6*time.Hour || len(only.Assumed) == 0 || len(only.Differences) == 0 {
			t.Errorf("alerts only: %+v, was %+v, assumed %+v", only.Now, only.Then, only.Assumed)
		}
		mute := with(func(p *health.Policy) { p.Mode = health.ModeObserve })
		if mute.Now.Alerts != 0 || mute.Now.Attempts != 0 || mute.Now.Incidents != mute.Then.Incidents {
			t.Errorf("observes: %+v, was %+v", mute.Now, mute.Then)
		}
		late := with(probe(6))
		if c := of(late, "b"); c.Now.Restarts != 1 || c.Then.Restarts != 1 || c.Now.Down-c.Then.Down < 25*sec || c.Now.Down-c.Then.Down > 40*sec {
			t.Errorf("later: %+v", c)
		}
		if c := of(late, "a"); c.Now != c.Then {
			t.Errorf("what no probe is about: %+v", c)
		}
		soon := with(probe(2))
		if c := of(soon, "b"); c.Now.Restarts != 1 || c.Then.Down-c.Now.Down < 5*sec || c.Then.Down-c.Now.Down > 15*sec {
			t.Errorf("sooner: %+v", c)
		}
		few := with(func(p *health.Policy) { p.Attempts = 2 })
		if c := of(few, "c"); c.Now.Attempts >= c.Then.Attempts || c.Now.Incidents != 1 || c.Now.Down <= 0 {
			t.Errorf("fewer attempts: %+v", c)
			for _, d := range few.Deeds {
				if d.Ref.ID == "c" {
					t.Logf("%s then %+v now %+v %s", d.At.Format("15:04:05.000"), d.Then, d.Now, d.Why)
				}
			}
		}
		for _, out := range []agent.Replayed{only, late, soon, few} {
			for _, d := range out.Differences {
				if d.Why == "" || d.Then == "" && d.Now == "" {
					t.Errorf("a difference without its reason: %+v", d)
				}
			}
		}
	})
}

// What was recorded of real containers is decided upon anew with the same deeds: deaths, a sick one, one that cannot start,
// a stop by a person, and an order.
func TestAReplayOfRealContainers(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 3})
	p := planFor(t, l)
	p.Web = true
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	kill9(t, l, "web1")
	r.resolved("lxc/web1", 1)
	l.Hang("web2")
	r.resolved("lxc/web2", 1)
	l.DeleteBridge()
	kill9(t, l, "web3")
	r.phase("lxc/web3", health.Exhausted)
	l.RestoreBridge()
	r.resolved("lxc/web3", 1)
	r.order("lxc/web1", health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), Reason: "new disk"})
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Deferred)
	r.order("lxc/web1", health.Order{Kind: health.OrderRelease})
	r.up("lxc/web1")
	r.stop()
	again := p.start(t)
	again.up("lxc/web1", "lxc/web2", "lxc/web3")
	out := replayed(t, again, p.settings(), time.Time{})
	alike(t, out, 15)
}

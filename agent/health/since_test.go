package health

import (
	"testing"
	"time"
)

// An outage begins with the first failure of the run, and is told beside the moment at which it was sure. What passed
// again in between begins anew; what could not be carried out does not.
func TestAnOutageBeginsWithItsFirstFailure(t *testing.T) {
	pl := newPlayer()
	at := func(d time.Duration, words ...string) []Action {
		o := pl.observation(t, epoch.Add(d), words)
		o.At, o.Room = epoch.Add(d), pl.room
		var acts []Action
		pl.s, acts = Step(pl.p, pl.s, o)
		return acts
	}
	at(0, "running:100")
	at(time.Second, "web=pass")
	at(10*time.Second, "web=fail")
	at(20*time.Second, "web=fail")
	at(30*time.Second, "web=pass")
	at(40*time.Second, "web=fail")
	at(50*time.Second, "web=unsure")
	at(60*time.Second, "web=fail")
	at(70*time.Second, "web=fail")
	at(70100*time.Millisecond, "look=running:100", "inside=fail")
	c := pl.s.Case
	if c == nil || c.Since.Sub(epoch) != 40*time.Second || c.Confirmed.Sub(epoch) != 70*time.Second {
		t.Fatalf("case: %+v", c)
	}
	if c.Detail != "refused" || c.Inside != Fail {
		t.Errorf("what was found is not kept: %+v", c)
	}
	acts := at(73*time.Second, "tick")
	if len(acts) != 1 || acts[0].Kind != DoOpen {
		t.Fatalf("not told: %v", acts)
	}
	if in := acts[0].Incident; !in.Opened.Equal(c.Since) || !in.Confirmed.Equal(c.Confirmed) {
		t.Errorf("incident: opened %s, confirmed %s", in.Opened, in.Confirmed)
	}
}

// Where nobody probed for a while, the failures before it say nothing about since when.
func TestDoubtsDoNotOutliveAPause(t *testing.T) {
	for _, gap := range [][]string{{"paused", "running:100"}, {"reborn", "running:100"}} {
		pl := newPlayer()
		at := func(d time.Duration, words ...string) {
			o := pl.observation(t, epoch.Add(d), words)
			o.At, o.Room = epoch.Add(d), pl.room
			pl.s, _ = Step(pl.p, pl.s, o)
		}
		at(0, "running:100")
		at(time.Second, "web=pass")
		at(10*time.Second, "web=fail")
		at(11*time.Second, gap[0])
		at(5*time.Hour, gap[1])
		for n := range 3 {
			if at(5*time.Hour+time.Duration(1+n)*time.Second, "web=fail"); n < 2 && pl.s.Case != nil {
				t.Fatalf("%s: the failure before counts: %+v", gap[0], pl.s.Case)
			}
		}
		if c := pl.s.Case; c == nil || c.Since.Sub(epoch) != 5*time.Hour+time.Second {
			t.Errorf("%s: %+v", gap[0], c)
		}
	}
}

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
		o := pl.observation(t, words)
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

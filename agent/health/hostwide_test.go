package health

import (
	"fmt"
	"testing"
	"time"
)

// A crowd is n containers that are up, seen by a Survey.
type crowd struct {
	v      Survey
	states []State
	at     time.Time
}

func newCrowd(n int) *crowd {
	c := &crowd{v: DefaultSurvey(), at: epoch}
	for i := range n {
		c.states = append(c.states, State{Ref: Ref{Engine: "lxc", ID: fmt.Sprintf("web%02d", i)}, Phase: Up, Ran: true, RunState: Running})
		c.v.Note(c.states[i], 0)
	}
	return c
}

// fails has the given containers fail from now on: a first failing probe, not confirmed.
func (c *crowd) fails(which ...int) {
	for _, i := range which {
		c.states[i].Probes = map[string]ProbeState{"web": {Ever: true, Fails: 1, From: c.at}}
		c.v.Note(c.states[i], 0)
	}
}

func (c *crowd) heals(which ...int) {
	for _, i := range which {
		c.states[i].Probes = nil
		c.v.Note(c.states[i], 0)
	}
}

func (c *crowd) judge(t *testing.T, want ...ActionKind) HostEvent {
	t.Helper()
	turns := c.v.Judge(c.at)
	var got []ActionKind
	var e HostEvent
	for _, turn := range turns {
		got, e = append(got, turn.Kind), turn.Event
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("at %s: told %v, want %v", c.at.Sub(epoch), got, want)
	}
	return e
}

func (c *crowd) wait(d time.Duration) { c.at = c.at.Add(d) }

func TestManyAtOnceAreOneEvent(t *testing.T) {
	c := newCrowd(9)
	c.fails(0, 1)
	c.judge(t) // two are no crowd
	c.wait(21 * time.Second)
	c.fails(2)
	c.judge(t) // three, and not together
	c.fails(3, 4)
	e := c.judge(t, DoOpen)
	if len(e.Children) != 3 || e.Reason != "3 of 9 containers fail since 00:00:21" {
		t.Errorf("%+v", e)
	}
	if r := c.v.Room(c.at, c.states[4].Ref); r.Restart || !r.Start || r.Event != e.ID {
		t.Errorf("at first the sick wait, the dead do not: %+v", r)
	}
	c.wait(20 * time.Second)
	if r := c.v.Room(c.at, c.states[4].Ref); !r.Restart {
		t.Errorf("nothing is known of the host: by the bucket they are restarted: %+v", r)
	}
	if r := c.v.Room(c.at, c.states[0].Ref); r.Event == "" {
		t.Errorf("what begins to fail now belongs to it: %+v", r)
	}
	c.heals(2)
	c.judge(t)
	c.wait(19 * time.Second)
	c.judge(t)
	c.wait(time.Second)
	if e := c.judge(t, DoResolve); c.v.Event() != nil || len(e.Children) != 3 {
		t.Errorf("%+v", e)
	}
	if r := c.v.Room(c.at, c.states[4].Ref); r.Event != "" {
		t.Errorf("who is left is dealt with by itself: %+v", r)
	}
}

// Three of forty are no event: the share counts. What fails long after belongs to no event that merely lasts.
func TestWhatIsNoEvent(t *testing.T) {
	c := newCrowd(40)
	c.fails(0, 1, 2)
	c.judge(t)
	c = newCrowd(6)
	c.fails(0, 1, 2)
	c.judge(t, DoOpen)
	c.wait(time.Hour)
	c.fails(3)
	c.judge(t)
	if e := c.v.Event(); e == nil || len(e.Children) != 3 {
		t.Fatalf("%+v", e)
	}
	if r := c.v.Room(c.at, c.states[3].Ref); r.Event != "" {
		t.Errorf("an hour later: %+v", r)
	}
}

// A fault of the host is an event by itself, and while it holds no sick container is restarted.
func TestAFaultOfTheHost(t *testing.T) {
	c := newCrowd(5)
	c.states[4].Host.Faults = []string{"bridge br0 is down"}
	c.v.Note(c.states[4], 0)
	c.v.Host(c.at, []string{"bridge br0 is down"}, "")
	c.judge(t) // it may be up again at once
	c.wait(3 * time.Second)
	e := c.judge(t, DoOpen)
	if e.Reason != "bridge br0 is down" || len(e.Children) != 1 {
		t.Errorf("%+v", e)
	}
	c.wait(time.Hour)
	c.fails(0, 1, 2, 3)
	c.judge(t)
	c.wait(time.Minute)
	if r := c.v.Room(c.at, c.states[0].Ref); r.Restart || !r.Start || r.Event != e.ID {
		t.Errorf("%+v", r)
	}
	c.states[4].Host.Faults = nil
	c.v.Note(c.states[4], 0)
	c.v.Host(c.at, nil, "")
	c.heals(0, 1)
	c.judge(t)
	c.wait(20 * time.Second)
	c.judge(t, DoResolve)
}

// While the host chokes nothing is begun, and after some minutes the dead are started one at a time all the same.
func TestChoking(t *testing.T) {
	c := newCrowd(3)
	c.v.Host(c.at, nil, "choking")
	if r := c.v.Room(c.at, c.states[0].Ref); r.Start || r.Restart || r.Why != "choking" {
		t.Errorf("%+v", r)
	}
	c.wait(5 * time.Minute)
	if r := c.v.Room(c.at, c.states[0].Ref); !r.Start || r.Restart {
		t.Errorf("%+v", r)
	}
	c.v.Begin(c.states[0].Ref, c.at, false)
	if r := c.v.Room(c.at, c.states[1].Ref); r.Start {
		t.Errorf("a second at once: %+v", r)
	}
}

// Of those that wait for room the more important come first, and of equals the one that has waited longest.
func TestWhoComesFirst(t *testing.T) {
	c := newCrowd(3)
	c.v.Places = 1
	for i, priority := range []int{0, 5, 0} {
		c.states[i].Phase, c.states[i].Queue, c.states[i].Since = Waiting, true, epoch.Add(time.Duration(-i)*time.Second)
		c.v.Note(c.states[i], priority)
	}
	var may []int
	for n := 0; n < 3; n++ {
		for i := range c.states {
			if c.states[i].Queue && c.v.Room(c.at, c.states[i].Ref).Start {
				may = append(may, i)
				c.states[i].Phase, c.states[i].Queue = Up, false
				c.v.Note(c.states[i], 0)
				break
			}
		}
	}
	if fmt.Sprint(may) != "[1 2 0]" {
		t.Errorf("the order is %v", may)
	}
}

package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/schedule"
)

// In a bubble it is midnight, UTC, on Saturday, 1 January 2000.

func spec(t *testing.T, text string) schedule.Spec {
	t.Helper()
	s, err := schedule.ParseSpec(text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inWindow has a maintenance window from 01:00 to 02:00 each day.
func inWindow(t *testing.T, names ...string) func(*agent.Settings) {
	t.Helper()
	w, err := schedule.NewWindow("night", spec(t, "0 1 * * *"), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return func(s *agent.Settings) {
		s.Windows = []agent.Window{{Window: w, All: len(names) == 0}}
		setup := s.Setup
		s.Setup = func(g health.Sighting) agent.Setup {
			out := setup(g)
			if len(names) == 0 || slices.Contains(names, g.Ref.ID) {
				out.Windows = []string{"night"}
			}
			return out
		}
	}
}

// jobsOf gives every container schedules, by name: what is done, and when.
func jobsOf(t *testing.T, all map[string]health.JobPolicy, crons map[string]string) func(*agent.Settings) {
	t.Helper()
	order, err := engine.ParseOrder("command", []string{"ctl", "backup", "{{.ID}}"})
	if err != nil {
		t.Fatal(err)
	}
	return func(s *agent.Settings) {
		s.Backups = 1
		setup := s.Setup
		s.Setup = func(g health.Sighting) agent.Setup {
			out := setup(g)
			out.Policy.Jobs = all
			for name, cron := range crons {
				out.Schedules = append(out.Schedules, agent.Schedule{Name: name, Spec: spec(t, cron), Command: order})
			}
			return out
		}
	}
}

func verbs(tries []try) string {
	var out []string
	for _, tr := range tries {
		out = append(out, tr.at.UTC().Format("15:04 ")+tr.verb)
	}
	return strings.Join(out, ", ")
}

// at lets the time of the bubble pass until a day and a time.
func at(clock string) {
	day, err := time.Parse("2 15:04", clock)
	if err != nil {
		panic(err)
	}
	time.Sleep(time.Until(time.Date(2000, 1, day.Day(), day.Hour(), day.Minute(), 0, 0, time.UTC)))
}

// A death in a window is recorded and not told; the next agent knows of the window, too; what outlasts it is healed and told.
func TestMaintenanceWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b", "c")
		b := newBubble(t, w, t.TempDir(), inWindow(t))
		defer func() { b.stop() }()
		at("1 01:10")
		for _, id := range []string{"a", "b", "c"} { // all at once: no event of the host either
			w.die(id, false)
		}
		at("1 01:20")
		w.do(func() { w.guests["b"].running, w.guests["c"].running = true, true })
		at("1 01:30")
		c := b.state("a")
		if c.Window == nil || c.Window.Name != "night" || c.Phase != health.Deferred || !strings.Contains(c.Why, `maintenance window "night" until 2000-01-01T02:00:00Z`) {
			t.Errorf("a is shown as %+v", c)
		}
		if v := b.view(); len(v.Windows) != 1 || v.Windows[0].Until.UTC().Format("15:04") != "02:00" {
			t.Errorf("the windows are %+v", v.Windows)
		}
		b.crash(t)
		b.begin(t)
		at("1 01:59")
		if got := w.tried("a"); len(got) > 0 {
			t.Errorf("in the window: %s", verbs(got))
		}
		if text := b.text(); text != "" {
			t.Errorf("told in the window: %s", text)
		}
		at("1 02:05")
		if got := verbs(w.tried("a")); got != "02:00 start" {
			t.Errorf("a: %s", got)
		}
		if got := b.delivered(); got != "[open resolved]" {
			t.Errorf("told: %s", got)
		}
		if in := b.incidents("custom/b"); len(in) != 1 || in[0].Resolved.IsZero() || in[0].Window != "night" {
			t.Errorf("b has %+v", in)
		}
		if in := b.incidents("custom/a"); len(in) != 1 || in[0].Window != "" {
			t.Errorf("a has %+v", in)
		}
		w.die("b", false) // after it, all is as ever
		at("1 02:10")
		if got := verbs(w.tried("b")); got != "02:05 start" {
			t.Errorf("b: %s", got)
		}
	})
}

// A window of one container is nobody else's.
func TestWindowOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		b := newBubble(t, w, t.TempDir(), inWindow(t, "a"))
		defer func() { b.stop() }()
		at("1 01:10")
		w.die("a", false)
		w.die("b", false)
		at("1 01:20")
		if a, b := len(w.tried("a")), len(w.tried("b")); a != 0 || b != 1 {
			t.Errorf("a is tried %d times, b %d", a, b)
		}
	})
}

// Backups: at their times, one container after the other, not on a container that fails; a failed one is an incident.
func TestScheduledBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		w.takes = 90 * time.Second
		b := newBubble(t, w, t.TempDir(), jobsOf(t, map[string]health.JobPolicy{"nightly": {Do: health.VerbBackup, Limit: time.Hour, Overdue: 30 * time.Hour}},
			map[string]string{"nightly": "0 3 * * *"}))
		defer func() { b.stop() }()
		at("1 03:01")
		both := []health.ContainerView{b.state("a"), b.state("b")}
		if n := slices.IndexFunc(both, func(c health.ContainerView) bool { return !c.Jobs[0].Since.IsZero() }); n < 0 || both[1-n].Jobs[0].Postponed == "" {
			t.Errorf("under way: %+v", both)
		}
		at("1 03:10")
		for _, id := range []string{"a", "b"} {
			c := b.state(id)
			if got := w.tried(id); len(got) != 1 || got[0].verb != "backup" {
				t.Errorf("%s: %s", id, verbs(got))
			}
			if c.Backup == nil || c.Backup.Good.UTC().Format("15:04")[:4] != "03:0" || c.Jobs[0].Next.UTC().Format("2 15:04") != "2 03:00" {
				t.Errorf("%s is shown as %+v, %+v", id, c.Backup, c.Jobs)
			}
		}
		if w.most != 1 {
			t.Errorf("%d at once", w.most)
		}
		w.do(func() { w.guests["a"].full = true })
		at("2 03:10")
		if got := b.delivered(); got != "[open]" || !strings.Contains(b.text(), `backup by schedule \"nightly\" failed: no space left on device; the last good one was begun at 2000-01-01T03:0`) {
			t.Errorf("told: %s", b.text())
		}
		c := b.state("a")
		if c.Incident != "" || c.Backup.Incident == "" || c.Backup.Err != "no space left on device" {
			t.Errorf("a is shown as %+v, %+v", c, c.Backup)
		}
		w.do(func() { w.guests["a"].full = false })
		b.crash(t) // the next agent goes on with what is open
		b.begin(t)
		at("3 03:10")
		if got := b.delivered(); got != "[resolved]" { // its channel is another file
			t.Errorf("told: %s", b.text())
		}
		w.die("a", true)
		at("4 03:10")
		if got := w.tried("a"); got[len(got)-1].verb == "backup" || !strings.Contains(b.text(), "is postponed: incident") {
			t.Errorf("a fails, and: %s\n%s", verbs(got), b.text())
		}
	})
}

// What was due while no agent was there is done once, if it is to be caught up; else it is said.
func TestCatchUp(t *testing.T) {
	for _, catchUp := range []bool{true, false} {
		t.Run(fmt.Sprint(catchUp), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld("a")
				b := newBubble(t, w, t.TempDir(), jobsOf(t, map[string]health.JobPolicy{"nightly": {Do: health.VerbBackup, Limit: time.Hour, CatchUp: catchUp}},
					map[string]string{"nightly": "0 3 * * *"}))
				defer func() { b.stop() }()
				at("1 02:00")
				b.stop()
				at("4 12:00")
				b.begin(t)
				at("4 12:10")
				want, missed := "12:00 backup", "[]"
				if !catchUp {
					want, missed = "", "[notice]"
				}
				if got := verbs(w.tried("a")); got != want || b.delivered() != missed {
					t.Errorf("%q, told %s", got, b.text())
				}
				at("5 03:10")
				if got := w.tried("a"); verbs(got[len(got)-1:]) != "03:00 backup" {
					t.Errorf("then: %s", verbs(got))
				}
			})
		})
	}
}

// Stopped in the evening, on purpose and not healed, also by the next agent; started in the morning, and healed again.
func TestScheduledStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		b := newBubble(t, w, t.TempDir(), jobsOf(t, map[string]health.JobPolicy{"evening": {Do: health.VerbStop, Limit: time.Minute}, "morning": {Do: health.VerbStart},
			"weekly": {Do: health.VerbRestart}}, map[string]string{"evening": "0 20 * * *", "morning": "0 7 * * *", "weekly": "0 12 2 * *"}))
		defer func() { b.stop() }()
		at("1 21:00")
		if c := b.state("a"); c.Phase != health.Off || c.Intent.Want != health.No || !strings.Contains(c.Why, `stopped by schedule "evening"`) {
			t.Errorf("in the evening: %+v", c)
		}
		b.crash(t)
		b.begin(t)
		at("2 13:00")
		if got := verbs(w.tried("a")); got != "20:00 stop, 07:00 start, 12:00 restart" {
			t.Errorf("tried: %s", got)
		}
		w.die("a", false)
		at("2 14:00")
		if got := w.tried("a"); verbs(got[3:]) != "13:00 start" {
			t.Errorf("after its death: %s", verbs(got))
		}
		if got := b.delivered(); got != "[open resolved]" {
			t.Errorf("told: %s", b.text())
		}
		if n := b.state("a").Attempts; n > 1 {
			t.Errorf("%d attempts are spent", n)
		}
	})
}

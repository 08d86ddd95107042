package schedule_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"atalaya/agent/schedule"
)

func spec(t *testing.T, text string) schedule.Spec {
	t.Helper()
	s, err := schedule.ParseSpec(text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNext(t *testing.T) {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 3, 50, 0, 0, time.UTC) // a Tuesday
	for _, c := range []struct {
		text string
		zone *time.Location
		want string
	}{
		{"30 3 * * mon", time.UTC, "2026-11-30T03:30:00Z"},
		{"*/15 * * * *", time.UTC, "2026-11-24T04:00:00Z"},
		{"0 5 * * *", madrid, "2026-11-24T04:00:00Z"},
		{"30 2 28 3 *", madrid, "2027-03-28T01:00:00Z"}, // summer time skips this hour: at the change
		{"@daily", time.UTC, "2026-11-25T00:00:00Z"},
		{"@every 90m", time.UTC, "2026-11-24T05:20:00Z"},
	} {
		s, err := schedule.ParseSpec(c.text, c.zone)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := s.Next(at).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%q: next is %s, want %s", c.text, got, c.want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"61 3 * * *":          `schedule "61 3 * * *": field 1, "61", is wrong: it is the minute (0-59), as in */15`,
		"0 3 * * mardi":       `schedule "0 3 * * mardi": field 5, "mardi", is wrong: it is the day of week (0-6 or sun-sat; Sunday is 0), as in mon-fri`,
		"0 25 * * *":          `schedule "0 25 * * *": field 2, "25", is wrong: it is the hour (0-23), as in 3 or 8-18`,
		"0 3 0 * *":           `schedule "0 3 0 * *": field 3, "0", is wrong: it is the day of month (1-31), as in 1 or 1,15`,
		"0 3 * 13 *":          `schedule "0 3 * 13 *": field 4, "13", is wrong: it is the month (1-12 or jan-dec), as in 6 or jan-mar`,
		"0 3 * *":             `schedule "0 3 * *": it has 4 fields and needs 5 (minute hour day-of-month month day-of-week), as in 30 3 * * mon`,
		"":                    `schedule "": it has 0 fields and needs 5 (minute hour day-of-month month day-of-week), as in 30 3 * * mon`,
		"@every 10":           `schedule "@every 10": after @every comes a duration of at least 1s, as in @every 6h`,
		"@every -5s":          `schedule "@every -5s": after @every comes a duration of at least 1s, as in @every 6h`,
		"@fortnightly":        `schedule "@fortnightly": it is none of @hourly, @daily, @weekly, @monthly, @yearly, @every 6h`,
		"TZ=UTC":              `schedule "TZ=UTC": the time zone is a setting of its own, not part of the schedule`,
		"CRON_TZ=UTC 0 3 * *": `schedule "CRON_TZ=UTC 0 3 * *": the time zone is a setting of its own, not part of the schedule`,
		"0 0 30 2 *":          `schedule "0 0 30 2 *": it never happens, like the 30th of February`,
	} {
		if _, err := schedule.ParseSpec(text, nil); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("*/5 1-3,7 * jan mon")
	f.Add("TZ= 0")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := schedule.ParseSpec(text, time.UTC); err == nil && s.Next(time.Now()).IsZero() {
			t.Errorf("%q was taken and never happens", text)
		}
	})
}

// One virtual hour: an hourly habit, a job that dawdles, one that fails and one that panics.
func TestJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		began := time.Now()
		var quick []time.Duration
		slow := 0
		s, err := schedule.New(slog.New(slog.NewTextHandler(&log, nil)), reg,
			schedule.Job{Name: "quick", Spec: spec(t, "*/10 * * * *"), Do: func(context.Context) error {
				quick = append(quick, time.Since(began))
				return nil
			}},
			schedule.Job{Name: "slow", Spec: spec(t, "@every 1m"), Do: func(ctx context.Context) error {
				slow++
				select {
				case <-ctx.Done():
				case <-time.After(150 * time.Second):
				}
				return nil
			}},
			schedule.Job{Name: "bad", Spec: spec(t, "@every 20m"), Do: func(context.Context) error { return errors.New("no luck") }},
			schedule.Job{Name: "worse", Spec: spec(t, "@every 20m"), Do: func(context.Context) error { panic("oh no") }},
		)
		if err != nil {
			t.Fatal(err)
		}
		if next := s.Next("bad", began); next.Sub(began) != 20*time.Minute {
			t.Errorf("bad is due at %v", next)
		}
		if !s.Next("none", began).IsZero() {
			t.Error("a job that does not exist is due")
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour+30*time.Second)
		defer stop()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Hour+30*time.Second {
			t.Errorf("stopping took until %v: the slow job was not waited for, or not told", took)
		}
		if len(quick) != 6 {
			t.Errorf("quick ran at %v", quick)
		}
		if slow != 20 { // each run of 150 s skips the two times within it
			t.Errorf("slow ran %d times", slow)
		}
		for _, want := range []string{"no luck", "oh no", "schedule_test.go", "this one is skipped"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		if n := testutil.ToFloat64(counter(t, reg, "atalaya_schedule_runs_total", "worse", "failed")); n != 3 {
			t.Errorf("worse failed %v times", n)
		}
		mfs, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if problems, err := promlint.NewWithMetricFamilies(mfs).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("metrics: %v, %v", problems, err)
		}
		if err := s.Run(ctx); err == nil {
			t.Error("it ran twice")
		}
	})
}

// counter gives the value of one series as a gauge, to be read by testutil.
func counter(t *testing.T, reg *prometheus.Registry, name string, labels ...string) prometheus.Gauge {
	t.Helper()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})
	mfs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, mf := range mfs {
		for _, m := range mf.GetMetric() {
			all := mf.GetName() == name
			for i, l := range m.GetLabel() {
				all = all && l.GetValue() == labels[i]
			}
			if all {
				g.Set(m.GetCounter().GetValue())
			}
		}
	}
	return g
}

func TestJitterIsSteadyAndDiffersByHost(t *testing.T) {
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	next := func(seed string) time.Time {
		s, err := schedule.New(slog.New(slog.DiscardHandler), nil, schedule.Job{Name: "prune", Seed: seed, Jitter: time.Hour,
			Spec: spec(t, "0 3 * * *"), Do: func(context.Context) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		return s.Next("prune", at)
	}
	a, b := next("node1"), next("node2")
	if a.Equal(b) || !a.Equal(next("node1")) {
		t.Errorf("node1 at %v, node2 at %v, node1 again at %v", a, b, next("node1"))
	}
	for _, n := range []time.Time{a, b} {
		if n.Before(at.Add(3*time.Hour)) || !n.Before(at.Add(4*time.Hour)) {
			t.Errorf("%v is not within the hour", n)
		}
	}
}

func TestJobsThatCannotBe(t *testing.T) {
	do := func(context.Context) error { return nil }
	for name, jobs := range map[string][]schedule.Job{
		"no name":     {{Spec: spec(t, "@daily"), Do: do}},
		"no schedule": {{Name: "x", Do: do}},
		"no deed":     {{Name: "x", Spec: spec(t, "@daily")}},
		"twice":       {{Name: "x", Spec: spec(t, "@daily"), Do: do}, {Name: "x", Spec: spec(t, "@daily"), Do: do}},
	} {
		if _, err := schedule.New(slog.New(slog.DiscardHandler), nil, jobs...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

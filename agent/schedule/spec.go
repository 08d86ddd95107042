package schedule

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A Spec is a parsed schedule. The zero Spec never happens.
type Spec struct {
	text  string
	next  cron.Schedule
	shift time.Duration
}

func fields() [5]string {
	return [5]string{
		"minute (0-59), as in */15",
		"hour (0-23), as in 3 or 8-18",
		"day of month (1-31), as in 1 or 1,15",
		"month (1-12 or jan-dec), as in 6 or jan-mar",
		"day of week (0-6 or sun-sat; Sunday is 0), as in mon-fri",
	}
}

// ParseSpec reads a schedule in one of three forms, to be understood in the given time zone (nil: the host's):
//
//	minute hour day-of-month month day-of-week   five fields, as in crontab(5): "30 3 * * mon"
//	@hourly, @daily, @weekly, @monthly, @yearly  at the beginning of it
//	@every DURATION                              "@every 6h", counted from the start of the agent; at least 1s
//
// An error names the field that is wrong, what it may hold, and an example. In the hour that summer time skips nothing
// happens, and what is due in the hour that it repeats happens twice (robfig/cron v3, spec_test.go).
func ParseSpec(text string, zone *time.Location) (Spec, error) {
	text = strings.TrimSpace(text)
	if zone == nil {
		zone = time.Local //nolint:gosmopolitan // what an administrator means by "at 3" is the clock on the wall
	}
	if err := checkSpec(text); err != nil {
		return Spec{}, fmt.Errorf("schedule %q: %w", text, err)
	}
	s, err := cron.ParseStandard(text)
	if err != nil {
		return Spec{}, fmt.Errorf("schedule %q: %w", text, err)
	}
	if c, ok := s.(*cron.SpecSchedule); ok {
		c.Location = zone
	}
	if s.Next(time.Unix(0, 0)).IsZero() { // cron looks five years ahead
		return Spec{}, fmt.Errorf("schedule %q: it never happens, like the 30th of February", text)
	}
	return Spec{text: text, next: s}, nil
}

func checkSpec(text string) error {
	if every, found := strings.CutPrefix(text, "@every"); found {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second {
			return errors.New("after @every comes a duration of at least 1s, as in @every 6h")
		}
		return nil
	}
	if strings.HasPrefix(text, "@") {
		if _, err := cron.ParseStandard(text); err != nil {
			return errors.New("it is none of @hourly, @daily, @weekly, @monthly, @yearly, @every 6h")
		}
		return nil
	}
	if strings.Contains(text, "TZ=") { // cron would take it, and panics on some
		return errors.New("the time zone is a setting of its own, not part of the schedule")
	}
	got := strings.Fields(text)
	if len(got) != 5 {
		return fmt.Errorf("it has %d fields and needs 5 (minute hour day-of-month month day-of-week), as in 30 3 * * mon", len(got))
	}
	for i, what := range fields() {
		alone := [5]string{"*", "*", "*", "*", "*"}
		alone[i] = got[i]
		if _, err := cron.ParseStandard(strings.Join(alone[:], " ")); err != nil {
			return fmt.Errorf("field %d, %q, is wrong: it is the %s", i+1, got[i], what)
		}
	}
	return nil
}

// String gives the text that was parsed.
func (s Spec) String() string { return s.text }

// Next gives the first time after t; zero: never.
func (s Spec) Next(t time.Time) time.Time {
	if s.next == nil {
		return time.Time{}
	}
	next := s.next.Next(t.Add(-s.shift))
	if next.IsZero() {
		return next
	}
	return next.Add(s.shift)
}

// jittered is the same schedule, always later by the same part of most: hosts that share a configuration differ in the
// names that are hashed, and one host keeps its times over restarts.
func (s Spec) jittered(name string, most time.Duration) Spec {
	if most <= 0 {
		return s
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	s.shift = time.Duration(h.Sum64() % uint64(most))
	return s
}

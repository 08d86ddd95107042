package schedule

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	_ "time/tzdata" // a minimal host has none, and its schedules name zones all the same

	"github.com/robfig/cron/v3"
)

// A Spec is a parsed schedule. The zero Spec never happens.
type Spec struct {
	text  string
	next  cron.Schedule
	civil *time.Location // nil, or next is to be asked by the hands of the clock there: see onTheClock
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
// An error names the field that is wrong, what it may hold, and an example.
//
// When the clocks change, a schedule with hours of its own happens once all the same, as with cron(8): what is due in the
// hour that summer time skips comes at the moment of the change, and what is due in the hour that is repeated comes the
// first time only. One for every hour ("*/15 * * * *", @hourly) follows the time that passes.
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
	out := Spec{text: text, next: s}
	if c, ok := s.(*cron.SpecSchedule); ok {
		if c.Location = zone; !everyHour(text) { // robfig/cron would leave out what is skipped, and do twice what is repeated
			c.Location, out.civil = time.UTC, zone
		}
	}
	if s.Next(time.Unix(0, 0)).IsZero() { // cron looks five years ahead
		return Spec{}, fmt.Errorf("schedule %q: it never happens, like the 30th of February", text)
	}
	return out, nil
}

// everyHour tells whether a schedule is for every hour of the day. Ranges of all hours are hours of their own, as in cron(8).
func everyHour(text string) bool {
	f := strings.Fields(text)
	return text == "@hourly" || len(f) == 5 && f[1] == "*"
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
	next := s.unshifted(t.Add(-s.shift))
	if next.IsZero() {
		return next
	}
	return next.Add(s.shift)
}

// unshifted gives the first time after t, without jitter.
func (s Spec) unshifted(t time.Time) time.Time {
	if s.civil == nil {
		return s.next.Next(t)
	}
	hands := clockOf(t, s.civil)
	for range 4 { // what the clock shows for the second time is not after t
		hands = s.next.Next(hands)
		if hands.IsZero() {
			return hands
		}
		if at := onTheClock(hands, s.civil); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// clockOf is what the clock of a zone shows at t, as if it were UTC.
func clockOf(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// onTheClock is when the clock of a zone shows hands for the first time; what it skips is taken for the moment at which it
// does so.
func onTheClock(hands time.Time, zone *time.Location) time.Time {
	at := time.Date(hands.Year(), hands.Month(), hands.Day(), hands.Hour(), hands.Minute(), hands.Second(), hands.Nanosecond(), zone)
	from, to := at.ZoneBounds()
	switch shown := clockOf(at, zone); {
	case shown.After(hands): // it was skipped, and time.Date went by the offset before
		return from
	case shown.Before(hands):
		return to
	case from.IsZero():
		return at
	}
	_, offset := at.Zone()
	_, before := from.Add(-time.Nanosecond).Zone()
	if first := at.Add(time.Duration(offset-before) * time.Second); first.Before(from) && first.Before(at) {
		return first
	}
	return at
}

// Clock tells whether the schedule goes by the clock on the wall, and not by the time since it happened last.
func (s Spec) Clock() bool { return s.next != nil && !strings.HasPrefix(s.text, "@every") }

// Jittered is the same schedule, always later by the same part of most: hosts that share a configuration differ in the
// names that are hashed, and one host keeps its times over restarts.
func (s Spec) Jittered(name string, most time.Duration) Spec {
	if most <= 0 {
		return s
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	s.shift = time.Duration(h.Sum64() % uint64(most))
	return s
}

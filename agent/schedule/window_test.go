package schedule_test

import (
	"strings"
	"testing"
	"time"

	"atalaya/agent/schedule"
)

func madrid(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func utc(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// In Madrid the clocks go from 02:00 to 03:00 on 28 March 2027, at 01:00 UTC, and from 03:00 back to 02:00 on 31 October
// 2027, at 01:00 UTC.
func TestClockChanges(t *testing.T) {
	zone := madrid(t)
	for _, c := range []struct{ text, from, want string }{
		{"30 2 * * *", "2027-03-27 00:00", "2027-03-27 01:30, 2027-03-28 01:00, 2027-03-29 00:30"}, // never: at the change
		{"0 2 * * *", "2027-03-27 12:00", "2027-03-28 01:00, 2027-03-29 00:00"},
		{"0 3 * * *", "2027-03-27 12:00", "2027-03-28 01:00, 2027-03-29 01:00"},
		{"59 1 * * *", "2027-03-27 12:00", "2027-03-28 00:59, 2027-03-28 23:59"},
		{"30 2 * * *", "2027-10-30 12:00", "2027-10-31 00:30, 2027-11-01 01:30"}, // twice: the first time
		{"30 2 * * *", "2027-10-31 00:45", "2027-11-01 01:30"},                   // asked between the two
		{"0 2,3 * * *", "2027-10-30 12:00", "2027-10-31 00:00, 2027-10-31 02:00, 2027-11-01 01:00"},
		{"*/30 2 * * *", "2027-10-30 12:00", "2027-10-31 00:00, 2027-10-31 00:30, 2027-11-01 01:00"},
		{"*/30 2 * * *", "2027-03-27 12:00", "2027-03-28 01:00, 2027-03-29 00:00"}, // both at the change: once
		{"30 * * * *", "2027-10-31 00:00", "2027-10-31 00:30, 2027-10-31 01:30, 2027-10-31 02:30"},
		{"30 * * * *", "2027-03-28 00:00", "2027-03-28 00:30, 2027-03-28 01:30"},
		{"@daily", "2027-10-30 12:00", "2027-10-30 22:00, 2027-10-31 23:00"},
	} {
		s, err := schedule.ParseSpec(c.text, zone)
		if err != nil {
			t.Fatal(err)
		}
		at := utc(t, c.from)
		var got []string
		for range strings.Count(c.want, ",") + 1 {
			at = s.Next(at)
			got = append(got, at.UTC().Format("2006-01-02 15:04"))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%q from %s:\ngot  %s\nwant %s", c.text, c.from, text, c.want)
		}
	}
}

// Whatever the zone does, time goes forward, and never by more than the schedule allows.
func TestTimeGoesForward(t *testing.T) {
	for _, name := range []string{"Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Asia/Tehran"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"30 2 * * *", "15 1 * * *", "0 0 * * *", "45 23 * * *", "*/20 2,3 * * *"} {
			s, err := schedule.ParseSpec(text, zone)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			days := map[string]bool{}
			for at.Year() < 2029 {
				next := s.Next(at)
				if gap := next.Sub(at); gap <= 0 || gap > 26*time.Hour {
					t.Fatalf("%s, %q: after %s comes %s", name, text, at.In(zone), next.In(zone))
				}
				at = next
				days[at.In(zone).Format("2006-01-02")] = true
			}
			if len(days) < 9*365 {
				t.Errorf("%s, %q: it happened on %d days only", name, text, len(days))
			}
		}
	}
}

func window(t *testing.T, text string, length time.Duration) schedule.Window {
	t.Helper()
	s, err := schedule.ParseSpec(text, madrid(t))
	if err != nil {
		t.Fatal(err)
	}
	w, err := schedule.NewWindow("w", s, length)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindowOpensAndCloses(t *testing.T) {
	for _, c := range []struct {
		text           string
		length         time.Duration
		at, until, why string
	}{
		{"0 3 * * sun", 2 * time.Hour, "2026-11-29 01:59", "", ""},
		{"0 3 * * sun", 2 * time.Hour, "2026-11-29 02:00", "2026-11-29 04:00", "begins on the minute"},
		{"0 3 * * sun", 2 * time.Hour, "2026-11-29 03:59", "2026-11-29 04:00", ""},
		{"0 3 * * sun", 2 * time.Hour, "2026-11-29 04:00", "", "ends on the minute"},
		{"0 23 * * *", 3 * time.Hour, "2026-11-29 00:30", "2026-11-29 01:00", "over midnight"},
		{"0,30 3 * * *", time.Hour, "2026-11-29 02:10", "2026-11-29 03:30", "opens anew while it is open"},
		{"30 2 * * *", 2 * time.Hour, "2027-03-28 02:59", "2027-03-28 03:00", "its hour is skipped: from the change on"},
		{"30 2 * * *", 2 * time.Hour, "2027-03-28 00:59", "", ""},
		{"30 2 * * *", time.Hour, "2027-10-31 00:30", "2027-10-31 01:30", "its hour comes twice: the first time"},
		{"30 2 * * *", time.Hour, "2027-10-31 01:40", "", "and not again"},
		{"0 1 * * *", 3 * time.Hour, "2027-10-31 01:59", "2027-10-31 02:00", "3 h are 3 h: until 3 by the clock"},
	} {
		got := ""
		if until := window(t, c.text, c.length).Open(utc(t, c.at)); !until.IsZero() {
			got = until.UTC().Format("2006-01-02 15:04")
		}
		if got != c.until {
			t.Errorf("%q for %s at %s: until %q, want %q (%s)", c.text, c.length, c.at, got, c.until, c.why)
		}
	}
}

func TestWindowsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"0 3 * * *":  "it would never close: it lasts 24h0m0s, and opens anew before that is over",
		"@every 48h": "a window opens by the clock: give minute hour day-of-month month day-of-week, or @daily",
	} {
		s, err := schedule.ParseSpec(text, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schedule.NewWindow("w", s, 24*time.Hour); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

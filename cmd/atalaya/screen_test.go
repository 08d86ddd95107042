package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"atalaya/agent/health"
)

func fetch(ctx context.Context, url string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"web1":                "web1",
		"señor 網":             "señor 網",
		"a\x1b[2Jb":           `a\x1b[2Jb`,
		"two\nlines\ttab\r":   `two\nlines\ttab\r`,
		"\xff\xfe":            `\xff\xfe`,
		"\u202egnp.exe":       `\u202egnp.exe`,
		"a\u0085\u009bb":      `a\u0085\u009bb`,
		"\u200bhidden\ufffd!": "\\u200bhidden\ufffd!",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func sample() table {
	t := table{head: []string{"CONTAINER", "STATE", "EMPTY", "WHAT"}}
	t.add(cell{"lxc/web1", plain}, cell{"running", green}, cell{}, cell{"", plain})
	t.add(cell{"lxc/señor-database", plain}, cell{"stopped", red}, cell{},
		cell{"its engine says that there is no such bridge as the one it is to be attached to", plain})
	return t
}

func TestTable(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		0: "CONTAINER           STATE    WHAT\n" +
			"lxc/web1            running\n" +
			"lxc/señor-database  stopped  its engine says that there is no such bridge as the one it is to be attached to\n",
		60: "CONTAINER           STATE    WHAT\n" +
			"lxc/web1            running\n" +
			"lxc/señor-database  stopped  its engine says that there is\n" +
			"                             no such bridge as the one it is\n" +
			"                             to be attached to\n",
		20: "CONTAINER lxc/web1\n" +
			"STATE     running\n\n" +
			"CONTAINER lxc/señor-database\n" +
			"STATE     stopped\n" +
			"WHAT      its engine says that there is no such bridge as the one it is to be attached to\n",
	} {
		var b strings.Builder
		x := sample()
		x.print(screen{out: &b, width: width})
		if b.String() != want {
			t.Errorf("width %d:\n%s\nwant\n%s", width, b.String(), want)
		}
		for l := range strings.Lines(b.String()) {
			if width >= 60 && utf8.RuneCountInString(strings.TrimSpace(l)) > width {
				t.Errorf("width %d: a line is longer: %q", width, l)
			}
		}
	}
}

func TestColourIsOnlyForTerminals(t *testing.T) {
	t.Parallel()
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newScreen(f, func(string) string { return "" })
	if s.colour || s.width != 0 || s.paint(red, "x") != "x" {
		t.Errorf("a file is painted: %+v", s)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 60 * time.Millisecond: "60 ms", 42 * time.Second: "42 s", 3*time.Minute + 5*time.Second: "3 min",
		2 * time.Hour: "2 h", 2*time.Hour + 5*time.Minute: "2 h 5 min", 49 * time.Hour: "2 d 1 h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestPeriod(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{"90m": 90 * time.Minute, "7d": 168 * time.Hour, "1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute} {
		var p period
		if err := p.Set(in); err != nil || time.Duration(p) != want {
			t.Errorf("%q is %s, %v", in, time.Duration(p), err)
		}
	}
	for _, in := range []string{"", "10", "d", "-1h", "0s", "1w", "NaNd", "1e300d", "Infd"} {
		var p period
		if err := p.Set(in); err == nil {
			t.Errorf("%q is taken as %s", in, time.Duration(p))
		}
	}
}

// TestLooked: what is known of an instance is not shown as fresher than it is.
func TestLooked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, test := range []struct {
		i    health.InstanceView
		want string
	}{
		{health.InstanceView{}, "not listed yet"},
		{health.InstanceView{Err: "lxc-ls: not found"}, ""},
		{health.InstanceView{Listed: ago(2 * time.Second), Looked: ago(2 * time.Second), Count: 3}, "3 containers, listed 2 s ago"},
		{health.InstanceView{Listed: ago(41 * time.Second), Looked: ago(336 * time.Millisecond), Count: 1}, "1 container, listed 41 s ago, unmoved 336 ms ago"},
		{health.InstanceView{Listed: ago(90 * time.Second), Looked: ago(time.Second), Degraded: "slow", Count: 2}, "2 containers, listed 1 min ago, asked one by one 1 s ago"},
		{health.InstanceView{Looked: ago(time.Second), Degraded: "slow", Count: 2}, "2 containers, never listed whole, asked one by one 1 s ago"},
	} {
		if got := looked(test.i, now); got != test.want {
			t.Errorf("%+v: %q, want %q", test.i, got, test.want)
		}
	}
}

// TestUndelivered: a channel that fails for longer than a receiver takes to restart is shown, and dead letters always are.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 0)
	for _, test := range []struct {
		all  []health.ChannelView
		want string
	}{
		{nil, ""},
		{[]health.ChannelView{{Name: "ops", Pending: 3}, {Name: "hook", Pending: 1, Failing: now.Add(-59 * time.Second), Err: "EOF"}}, ""},
		{[]health.ChannelView{{Name: "hook", Pending: 2, Failing: now.Add(-5 * time.Minute), Err: "EOF"}},
			"! channel \"hook\" has been failing for 5 min, 2 alerts waiting ('atalaya outbox'): EOF\n"},
		{[]health.ChannelView{{Name: "a", Dead: 1}, {Name: "b", Dead: 1}}, "! 2 alerts could not be delivered: 'atalaya outbox' lists them\n"},
	} {
		var b strings.Builder
		warnUndelivered(screen{out: &b}, health.View{At: now, Channels: test.all})
		if b.String() != test.want {
			t.Errorf("%+v: %q, want %q", test.all, b.String(), test.want)
		}
	}
}

package hostexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStream(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	for name, tt := range map[string]struct {
		script string
		lines  []string
		err    string
	}{
		"lines":            {script: `echo a; echo; printf b`, lines: []string{"a", "", "b"}},
		"in pieces":        {script: `printf a; sleep 0.05; printf 'b\nc'; sleep 0.05; echo`, lines: []string{"ab", "c"}},
		"it fails":         {script: `echo a; echo why >&2; exit 3`, lines: []string{"a"}, err: "exit 3: why"},
		"left behind":      {script: `sleep 1234 & echo a`, lines: []string{"a"}},
		"a line too long":  {script: `head -c 200000 /dev/zero | tr '\0' x; echo; echo b`, lines: []string{strings.Repeat("x", maxLine), "b"}},
		"nothing":          {script: `:`},
		"not even started": {script: "", err: "no-such-command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sh(tt.script)
			if tt.script == "" {
				c.Argv = []string{"no-such-command"}
			}
			var lines []string
			err := h.Stream(t.Context(), c, func(b []byte) error { lines = append(lines, string(b)); return nil })
			if fmt.Sprintf("%.40q", lines) != fmt.Sprintf("%.40q", tt.lines) || len(strings.Join(lines, "")) != len(strings.Join(tt.lines, "")) {
				t.Errorf("lines %.100q, want %.100q", lines, tt.lines)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestStreamEndsWholeWithItsCaller(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	script := `sleep 1234 & echo $!; sleep 1234 & echo $!; echo $$; while :; do wait; done`
	t.Run("ctx", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("shutting down")
		var pids bytes.Buffer
		err := h.Stream(ctx, sh(script), func(b []byte) error {
			fmt.Fprintf(&pids, "%s ", b)
			if strings.Count(pids.String(), " ") == 3 {
				cancel(why)
			}
			return nil
		})
		if !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		gone(t, pids.String(), 3)
	})
	t.Run("the reader fails", func(t *testing.T) {
		t.Parallel()
		why := errors.New("cannot parse")
		var pid string
		err := h.Stream(t.Context(), sh(script), func(b []byte) error { pid = string(b); return why })
		if !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		gone(t, pid, 1)
	})
}

// TestStreamHoldsInput: a tool that ends when its standard input ends goes on, and does not where nobody holds that open.
func TestStreamHoldsInput(t *testing.T) {
	t.Parallel()
	h := New(Options{Dir: t.TempDir()})
	argv := []string{"/bin/sh", "-c", "echo begun; cat; echo ended"}
	for held, want := range map[bool]string{false: "begun ended", true: "begun"} {
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		err := h.Stream(ctx, Command{Argv: argv, Held: held}, func(line []byte) error {
			if got = append(got, string(line)); held {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			return nil
		})
		cancel()
		if strings.Join(got, " ") != want || (err != nil) != held {
			t.Errorf("held %v: %q, %v", held, got, err)
		}
	}
}

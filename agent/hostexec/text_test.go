package hostexec

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 28, 12, 123e6, time.FixedZone("", 3600))
	for name, tt := range map[string]struct {
		t    Transcript
		text string
		err  string
	}{
		"it failed, cut": {
			t: Transcript{
				Argv: []string{"lxc-start", "-n", "web 1", "-o", ""}, PID: 4711, Started: at, Took: 12345 * time.Microsecond, Exit: 1,
				Stdout: []byte("one\ntwo"), StdoutSize: 3 << 20, Stderr: []byte("\nlxc-start: it's \x1b[31mred\x1b[0m\xff\u202e\r\n"), StderrSize: 35,
			},
			text: "$ lxc-start -n 'web 1' -o ''\n" +
				"one\ntwo\n# stdout cut at 7 B of 3.0 MiB\n" +
				"! \n! lxc-start: it's \\x1b[31mred\\x1b[0m\\xff\\u202e\n" +
				"# exit 1 after 12.3 ms, started 2026-11-24T03:28:12.123+01:00, pid 4711\n",
			err: `lxc-start -n 'web 1' -o '': exit 1: lxc-start: it's \x1b[31mred\x1b[0m\xff\u202e`,
		},
		"it went well": {
			t:    Transcript{Argv: []string{"echo", "it's"}, Started: at, Took: 3 * time.Second, Stdout: []byte("x\n"), StdoutSize: 2},
			text: "$ echo 'it'\\''s'\nx\n# exit 0 after 3s, started 2026-11-24T03:28:12.123+01:00\n",
		},
		"no answer": {
			t:    Transcript{Argv: []string{"lxc-ls"}, Started: at, Exit: -1, TimedOut: true, Abandoned: true, Failure: "no answer within 20s"},
			text: "$ lxc-ls\n# no answer within 20s after 0.0 ms, started 2026-11-24T03:28:12.123+01:00\n# it had not ended when this was written\n",
			err:  "lxc-ls: no answer within 20s",
		},
		"a signal": {
			t:    Transcript{Argv: []string{"lxc-ls"}, Started: at, Exit: -1, Signal: "SIGSEGV"},
			text: "$ lxc-ls\n# ended by SIGSEGV after 0.0 ms, started 2026-11-24T03:28:12.123+01:00\n",
			err:  "lxc-ls: ended by SIGSEGV",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.t.Text(); got != tt.text {
				t.Errorf("text:\n%s\nwant:\n%s", got, tt.text)
			}
			err := tt.t.Err()
			if tt.err == "" != (err == nil) || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %s", err, tt.err)
			}
			var exit *ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Error("no ExitError")
			}
		})
	}
}

// One line, however long or strange what the command said.
func TestErrorIsOneBoundedLine(t *testing.T) {
	t.Parallel()
	said := strings.Repeat("\x00\n", 10) + strings.Repeat("é\x07", 5000)
	err := Transcript{Argv: []string{strings.Repeat("a\n", 5000)}, Exit: 2, Stderr: []byte(said)}.Err().Error()
	if len(err) > 1000 || strings.ContainsAny(err, "\n\x00\x07") {
		t.Errorf("%d bytes: %q", len(err), err)
	}
}

func TestBytesText(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 256 << 10: "256 KiB", 3 << 20: "3.0 MiB", 1536 << 20: "1.5 GiB", 5 << 50: "5120 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, id := range []string{"a", "A", "a/b", "a_b", "a:b", "../../etc/passwd", ".a", "-", "é", strings.Repeat("a", 101), strings.Repeat("a", 102), "a\x00b"} {
		name := fileName(id)
		if other, dup := seen[name]; dup {
			t.Errorf("%q and %q are both %q", id, other, name)
		}
		seen[name] = id
		if strings.ContainsAny(name, "/\x00:") || name[0] == '.' || len(name) > 110 || name != fileName(id) {
			t.Errorf("%q is %q", id, name)
		}
	}
}

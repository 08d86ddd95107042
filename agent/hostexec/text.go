package hostexec

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text renders the transcript as a person reads it in evidence: the command as it could be typed, what it printed
// (stderr behind "! "), how it ended, and what was cut. Bytes that are not printable are shown as escapes, because what a
// container prints may try to steer the reader's terminal.
//
//	$ lxc-start -n web1
//	! lxc-start: web1: Failed to create lxc_container
//	# exit 1 after 12.3 ms, started 2026-11-24T03:28:12.123Z, pid 4711
func (t Transcript) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ %s\n", printable(strings.Join(quoteAll(t.Argv), " "), 8<<10))
	stream(&b, "stdout", "", t.Stdout, t.StdoutSize)
	stream(&b, "stderr", "! ", t.Stderr, t.StderrSize)
	fmt.Fprintf(&b, "# %s after %s, started %s", t.ending(), span(t.Took), t.Started.Format("2006-01-02T15:04:05.000Z07:00"))
	if t.PID != 0 {
		fmt.Fprintf(&b, ", pid %d", t.PID)
	}
	if t.Unit != "" {
		fmt.Fprintf(&b, ", unit %s", t.Unit)
	}
	if t.Remote != "" {
		fmt.Fprintf(&b, ", on %s by ssh", t.Remote)
	}
	b.WriteString("\n")
	if t.TimedOut && t.Failure == "" {
		b.WriteString("# its limit had passed\n")
	}
	if t.Abandoned {
		b.WriteString("# it had not ended when this was written\n")
	}
	return b.String()
}

// stream writes one output with its prefix, and says what is not shown of it.
func stream(b *strings.Builder, name, prefix string, data []byte, size int64) {
	for line := range bytes.Lines(data) {
		b.WriteString(prefix)
		b.WriteString(printable(string(bytes.TrimRight(line, "\r\n")), len(line)*8))
		b.WriteByte('\n')
	}
	if kept := int64(len(data)); kept < size {
		fmt.Fprintf(b, "# %s cut at %s of %s\n", name, bytesText(kept), bytesText(size))
	}
}

// span is a duration with three or four figures.
func span(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return d.Round(10 * time.Millisecond).String()
}

// bytesText is a size in the binary unit that suits it: "256 KiB", "3.0 MiB".
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), "KiB"
	for _, u := range []string{"MiB", "GiB", "TiB"} {
		if v < 1<<10 {
			break
		}
		v, unit = v/(1<<10), u
	}
	if v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// plainArg are the characters, letters and digits aside, that no shell gives a meaning.
const plainArg = "%+,-./:=@_"

// quoteAll quotes each argument so that the line can be pasted into a POSIX shell.
func quoteAll(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = quote(a)
	}
	return out
}

func quote(a string) string {
	special := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(plainArg, r)
	}
	if a != "" && !strings.ContainsFunc(a, special) {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

// printable shows s on one line of at most about limit bytes: what is not printable, or not UTF-8, becomes an escape.
func printable(s string, limit int) string {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() >= limit {
			return b.String() + "…"
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

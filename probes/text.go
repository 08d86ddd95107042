package probes

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// plain makes one line of s that is safe to show: without control, format (bidirectional overrides, zero width) and
// separator characters, with invalid UTF-8 replaced, in at most limit bytes. What is dropped within becomes one blank.
func plain(s string, limit int) string {
	if len(s) <= limit && isPlain(s) {
		return s
	}
	var b strings.Builder
	blank := true
	for _, r := range s {
		if r == utf8.RuneError {
			r = '?'
		}
		if r == ' ' || !unicode.IsPrint(r) {
			if !blank {
				b.WriteByte(' ')
			}
			blank = true
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit-len("…") {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		b.WriteRune(r)
		blank = false
	}
	return strings.TrimRight(b.String(), " ")
}

// isPlain says that s is printable ASCII, which nearly every line is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// millis shows a duration as people read it: 70 µs, 0.4 ms, 23 ms, 1.2 s, 3 s.
func millis(d time.Duration) string {
	if d < 100*time.Microsecond {
		return strconv.FormatInt(max(d.Microseconds(), 1), 10) + " µs"
	}
	unit, name := time.Millisecond, " ms"
	if d >= time.Second {
		unit, name = time.Second, " s"
	}
	x := float64(d) / float64(unit)
	digits := 0
	if x < 10 {
		digits = 1
	}
	text := strconv.FormatFloat(x, 'f', digits, 64)
	if name == " s" {
		text = strings.TrimSuffix(text, ".0")
	}
	return text + name
}

// A clip keeps the first bytes of what is written to it, up to max, and counts the rest.
type clip struct {
	max  int
	kept []byte
	cut  int
}

// Write never fails.
func (c *clip) Write(p []byte) (int, error) {
	n := min(len(p), c.max-len(c.kept))
	c.kept = append(c.kept, p[:n]...)
	c.cut += len(p) - n
	return len(p), nil
}

// add writes strings.
func (c *clip) add(parts ...string) {
	for _, p := range parts {
		n := min(len(p), c.max-len(c.kept))
		c.kept = append(c.kept, p[:n]...)
		c.cut += len(p) - n
	}
}

// bytes gives what was kept, with a last line that says how much was not.
func (c *clip) bytes() []byte {
	if c.cut > 0 {
		c.kept = append(c.kept, "\n[cut here: "+strconv.Itoa(c.cut)+" bytes more]\n"...)
		c.cut = 0
	}
	return c.kept
}

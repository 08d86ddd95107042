package evidence

import (
	"strings"
	"unicode/utf8"
)

// printable makes one line of s that can be shown anywhere: no control characters, no escape sequences, nothing that
// turns the direction of writing or cannot be seen. What was not UTF-8 becomes "?".
func printable(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			i += escape(s[i:])
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			b.WriteByte('?')
		case r < ' ':
			b.WriteByte(' ')
		case !hidden(r):
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// clean says that s is printable ASCII, as nearly everything is.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hidden says that r drives a terminal or misleads a reader: DEL and C1 controls, zero widths, directions.
func hidden(r rune) bool {
	switch {
	case r >= 0x7f && r <= 0x9f, r == 0xad, r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e,
		r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return false
}

// escape is the length of the escape sequence that s begins with. One that is not ended takes its introducer only, so
// that a container cannot hide the rest of its log in it.
func escape(s string) int {
	if len(s) < 2 {
		return 1
	}
	switch s[1] {
	case '[': // CSI: parameters, then one final byte
		for i := 2; i < len(s) && i < 64; i++ {
			if s[i] >= '@' && s[i] <= '~' {
				return i + 1
			}
			if s[i] < ' ' || s[i] > '~' {
				break
			}
		}
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: until BEL or ST
		for i := 2; i < len(s) && i < 512; i++ {
			if s[i] == 7 {
				return i + 1
			}
			if s[i] == 0x1b {
				if i+1 < len(s) && s[i+1] == '\\' {
					return i + 2
				}
				break
			}
		}
	}
	return 2
}

package evidence

import (
	"bytes"
	"slices"
)

// Where a secret begins and ends, once its name was found. All of it reads lowered text.

// extent is how far the value at v reaches, of the name at begin; line says that all of the line is value.
func extent(low []byte, begin, v int, line bool) (span, bool) {
	q := skip(low, v, `\`, 1)
	if q < len(low) && isQuote(low[q]) {
		return span{q + 1, quoteEnd(low, q)}, quoteEnd(low, q) > q+1
	}
	to := wordEnd(low, v)
	switch {
	case !line:
	case begin > 0 && isQuote(low[begin-1]): // name and value are quoted together: "Authorization: …"
		to = quoteEnd(low, begin-1)
	default:
		if to = bytes.IndexAny(low[v:], "\r\n"); to < 0 {
			to = len(low) - v
		}
		to += v
	}
	if to == v || slices.Contains(plainWords, string(bytes.TrimRight(low[v:to], ",;"))) {
		return span{}, false
	}
	return span{v, to}, true
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

// isUnit says that a name is a systemd unit's: systemd-ask-password-console.path is no secret.
func isUnit(name []byte) bool {
	for _, kind := range []string{".path", ".service", ".socket", ".timer", ".target", ".mount"} {
		if bytes.HasSuffix(name, []byte(kind)) {
			return true
		}
	}
	return false
}

// nameByte says that c can be part of a name.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// skip goes over at most n bytes of set.
func skip(text []byte, at int, set string, n int) int {
	for ; n > 0 && at < len(text) && bytes.IndexByte([]byte(set), text[at]) >= 0; n-- {
		at++
	}
	return at
}

// startsLine says that nothing but blanks, a quote or a list's dash stands before at in its line.
func startsLine(text []byte, at int) bool {
	for at > 0 && bytes.IndexByte([]byte(" \t\"'-"), text[at-1]) >= 0 {
		at--
	}
	return at == 0 || text[at-1] == '\n' || text[at-1] == '\r'
}

// quoteEnd is where the quote that opens at q is closed: at the same one, not escaped unless it was so itself, or at the
// end of the line.
func quoteEnd(text []byte, q int) int {
	escaped := q > 0 && text[q-1] == '\\'
	for i := q + 1; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			return i
		case text[i] == '\\' && !escaped:
			i++
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == text[q]:
			return i
		case text[i] == text[q] && !escaped:
			return i
		}
	}
	return len(text)
}

// wordEnd is where a value without quotes ends: at a blank or quote, or where the next pair of a query begins.
func wordEnd(text []byte, at int) int {
	for i := at; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ', c == '"', c == '\'':
			return i
		case c == '&':
			j := i + 1
			for j < len(text) && nameByte(text[j]) {
				j++
			}
			if j < len(text) && text[j] == '=' && j > i+1 {
				return i
			}
		}
	}
	return len(text)
}

// userinfo is the password in scheme://user:password@host, where at is behind the slashes. In a password that nobody
// escaped a slash may stand; behind a colon and a number it begins the path.
func userinfo(text []byte, at int) (span, bool) {
	end := at
	for end < len(text) && end-at < 512 && text[end] > ' ' && bytes.IndexByte([]byte(`"'<>`), text[end]) < 0 {
		end++
	}
	host := bytes.LastIndexByte(text[at:end], '@')
	colon := bytes.IndexAny(text[at:end], ":/?#")
	if host < 0 || colon < 0 || text[at+colon] != ':' || colon+1 >= host {
		return span{}, false
	}
	port := skip(text, at+colon+1, "0123456789", 5)
	if text[port] == '/' && port > at+colon+1 {
		return span{}, false
	}
	return span{at + colon + 1, at + host}, true
}

// pemKeys are the private keys in PEM, also those of which a cut took the beginning or the end.
func pemKeys(low []byte) []span {
	var out []span
	last := 0
	for at := range occurrences(low, "private key-----") {
		line := bytes.LastIndex(low[max(0, at-40):at], []byte("-----"))
		if line < 0 {
			continue
		}
		head := low[max(0, at-40)+line : at]
		switch {
		case bytes.HasPrefix(head, []byte("-----begin")):
			last = at
			to := bytes.Index(low[at:], []byte("-----end"))
			if to < 0 {
				to = len(low) - at
			}
			out = append(out, span{min(at+16, at+to), at + to})
		case bytes.HasPrefix(head, []byte("-----end")) && last == 0:
			out = append(out, span{0, max(0, at-len(head))})
		}
	}
	return out
}

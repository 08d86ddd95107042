package evidence

import (
	"bytes"
	"slices"

	"atalaya/agent/secret"
)

var redactedMark = []byte(secret.Redacted)

// redact takes out the known secrets, wherever they stand, and what the rest of the line calls a secret. It never changes
// its argument.
func (r *Recorder) redact(text []byte) []byte {
	return redactPatterns(r.o.Secrets.Redact(text))
}

// scrub is redact for one string of the manifest or the report.
func (r *Recorder) scrub(s string) string {
	if s == "" {
		return s
	}
	return string(r.redact([]byte(s)))
}

// redactArgv is redact for a command line, where the value may be an argument of its own.
func (r *Recorder) redactArgv(argv []string) []string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = r.scrub(arg)
		if i > 0 && namesSecret(argv[i-1]) && len(arg) > 0 && arg[0] != '-' {
			out[i] = secret.Redacted
		}
	}
	return out
}

// namesSecret says that arg is a flag for a secret whose value comes next.
func namesSecret(arg string) bool {
	low := lower([]byte(arg))
	return len(arg) > 1 && arg[0] == '-' && bytes.IndexByte(low, '=') < 0 &&
		slices.ContainsFunc(keys, func(k key) bool { return bytes.Contains(low, []byte(k.stem)) })
}

// A key is a part of a name that says: what follows is secret.
type key struct {
	stem   string
	line   bool // a header: its value goes to the end of the line
	within bool // only as a word of a longer name: PWD= and OLDPWD= are folders
}

// keys are looked for in lower case.
var keys = []key{
	{stem: "passw"}, {stem: "passphrase"}, {stem: "pwd", within: true}, {stem: "secret"}, {stem: "token"},
	{stem: "authorization", line: true}, {stem: "cookie", line: true}, {stem: "apikey"}, {stem: "api_key"},
	{stem: "api-key"}, {stem: "api key"}, {stem: "access_key"}, {stem: "access-key"}, {stem: "accesskey"},
	{stem: "private_key"}, {stem: "private-key"}, {stem: "privatekey"}, {stem: "credential"}, {stem: "auth_key"},
}

// plainWords are values that are no secrets, and good to know.
var plainWords = []string{"true", "false", "yes", "no", "on", "off", "none", "null", "nil", "0", "1", "[redacted]"}

type span struct{ from, to int }

// redactPatterns replaces the values of secret-looking keys, passwords in URLs, bearer tokens and private keys in PEM.
// The text is lowered once and gone through by hand, some 4 ms per MiB; a regular expression with the same alternatives
// would take longer than all the rest of a capture.
func redactPatterns(text []byte) []byte {
	low := lower(text)
	spans := keyValues(low)
	for at := range occurrences(low, "bearer ") {
		if s := (span{at + 7, wordEnd(low, at+7)}); s.to-s.from >= 8 {
			spans = append(spans, s)
		}
	}
	for at := range occurrences(low, "://") {
		if s, ok := userinfo(low, at+3); ok {
			spans = append(spans, s)
		}
	}
	return replace(text, append(spans, pemKeys(low)...))
}

// keysBy are the keys by the first byte of their stem.
var keysBy = func() (by [256][]key) {
	for _, k := range keys {
		by[k.stem[0]] = append(by[k.stem[0]], k)
	}
	return by
}()

// keyValues gives the values of every name that holds a stem.
func keyValues(low []byte) []span {
	var spans []span
	for at, c := range low {
		for _, k := range keysBy[c] {
			if at+1 == len(low) || low[at+1] != k.stem[1] || !bytes.HasPrefix(low[at:], []byte(k.stem)) {
				continue
			}
			if s, ok := k.value(low, at); ok {
				spans = append(spans, s)
			}
		}
	}
	return spans
}

func lower(text []byte) []byte {
	out := make([]byte, len(text))
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

// occurrences yields every place of word in text.
func occurrences(text []byte, word string) func(yield func(int) bool) {
	w := []byte(word)
	return func(yield func(int) bool) {
		for at := 0; ; {
			i := bytes.Index(text[at:], w)
			if i < 0 || !yield(at+i) {
				return
			}
			at += i + len(w)
		}
	}
}

// value finds what follows the name that holds the stem at place at: after "=" or ":", or, for a flag, after a blank.
func (k key) value(low []byte, at int) (span, bool) {
	begin := at
	for begin > 0 && at-begin < 40 && nameByte(low[begin-1]) {
		begin--
	}
	if k.within && (begin == at || bytes.IndexByte([]byte("_-."), low[at-1]) < 0) {
		return span{}, false
	}
	end := at + len(k.stem)
	for end < len(low) && end-at < 60 && nameByte(low[end]) {
		end++
	}
	if isUnit(low[begin:end]) {
		return span{}, false
	}
	end = skip(low, end, `"'\])`, 3)
	v := skip(low, end, " \t", 4)
	colon := false
	switch {
	case v < len(low) && (low[v] == '=' || low[v] == ':'):
		colon = low[v] == ':'
		v = skip(low, skip(low, v, "=:>", 2), " \t", 8)
	case v > end && low[begin] == '-':
	default:
		return span{}, false
	}
	return extent(low, begin, v, k.line || colon && startsLine(low, begin))
}

// replace puts the mark where the spans are; those that overlap or touch become one.
func replace(text []byte, spans []span) []byte {
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	out := make([]byte, 0, len(text))
	at := 0
	for i, s := range spans {
		if s.to <= at {
			continue
		}
		if s.from > at || i == 0 {
			out = append(append(out, text[at:max(at, s.from)]...), redactedMark...)
		}
		at = s.to
	}
	return append(out, text[at:]...)
}

package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// forms lists how a secret may stand in a text: as it is; in base64, standard and URL alphabet, alone or within a
// longer text (as the password in an Authorization header); URL-escaped for a query or a path, with capital or small
// digits; and escaped for JSON, Go (slog's text handler) or HTML. The longest comes first.
func forms(text string) [][]byte {
	all := []string{
		text,
		url.QueryEscape(text), url.PathEscape(text),
		small(url.QueryEscape(text)), small(url.PathEscape(text)),
		jsonText(text, true), jsonText(text, false),
		inside(strconv.Quote(text)),
		html.EscapeString(text),
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, e.EncodeToString([]byte(text)), e.WithPadding(base64.NoPadding).EncodeToString([]byte(text)))
		all = append(all, within(e, text)...)
	}
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var out [][]byte
	for _, f := range slices.Compact(all) {
		out = append(out, []byte(f))
	}
	return out
}

// minWithin is the length in characters of the shortest piece of base64 that is looked for within a longer one.
const minWithin = 8

// within gives the characters that base64 has for text wherever it stands in a longer one: three, for the three ways it
// can lie across groups of three bytes. The characters at both ends that depend on the neighbours are left out.
func within(e *base64.Encoding, text string) []string {
	var out []string
	for before := range 3 {
		full := e.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, before), text...))
		from := (before*8 + 5) / 6
		to := (before + len(text)) * 8 / 6
		if to-from >= minWithin {
			out = append(out, full[from:to])
		}
	}
	return out
}

func small(escaped string) string {
	return percent.ReplaceAllStringFunc(escaped, strings.ToLower)
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// jsonText gives text as it stands between the quotes of a JSON string.
func jsonText(text string, escapeHTML bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	_ = e.Encode(text) // a string cannot fail
	return inside(strings.TrimSuffix(b.String(), "\n"))
}

// inside drops the quotes around a quoted text, and only those.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

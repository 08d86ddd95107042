package scripted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

// A reply is one file: a header of "key: value" lines, then parts that begin with "--- stdout" or "--- stderr" and are
// text templates over a View. In the header:
//
//	source:       where it is from: a sample, or repository@commit and file; may be given several times; required
//	exit:         the exit code; required
//	state.WORD:   the engine's word for the state that the player calls WORD, for {{word .State}}
//	unread:       JSON keys of it, by blanks, that the engine rightly does not read: they are not mutated; "exit" for the
//	              exit code
//
// A part headed "--- stdout unread" is printed like any other and not mutated.
type reply struct {
	name   string
	header []headerLine
	parts  []part
}

type headerLine struct{ key, value string }

type part struct {
	stream string // stdout or stderr
	unread bool
	body   string
}

func (r reply) get(key string) (string, bool) {
	for _, h := range r.header {
		if h.key == key {
			return h.value, true
		}
	}
	return "", false
}

func (r reply) exit() int {
	s, _ := r.get("exit")
	n, _ := strconv.Atoi(s)
	return n
}

// parseReply takes a reply file apart; an error names the line that is wrong.
func parseReply(name string, b []byte) (reply, error) {
	r := reply{name: name}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "--- "); ok {
			f := strings.Fields(rest)
			if len(f) == 0 || f[0] != "stdout" && f[0] != "stderr" || len(f) > 1 && f[1] != "unread" {
				return r, fmt.Errorf("reply %s: %q: want --- stdout or --- stderr, and at most \"unread\" behind it", name, strings.TrimSpace(line))
			}
			r.parts = append(r.parts, part{stream: f[0], unread: len(f) > 1})
			continue
		}
		if n := len(r.parts); n > 0 {
			r.parts[n-1].body += line
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return r, fmt.Errorf("reply %s: %q: want key: value", name, strings.TrimSpace(line))
		}
		r.header = append(r.header, headerLine{strings.TrimSpace(key), strings.TrimSpace(value)})
	}
	if s, _ := r.get("source"); s == "" {
		return r, fmt.Errorf("reply %s: no source: every reply cites where it is from", name)
	}
	if s, _ := r.get("exit"); s == "" {
		return r, fmt.Errorf("reply %s: no exit code", name)
	}
	return r, nil
}

// bytes writes the file back.
func (r reply) bytes() []byte {
	var b bytes.Buffer
	for _, h := range r.header {
		fmt.Fprintf(&b, "%s: %s\n", h.key, h.value)
	}
	for _, p := range r.parts {
		fmt.Fprintf(&b, "--- %s", p.stream)
		if p.unread {
			b.WriteString(" unread")
		}
		b.WriteString("\n" + p.body)
	}
	return b.Bytes()
}

// A View is what a reply's template may show: {{.ID}}, {{.C.Name}}, {{range .All}}, {{.Key "x"}}.
type View struct {
	*Container                   // the one that the command is about
	ID         string            // as the command names it, known or not
	All        []Container       // those that a list shows
	Args       []string          // behind the command's name
	Root       string            // of the host's files
	Vars       map[string]string // whatever else the player wants to say
}

// Var gives one of Vars.
func (v View) Var(name string) string { return v.Vars[name] }

// render fills the parts in. Functions: word (the engine's word of a state), json (a quoted JSON string), comma (", "
// but before the first).
func (r reply) render(v View) (stdout, stderr []byte, err error) {
	funcs := template.FuncMap{
		"word": func(state string) string {
			if w, ok := r.get("state." + state); ok {
				return w
			}
			return state
		},
		"json": func(v any) (string, error) {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			err := e.Encode(v)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
		"comma": func(i int) string {
			if i == 0 {
				return ""
			}
			return ","
		},
		"join": strings.Join,
	}
	for _, p := range r.parts {
		t, err := template.New(r.name).Funcs(funcs).Option("missingkey=error").Parse(p.body)
		if err != nil {
			return nil, nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, v); err != nil {
			return nil, nil, err
		}
		if p.stream == "stdout" {
			stdout = append(stdout, b.Bytes()...)
		} else {
			stderr = append(stderr, b.Bytes()...)
		}
	}
	return stdout, stderr, nil
}

const replySuffix = ".reply"

func readReply(dir, name string) (reply, error) {
	b, err := os.ReadFile(filepath.Join(dir, name+replySuffix))
	if err != nil {
		return reply{}, err
	}
	return parseReply(name, b)
}

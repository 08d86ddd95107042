package scripted

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Mutant is one reply file with one thing changed.
type Mutant struct {
	Reply string // the file's name, without its ending
	What  string // such as `without the key "status"`
	Text  []byte // the whole file
}

// Mutants gives every reply of a folder with one thing changed at a time: an exit code, the engine's word for a state, a
// JSON key, a line of text. What is marked unread is left out: "unread: exit" where the tool's words count whatever its code.
func Mutants(dir string) ([]Mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+replySuffix))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("find replies in %q: none (%w)", dir, err)
	}
	var out []Mutant
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		r, err := parseReply(strings.TrimSuffix(filepath.Base(f), replySuffix), b)
		if err != nil {
			return nil, err
		}
		out = append(out, r.mutants()...)
	}
	return out, nil
}

func (r reply) mutants() (out []Mutant) {
	add := func(c reply, format string, args ...any) {
		out = append(out, Mutant{Reply: r.name, What: fmt.Sprintf(format, args...), Text: c.bytes()})
	}
	for i, h := range r.header {
		c := r
		c.header = slices.Clone(r.header)
		switch {
		case h.key == "exit" && !slices.Contains(r.unread(), "exit"):
			// A failure that looks like success, and another failure; a success that looks like failure.
			codes := []string{"0", "3"}
			if h.value == "3" {
				codes[1] = "4"
			}
			for _, code := range codes {
				if code != h.value {
					c.header[i].value = code
					add(c, "exit %s instead of %s", code, h.value)
				}
			}
		case strings.HasPrefix(h.key, "state."):
			c.header[i].value = "re" + h.value
			add(c, "state %q is called %q", h.value, c.header[i].value)
		}
	}
	for i, p := range r.parts {
		if p.unread {
			continue
		}
		for _, m := range p.mutants(r.unread()) {
			c := r
			c.parts = slices.Clone(r.parts)
			c.parts[i].body = m.body
			add(c, "%s: %s", p.stream, m.what)
		}
	}
	return out
}

// unread are the JSON keys that are not mutated.
func (r reply) unread() []string {
	var out []string
	for _, h := range r.header {
		if h.key == "unread" {
			out = append(out, strings.Fields(h.value)...)
		}
	}
	return out
}

type changed struct{ body, what string }

var (
	keyRE = regexp.MustCompile(`"([A-Za-z_][A-Za-z0-9_. -]*)"\s*:`)
	// onlyTemplateRE is a line that prints nothing of its own.
	onlyTemplateRE = regexp.MustCompile(`^\s*(\{\{-?\s*(range|end|if|else|with|/\*)[^}]*\}\}\s*)+$`)
)

// mutants changes a body once for each JSON key in it, or, where it has none, for each line.
func (p part) mutants(unread []string) (out []changed) {
	keys := keyRE.FindAllStringSubmatchIndex(p.body, -1)
	for _, at := range keys {
		key := p.body[at[2]:at[3]]
		if slices.Contains(unread, key) {
			continue
		}
		out = append(out, changed{p.body[:at[2]] + "no_" + p.body[at[2]:], fmt.Sprintf("without the key %q", key)})
	}
	if len(keys) > 0 {
		return out
	}
	lines := strings.SplitAfter(p.body, "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == "" || onlyTemplateRE.MatchString(line) {
			continue
		}
		body := strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")
		out = append(out, changed{body, fmt.Sprintf("without the line %q", strings.TrimSpace(line))})
	}
	return out
}

package engine

import (
	"fmt"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
)

// A template is a command line with fields to fill in, one element an argument.
type template []element

type element struct {
	key   string // "custom.start[2]", for errors
	text  *texttemplate.Template
	uses  []string
	plain bool // begins with text of its own, so what is filled in cannot make an option of it
}

// fields are what a template may ask for.
type fields struct {
	ID, Name string
	Limit    int // seconds
}

// parseTemplate takes in a command line; nil for an empty one. Only plain fields are allowed: no functions, no
// conditions, no loops, so that what is run can be read off the configuration.
func parseTemplate(key string, argv []string) (template, error) {
	if len(argv) == 0 {
		return nil, nil
	}
	if strings.Contains(argv[0], "{{") || argv[0] == "" {
		return nil, fmt.Errorf("%s: the command itself is %q: name a program", key, argv[0])
	}
	if strings.ContainsAny(argv[0], " \t") && len(argv) == 1 {
		return nil, fmt.Errorf("%s: %q is one argument: there is no shell, give a list such as [\"ctl\", \"list\"]", key, argv[0])
	}
	var out template
	for i, a := range argv {
		e := element{key: fmt.Sprintf("%s[%d]", key, i)}
		t, err := texttemplate.New(e.key).Option("missingkey=error").Parse(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", e.key, a, err)
		}
		e.text = t
		if t.Root != nil {
			for _, n := range t.Root.Nodes {
				if err := e.admit(n); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// admit allows text, and the three fields.
func (e *element) admit(n parse.Node) error {
	switch n := n.(type) {
	case *parse.TextNode:
		e.plain = e.plain || len(e.uses) == 0 && len(n.Text) > 0
		return nil
	case *parse.ActionNode:
		switch s := n.String(); s {
		case "{{.ID}}", "{{.Name}}", "{{.Limit}}":
			e.uses = append(e.uses, strings.Trim(s, "{}."))
			return nil
		}
	}
	return fmt.Errorf("%s: %s: only {{.ID}}, {{.Name}} and {{.Limit}} can be filled in", e.key, n)
}

// uses tells whether a field is asked for anywhere.
func (t template) uses(field string) bool {
	for _, e := range t {
		for _, u := range e.uses {
			if u == field {
				return true
			}
		}
	}
	return false
}

// fill makes the command line. A name that begins with '-' is refused where it would be read as an option.
func (t template) fill(f fields) ([]string, error) {
	argv := make([]string, 0, len(t))
	for _, e := range t {
		var b strings.Builder
		if err := e.text.Execute(&b, f); err != nil {
			return nil, fmt.Errorf("%s: %w", e.key, err)
		}
		a := b.String()
		if !e.plain && len(e.uses) > 0 && strings.HasPrefix(a, "-") {
			return nil, fmt.Errorf("%s: %q would be read as an option: write it behind a text, such as \"--name={{.ID}}\"", e.key, a)
		}
		argv = append(argv, a)
	}
	return argv, nil
}

package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds what is visited: aliases that repeat each other make a small file endless.
const maxValues = 200_000

// A walker checks a tree of nodes against the table. What is wrong becomes a problem and is left out of the result, so
// that the rest can be checked too.
type walker struct {
	file     string
	problems Errors
	lines    map[string]int // of every key and item that was met, by path
	left     int
}

func (w *walker) problem(line int, path, format string, args ...any) {
	w.problems = append(w.problems, Problem{File: w.file, Line: line, Key: path, Msg: fmt.Sprintf(format, args...)})
}

// enough says, once, that there are too many values.
func (w *walker) enough(n *yaml.Node) bool {
	w.left--
	if w.left == 0 {
		w.problem(n.Line, "", "has more than %d values: aliases that repeat each other?", maxValues)
	}
	return w.left <= 0
}

// block reads a mapping. A missing one has no keys.
func (w *walker) block(n *yaml.Node, keys []key, path string) map[string]any {
	out := map[string]any{}
	n = resolve(n)
	if null(n) {
		return out
	}
	if n.Kind != yaml.MappingNode {
		w.problem(n.Line, path, "must be keys with values, not %s", what(n))
		return out
	}
	if path != "" {
		w.lines[path] = n.Line
	}
	given := map[string]bool{}
	for _, p := range w.pairs(n, path) {
		name := p.key.Value
		if path == "" && strings.HasPrefix(name, "x-") {
			continue // a place for anchors
		}
		at := join(path, name)
		k, found := find(keys, name)
		if !found {
			w.unknown(p.key, keys, at)
			continue
		}
		given[name] = true
		w.lines[at] = p.key.Line
		if v, ok := w.value(p.value, k, at); ok {
			out[name] = v
		}
	}
	for _, k := range keys {
		if k.required && !given[k.name] && !w.problems.about(path) {
			w.problem(n.Line, join(path, k.name), "is missing")
		}
	}
	return out
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (w *walker) unknown(n *yaml.Node, keys []key, path string) {
	var valid []string
	for _, k := range keys {
		valid = append(valid, k.name)
		for _, sub := range k.keys {
			if sub.name == n.Value && k.kind == block {
				w.problem(n.Line, path, "unknown key; did you mean %q?", k.name+"."+sub.name)
				return
			}
		}
	}
	w.problem(n.Line, path, "unknown key%s", orList(n.Value, valid))
}

// value reads what stands behind one key; false where it is wrong or absent.
func (w *walker) value(n *yaml.Node, k key, path string) (any, bool) {
	if w.enough(n) {
		return nil, false
	}
	n = resolve(n)
	switch k.kind {
	case block:
		return w.block(n, k.keys, path), true
	case list:
		return w.list(n, k, path)
	case names:
		if n.Kind == yaml.ScalarNode {
			s, ok := w.scalar(n, k, path)
			return []any{s}, ok
		}
		return w.scalars(n, k, path)
	case texts, times:
		return w.scalars(n, k, path)
	case text, duration, size, whole, truth, choice:
		return w.scalar(n, k, path)
	}
	return nil, false
}

func (w *walker) list(n *yaml.Node, k key, path string) (any, bool) {
	items, ok := w.items(n, path)
	out := []any{}
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		w.lines[at] = item.Line
		item = resolve(item)
		if k.short && item.Kind == yaml.ScalarNode {
			name, _ := find(k.keys, "name")
			w.lines[at+".name"] = item.Line
			if s, ok := w.scalar(item, name, at); ok {
				out = append(out, map[string]any{"name": s})
				continue
			}
			out = append(out, map[string]any{})
			continue
		}
		if w.enough(item) {
			return nil, false
		}
		if null(item) {
			w.problem(item.Line, at, "is empty")
		}
		out = append(out, w.block(item, k.keys, at)) // also when it is wrong: the numbers of the others must stay
	}
	return out, ok
}

func (w *walker) scalars(n *yaml.Node, k key, path string) (any, bool) {
	items, ok := w.items(n, path)
	out := []any{}
	for i, item := range items {
		at := path + "[" + strconv.Itoa(i) + "]"
		if w.enough(item) {
			return nil, false
		}
		w.lines[at] = item.Line
		one := k
		if k.kind == times {
			one.kind = duration
		}
		s, good := w.scalar(resolve(item), one, at)
		out, ok = append(out, s), ok && good
	}
	return out, ok
}

// items gives those of a sequence. No value at all is no list: its items are commented out.
func (w *walker) items(n *yaml.Node, path string) ([]*yaml.Node, bool) {
	if null(n) {
		return nil, false
	}
	if n.Kind != yaml.SequenceNode {
		w.problem(n.Line, path, "must be a list, not %s", what(n))
		return nil, false
	}
	return n.Content, true
}

// scalar gives the text of a value that fits k.
func (w *walker) scalar(n *yaml.Node, k key, path string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		w.problem(n.Line, path, "must be one value, not %s", what(n))
		return "", false
	case null(n):
		w.problem(n.Line, path, "has no value: give one, or drop the key")
		return "", false
	case n.Tag == "!!binary" || n.Tag != "" && n.Tag[:2] != "!!":
		w.problem(n.Line, path, "has the tag %s: write it without", n.Tag)
		return "", false
	}
	if err := k.accepts(n.Value); err != nil {
		w.problem(n.Line, path, "%s", err)
		return "", false
	}
	return n.Value, true
}

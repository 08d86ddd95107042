package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// resolve follows an alias to what it stands for. An empty file has no node.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// null says that there is no value.
func null(n *yaml.Node) bool { return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// what names a node for people.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return "a single value"
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return "this"
}

type pair struct{ key, value *yaml.Node }

// maxMerges bounds how deep << may nest.
const maxMerges = 16

// pairs gives the keys of a mapping, those merged by << after its own, which win. Keys given twice are problems, also
// where only their case differs: viper makes no difference, and the later would win without a word.
func (w *walker) pairs(n *yaml.Node, path string) []pair { return w.merged(n, path, 0) }

func (w *walker) merged(n *yaml.Node, path string, depth int) []pair {
	var own []pair
	var merges []*yaml.Node
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), n.Content[i+1]
		if w.enough(k) {
			return nil
		}
		fold := strings.ToLower(k.Value)
		first := seen[fold]
		switch {
		case k.Tag == "!!merge":
			merges = append(merges, v)
		case k.Kind != yaml.ScalarNode || null(k):
			w.problem(k.Line, path, "a key must be a word")
		case first != nil && first.Value == k.Value:
			w.problem(k.Line, join(path, k.Value), "is given twice, first on line %d", first.Line)
		case first != nil:
			w.problem(k.Line, join(path, k.Value), "is the same key as %q on line %d: case makes no difference", first.Value, first.Line)
		default:
			seen[fold] = k
			own = append(own, pair{k, v})
		}
	}
	for _, m := range merges {
		for _, p := range w.mergedFrom(m, path, depth+1) {
			if seen[strings.ToLower(p.key.Value)] == nil {
				seen[strings.ToLower(p.key.Value)] = p.key
				own = append(own, p)
			}
		}
	}
	return own
}

func (w *walker) mergedFrom(m *yaml.Node, path string, depth int) []pair {
	m = resolve(m)
	switch {
	case depth > maxMerges || w.enough(m):
		w.problem(m.Line, path, "<< nests more than %d deep", maxMerges)
	case m.Kind == yaml.MappingNode:
		return w.merged(m, path, depth)
	case m.Kind == yaml.SequenceNode:
		var all []pair
		for _, item := range m.Content {
			if item = resolve(item); item.Kind == yaml.MappingNode {
				all = append(all, w.merged(item, path, depth+1)...)
			}
		}
		return all
	default:
		w.problem(m.Line, path, "<< takes keys with values, not %s", what(m))
	}
	return nil
}

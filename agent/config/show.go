package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// tree gives v, of a raw type, as YAML in the order of its fields. What was not given is left out, and secrets are
// [redacted] unless they are references.
func tree(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer:
		return tree(v.Elem())
	case reflect.Struct:
		if h, ok := v.Interface().(rawHeader); ok {
			return h.tree()
		}
		n := &yaml.Node{Kind: yaml.MappingNode}
		fields(n, v)
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, tree(v.Index(i)))
		}
		if v.Type().Elem().Kind() != reflect.Struct {
			n.Style = yaml.FlowStyle
		}
		return n
	}
	return scalar(v)
}

func fields(n *yaml.Node, v reflect.Value) {
	for i := range v.NumField() {
		name, squash := tagOf(v.Type().Field(i))
		f := v.Field(i)
		switch {
		case squash:
			fields(n, f)
		case f.Kind() == reflect.Pointer && f.IsNil(), f.Kind() == reflect.Slice && f.IsNil():
		default:
			value := tree(f)
			if value.Kind == yaml.MappingNode && len(value.Content) == 0 {
				continue
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
		}
	}
}

// scalar writes one value as the file would have it.
func scalar(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch x := v.Interface().(type) {
	case time.Duration:
		n.Value = formatDuration(x)
	case int64:
		n.Value = formatSize(x)
	case int:
		n.Value = strconv.Itoa(x)
	case bool:
		n.Value = strconv.FormatBool(x)
	case rawRef:
		n.SetString(x.shown())
	case rawURL:
		n.SetString(x.shown())
	default:
		n.SetString(v.String())
		n.Style = 0 // let the encoder quote where it must, and never write a block over lines
		if strings.Contains(n.Value, "\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

// show gives v on one line.
func show(v reflect.Value) string {
	n := tree(v)
	if n.Kind == yaml.ScalarNode && (v.Kind() != reflect.String || word(n.Value) == nil) {
		return n.Value // most are, and the encoder takes a hundred times as long
	}
	flow(n)
	out, err := yaml.Marshal(n)
	if err != nil {
		return "?" // a tree of scalars can be encoded
	}
	return strings.TrimSuffix(string(out), "\n")
}

func flow(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	for _, sub := range n.Content {
		flow(sub)
	}
}

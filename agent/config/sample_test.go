package config

import (
	"fmt"
	"strings"
)

const sampleHead = `# The configuration of Atalaya: all keys, commented out, with their defaults. docs/config.md says more.
#
# A line with a key right behind its # is a default: drop the # to change it. Lines that begin with "# " explain, and
# what is indented further there is an example. Check with: atalaya config check
`

// sample is configs/atalaya.yaml.
func sample() string {
	var b strings.Builder
	b.WriteString(sampleHead)
	for _, k := range schema() {
		b.WriteString("\n")
		lines(&b, "", k)
	}
	return b.String()
}

func lines(b *strings.Builder, indent string, k key) {
	comment(b, indent, k.doc+bounds(k))
	switch k.kind {
	case block:
		fmt.Fprintf(b, "%s%s:\n", indent, k.name)
		for _, sub := range k.keys {
			lines(b, indent+"  ", sub)
		}
	case list:
		items(b, indent, k)
		fmt.Fprintf(b, "%s#%s: %s\n", indent, k.name, k.def)
	case text, duration, size, whole, truth, choice, texts, names, times:
		switch {
		case k.def != "":
			fmt.Fprintf(b, "%s#%s: %s\n", indent, k.name, k.def)
		case k.kind == texts: // absent is not the same as empty
			fmt.Fprintf(b, "%s#   %s: []\n", indent, k.name)
		default:
			fmt.Fprintf(b, "%s#%s: \"\"\n", indent, k.name)
		}
	}
}

// items explains what the items of a list may hold.
func items(b *strings.Builder, indent string, k key) {
	if k.example == "" {
		return
	}
	comment(b, indent, "Each has:")
	for _, sub := range k.keys {
		if sub.kind == block || k.name == "containers" && isSetting(sub.name) {
			continue
		}
		def := ""
		if sub.def != "" {
			def = " (" + sub.def + ")"
		}
		item(b, indent, fmt.Sprintf("%s%s: %s%s%s", sub.name, def, sub.doc, sub.onlyFor(), bounds(sub)))
	}
	for _, sub := range k.keys {
		if sub.kind != block || k.name == "containers" && isSetting(sub.name) {
			continue
		}
		item(b, indent, sub.name+": "+sub.doc)
		for _, below := range sub.keys {
			item(b, indent, sub.name+"."+below.name+": "+below.doc)
		}
	}
	if k.name == "containers" {
		item(b, indent, "and every key of defaults.")
	}
	comment(b, indent, "For example:")
	fmt.Fprintf(b, "%s#\n", indent)
	for line := range strings.Lines(k.example) {
		b.WriteString(indent + "#    " + line)
	}
	fmt.Fprintf(b, "%s#\n", indent)
}

func isSetting(name string) bool {
	_, found := find(settingKeys(), name)
	return found
}

func bounds(k key) string {
	switch {
	case k.kind == choice:
		return " One of: " + strings.Join(k.of, ", ") + "."
	case k.high > 0:
		return fmt.Sprintf(" From %s to %s.", k.show(k.low), k.show(k.high))
	}
	return ""
}

func comment(b *strings.Builder, indent, text string) { wrap(b, indent+"# ", indent+"# ", text) }

func item(b *strings.Builder, indent, text string) { wrap(b, indent+"# - ", indent+"#   ", text) }

// wrap breaks text at 118 columns.
func wrap(b *strings.Builder, first, others, text string) {
	line := first
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > 118 {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = others
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

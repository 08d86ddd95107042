package main_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// design is what docs/design.md says about imports, read from its fenced blocks.
type design struct {
	words  []string          // the packages, by their word in the table
	may    map[string]set    // word: the words it may import
	line   map[string]string // word: its line of the table, for messages
	owners []owner
	edges  [][2]string // of the picture
}

type set map[string]bool

// owner says which parts of ours may import what begins with the path.
type owner struct {
	path, line string
	who        []string
}

const designFile = "../../docs/design.md"

func readDesign() (design, error) {
	text, err := os.ReadFile(designFile)
	if err != nil {
		return design{}, err
	}
	d := design{may: map[string]set{}, line: map[string]string{}}
	if err := d.readTable(block(string(text), "imports")); err != nil {
		return design{}, err
	}
	for _, line := range block(string(text), "owners") {
		path, who, ok := strings.Cut(line, "->")
		if !ok {
			return design{}, fmt.Errorf("%s: owners: no arrow in %q", designFile, line)
		}
		d.owners = append(d.owners, owner{path: strings.TrimSpace(path), line: line, who: list(who)})
	}
	for _, line := range block(string(text), "mermaid") {
		if from, to, ok := strings.Cut(line, "-->"); ok {
			d.edges = append(d.edges, [2]string{strings.TrimSpace(from), strings.TrimSpace(to)})
		}
	}
	if len(d.owners) == 0 || len(d.edges) == 0 {
		return design{}, fmt.Errorf("%s: the block of owners or the picture is missing", designFile)
	}
	return d, nil
}

// block gives the lines of the first fenced block of that kind.
func block(text, kind string) []string {
	_, rest, ok := strings.Cut(text, "\n```"+kind+"\n")
	if !ok {
		return nil
	}
	body, _, _ := strings.Cut(rest, "\n```")
	return strings.Split(body, "\n")
}

func (d *design) readTable(lines []string) error {
	rights := map[string]string{}
	for _, line := range lines {
		left, right, ok := strings.Cut(line, "->")
		if !ok {
			return fmt.Errorf("%s: imports: no arrow in %q", designFile, line)
		}
		for _, word := range list(left) {
			if _, twice := rights[word]; twice {
				return fmt.Errorf("%s: imports: %q has two lines", designFile, word)
			}
			d.words = append(d.words, word)
			d.line[word] = line
			rights[word] = strings.TrimSpace(right)
		}
	}
	if len(d.words) == 0 {
		return fmt.Errorf("%s: no block of imports", designFile)
	}
	for word, right := range rights {
		may, err := d.rights(word, right)
		if err != nil {
			return err
		}
		d.may[word] = may
	}
	return nil
}

// rights reads the right side: a list, "nothing of ours", or "all but" a list.
// Without exception, nothing but cmd gets config and agent.
func (d *design) rights(word, right string) (set, error) {
	may := set{}
	if right == "nothing of ours" {
		return may, nil
	}
	if strings.HasPrefix(right, "all") {
		clause, _, _ := strings.Cut(right, ";")
		_, but, _ := strings.Cut(clause, "all but")
		for _, other := range d.words {
			may[other] = !slices.Contains(list(but), other) && other != word && other != "cmd"
		}
		may["cmd"] = word == "cmd"
		return may, nil
	}
	for _, other := range list(right) {
		if !slices.Contains(d.words, other) {
			return nil, fmt.Errorf("%s: imports: %q in the line of %q is no package of the table", designFile, other, word)
		}
		if other == "config" || other == "agent" {
			return nil, fmt.Errorf("%s: imports: the line of %q allows %q, which only cmd may import", designFile, word, other)
		}
		may[other] = true
	}
	return may, nil
}

func list(text string) (words []string) {
	for _, w := range strings.Split(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

// wordOf is the table's word for a package of ours, "" for one from outside.
func wordOf(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, "atalaya/")
	if !ours {
		return ""
	}
	top, below, _ := strings.Cut(rest, "/")
	if top != "agent" || below == "" {
		return top
	}
	word, _, _ := strings.Cut(below, "/")
	return word
}

// owns tells whether the package is one of those that the owner's line names.
func (o owner) owns(importPath string) bool {
	return slices.ContainsFunc(o.who, func(who string) bool {
		dir := "atalaya/" + who
		return who == wordOf(importPath) || importPath == dir || strings.HasPrefix(importPath, dir+"/")
	})
}

// covers tells whether the import is the owned path or below it.
func (o owner) covers(imported string) bool {
	return imported == o.path || strings.HasPrefix(imported, o.path+"/")
}

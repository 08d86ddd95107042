package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Patterns for the messages of the YAML package, which gives lines and names only as text.
var (
	yamlLine   = regexp.MustCompile(`^line (\d+): `)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.+)' referenced$`)
)

// syntax explains why content is not YAML.
func syntax(file string, content []byte, err error) *Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	p := &Problem{File: file}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		msg = strings.TrimPrefix(msg, m[0])
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	if n := firstWrong(lines, len(content)); n > 0 {
		p.Line = n
	}
	p.Msg = "is not YAML: " + msg
	if m := yamlAnchor.FindStringSubmatch(msg); m != nil {
		p.Line = 1 + bytes.Count(content[:max(bytes.Index(content, []byte("*"+m[1])), 0)], []byte("\n"))
	}
	for i := max(p.Line-2, 0); i < min(p.Line+1, len(lines)); i++ {
		if indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]; bytes.ContainsRune(indent, '\t') {
			p.Line, p.Msg = i+1, "is not YAML: a tab indents this line: use blanks"
			break
		}
	}
	return p
}

// maxSearch bounds the bytes that are parsed to find a line.
const maxSearch = 32 << 20

// firstWrong gives the line behind the longest beginning of the file that is YAML; 0 where that takes too long. The
// package itself often names the line where the block around the mistake begins, or the one before.
func firstWrong(lines [][]byte, total int) int {
	if len(lines)*total > maxSearch {
		return 0
	}
	for n := len(lines) - 1; n >= 0; n-- {
		if wellFormed(bytes.Join(lines[:n], nil)) {
			return n + 1
		}
	}
	return 0
}

func wellFormed(content []byte) bool {
	d := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var n yaml.Node
		if err := d.Decode(&n); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

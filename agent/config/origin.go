package config

import (
	"fmt"
	"strings"
)

// An origin knows where every key was given.
type origin struct {
	file  string
	lines map[string]int    // by path
	env   map[string]string // variable by path
}

const builtInPlace = "built-in"

// of tells where the key at path was given, for the trace: "configs/x.yaml:31, containers[2]".
func (o origin) of(path string) string {
	if name, found := o.env[path]; found {
		return envFile + ", " + name
	}
	line, found := o.lines[path]
	if !found {
		return builtInPlace
	}
	place, _, _ := strings.Cut(path, ".")
	return fmt.Sprintf("%s:%d, %s", o.file, line, place)
}

// line gives the line of path, or of what is around it.
func (o origin) line(path string) int {
	for path != "" {
		if n, found := o.lines[path]; found {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// problem is one with the key at path.
func (o origin) problem(path, msg string) Problem {
	if name, found := o.env[path]; found {
		return Problem{File: envFile, Key: name, Msg: msg}
	}
	return Problem{File: o.file, Line: o.line(path), Key: path, Msg: msg}
}

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake in the configuration.
type Problem struct {
	File string `json:"file"` // as given to Load; "environment" for a variable
	Line int    `json:"line,omitempty"`
	Key  string `json:"key,omitempty"` // "containers[2].budget.attempts", or the name of a variable
	Msg  string `json:"msg"`           // what is wrong, and what to write instead
}

// String gives "FILE:LINE: KEY: what is wrong".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Msg)
	return b.String()
}

// Errors are all mistakes of one configuration, by line.
type Errors []Problem

// Error gives one line per mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(e)
}

// about says whether a mistake at path, or around it, is already known: what follows from it is no news.
func (e Errors) about(path string) bool {
	return slices.ContainsFunc(e, func(p Problem) bool {
		return p.Key == path || strings.HasPrefix(path, p.Key+".") || strings.HasPrefix(path, p.Key+"[")
	})
}

// within says whether a mistake at path, or below it, is known.
func (e Errors) within(path string) bool {
	return slices.ContainsFunc(e, func(p Problem) bool {
		return p.Key == path || strings.HasPrefix(p.Key, path+".") || strings.HasPrefix(p.Key, path+"[")
	})
}

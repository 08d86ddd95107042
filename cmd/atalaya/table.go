package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A cell is one field of a table. Its text must be clean.
type cell struct {
	text  string
	style style
}

// A table is aligned by counting characters. Where a terminal is too narrow for it, columns of prose are wrapped, the
// widest first; where that is not enough, each row becomes a block of lines.
type table struct {
	head []string
	rows [][]cell
}

const (
	gap     = "  " // between columns
	minLast = 18   // characters that the last column keeps, though a word be longer
)

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) print(s screen) {
	t.dropEmpty()
	w, ok := t.widths(s.width)
	if !ok {
		t.blocks(s)
		return
	}
	head := make([]cell, len(t.head))
	for c, h := range t.head {
		head[c] = cell{h, bold}
	}
	for _, r := range append([][]cell{head}, t.rows...) {
		printRow(s, r, w)
	}
}

// dropEmpty leaves out columns that say nothing in any row.
func (t *table) dropEmpty() {
	for c := len(t.head) - 1; c >= 0 && len(t.rows) > 0; c-- {
		if slices.ContainsFunc(t.rows, func(r []cell) bool { return r[c].text != "" }) {
			continue
		}
		t.head = slices.Delete(t.head, c, c+1)
		for i := range t.rows {
			t.rows[i] = slices.Delete(t.rows[i], c, c+1)
		}
	}
}

// widths gives each column its width, so that all fit into room; 0 is room enough. It fails when they cannot.
func (t *table) widths(room int) ([]int, bool) {
	w, least := make([]int, len(t.head)), make([]int, len(t.head))
	total := len(gap) * (len(w) - 1)
	for c, h := range t.head {
		w[c], least[c] = utf8.RuneCountInString(h), utf8.RuneCountInString(h)
		for _, r := range t.rows {
			w[c] = max(w[c], utf8.RuneCountInString(r[c].text))
			for _, word := range strings.Fields(r[c].text) {
				least[c] = max(least[c], utf8.RuneCountInString(word))
			}
		}
		if c == len(w)-1 {
			least[c] = min(least[c], max(minLast, utf8.RuneCountInString(h)))
		}
		total += w[c]
	}
	for ; room > 0 && total > room; total-- {
		widest := -1
		for c := range w {
			if w[c] > least[c] && (widest < 0 || w[c] > w[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			return nil, false
		}
		w[widest]--
	}
	return w, true
}

// printRow prints one row, on several lines where a cell is wrapped.
func printRow(s screen, r []cell, w []int) {
	parts := make([][]string, len(r))
	height := 1
	for c, x := range r {
		parts[c] = wrap(x.text, w[c])
		height = max(height, len(parts[c]))
	}
	for n := range height {
		var b strings.Builder
		owed := 0 // blanks that are only needed if something follows
		for c, x := range r {
			text := ""
			if n < len(parts[c]) {
				text = parts[c][n]
			}
			if text != "" {
				b.WriteString(strings.Repeat(" ", owed) + s.paint(x.style, text))
				owed = 0
			}
			owed += w[c] - utf8.RuneCountInString(text) + len(gap)
		}
		fmt.Fprintln(s.out, b.String())
	}
}

// blocks prints each row as lines of its own.
func (t *table) blocks(s screen) {
	long := 0
	for _, h := range t.head {
		long = max(long, utf8.RuneCountInString(h))
	}
	for i, r := range t.rows {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		for c, x := range r {
			if x.text != "" {
				fmt.Fprintln(s.out, s.paint(dim, t.head[c])+strings.Repeat(" ", long-utf8.RuneCountInString(t.head[c])+1)+s.paint(x.style, x.text))
			}
		}
	}
}

// wrap breaks text at blanks into lines of at most room characters; a longer word is broken where it must be.
func wrap(text string, room int) []string {
	if utf8.RuneCountInString(text) <= room {
		return []string{text}
	}
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= room {
			line += " " + word
			continue
		}
		if line != "" {
			out = append(out, line)
		}
		for utf8.RuneCountInString(word) > room {
			runes := []rune(word)
			out, word = append(out, string(runes[:room])), string(runes[room:])
		}
		line = word
	}
	return append(out, line)
}

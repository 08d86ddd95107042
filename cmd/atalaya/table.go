package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A cell is one field of a table. Its text must be clean.
type cell struct {
	text  string
	style style
}

// A table is aligned by counting characters. Where a terminal is too narrow for it, the last column is wrapped; where
// that is not enough, each row becomes a block of lines.
type table struct {
	head []string
	rows [][]cell
}

// minLast is how narrow the last column may become.
const minLast = 24

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) print(s screen) {
	t.dropEmpty()
	w := t.widths()
	last := len(w) - 1
	if last < 0 {
		return
	}
	fixed := 0
	for _, n := range w[:last] {
		fixed += n + 2
	}
	switch {
	case s.width == 0 || fixed+w[last] <= s.width:
		t.lines(s, w, w[last])
	case fixed+minLast <= s.width:
		t.lines(s, w, s.width-fixed)
	default:
		t.blocks(s)
	}
}

// dropEmpty leaves out columns that say nothing in any row.
func (t *table) dropEmpty() {
	for c := len(t.head) - 1; c >= 0 && len(t.rows) > 0; c-- {
		said := false
		for _, r := range t.rows {
			said = said || r[c].text != ""
		}
		if said {
			continue
		}
		t.head = append(t.head[:c:c], t.head[c+1:]...)
		for i, r := range t.rows {
			t.rows[i] = append(r[:c:c], r[c+1:]...)
		}
	}
}

func (t *table) widths() []int {
	w := make([]int, len(t.head))
	for c, h := range t.head {
		w[c] = utf8.RuneCountInString(h)
		for _, r := range t.rows {
			w[c] = max(w[c], utf8.RuneCountInString(r[c].text))
		}
	}
	return w
}

// lines prints rows as lines, the last column wrapped to its room.
func (t *table) lines(s screen, w []int, room int) {
	head := make([]cell, len(t.head))
	for c, h := range t.head {
		head[c] = cell{h, bold}
	}
	last := len(w) - 1
	for _, r := range append([][]cell{head}, t.rows...) {
		indent := 0
		for c, x := range r[:last] {
			fmt.Fprint(s.out, s.paint(x.style, x.text), strings.Repeat(" ", w[c]-utf8.RuneCountInString(x.text)+2))
			indent += w[c] + 2
		}
		for i, part := range wrap(r[last].text, room) {
			if i > 0 {
				fmt.Fprint(s.out, strings.Repeat(" ", indent))
			}
			fmt.Fprintln(s.out, s.paint(r[last].style, part))
		}
	}
}

// blocks prints each row as its own lines, for terminals that are too narrow.
func (t *table) blocks(s screen) {
	for i, r := range t.rows {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		for c, x := range r {
			if x.text == "" {
				continue
			}
			fmt.Fprintln(s.out, s.paint(dim, t.head[c])+" "+s.paint(x.style, x.text))
		}
	}
}

// wrap breaks text at blanks into lines of at most room characters; a longer word is broken where it must be.
func wrap(text string, room int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > room {
			if line != "" {
				out, line = append(out, line), ""
			}
			runes := []rune(word)
			out, word = append(out, string(runes[:room])), string(runes[room:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= room:
			line += " " + word
		default:
			out, line = append(out, line), word
		}
	}
	return append(out, line)
}

package main

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"
)

// A screen is where a command writes for people: with colours only on a terminal that shows them, and no wider than it.
type screen struct {
	out    io.Writer
	colour bool
	width  int // columns; 0: not a terminal, lines may be as long as they are
}

// newScreen looks at where the output goes, NO_COLOR (no-color.org), TERM and COLUMNS.
func newScreen(out io.Writer, getenv func(string) string) screen {
	s := screen{out: out}
	f, ok := out.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return s
	}
	s.colour = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	s.width = 80
	if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		s.width = int(ws.Col)
	}
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	return s
}

// A style is how a piece of text looks on a terminal.
type style string

// The styles: SGR parameters of ECMA-48.
const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (s screen) paint(st style, text string) string {
	if !s.colour || st == plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// clean shows text that somebody else wrote: control characters, and those that turn the direction of writing, are escaped.
// It never drives the terminal.
func clean(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i])|0x100, 16)[1:])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// writeJSON writes one indented document.
func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// list makes JSON's [] of none at all.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

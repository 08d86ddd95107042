package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A page is what the reader sees.
type page struct{ w io.Writer }

func (p page) title(text string) {
	fmt.Fprintf(p.w, "\n%s\n%s\n", text, strings.Repeat("=", len(text)))
}

func (p page) story(text string) {
	fmt.Fprintf(p.w, "\n%s\n%s\n", text, strings.Repeat("-", len(text)))
}

func (p page) say(format string, a ...any) { fmt.Fprintf(p.w, format+"\n", a...) }

func (p page) row(key, value string) {
	fmt.Fprintf(p.w, "  %-10s %s\n", key, strings.ReplaceAll(value, "\n", "\n  "+strings.Repeat(" ", 11)))
}

// moment is one line of a timeline, in milliseconds from the moment of breaking.
func (p page) moment(since, at time.Time, who, text string) {
	fmt.Fprintf(p.w, "  %+10.1f ms  %-6s %s\n", float64(at.Sub(since).Microseconds())/1000, who, text)
}

func short(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
	}
	return d.Round(time.Second).String()
}

// fill breaks a text at blanks so that no line is wider.
func fill(text string, width int) string {
	var out strings.Builder
	used := 0
	for _, word := range strings.Fields(text) {
		switch {
		case used == 0:
		case used+1+len(word) > width:
			out.WriteString("\n")
			used = 0
		default:
			out.WriteString(" ")
			used++
		}
		out.WriteString(word)
		used += len(word)
	}
	return out.String()
}

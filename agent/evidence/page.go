package evidence

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// width is how many columns a page has: what an 80 column window and a mail client show without breaking it.
const width = 78

// A page is a text under construction: wrapped, indented, and free of whatever drives a terminal.
type page struct {
	b      strings.Builder
	scrub  func(string) string
	failed time.Time
}

// say makes a foreign text fit to be shown on one line.
func (p *page) say(s string) string {
	if len(s) > maxSentence {
		s = s[:maxSentence] + " ..."
	}
	return strings.TrimSpace(printable(p.scrub(s)))
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format, args...)
	p.b.WriteByte('\n')
}

func (p *page) blank() { p.b.WriteByte('\n') }

func (p *page) section(title string) {
	p.blank()
	p.line("%s", title)
	p.line("%s", strings.Repeat("-", width))
}

// text writes s as a paragraph.
func (p *page) text(indent, s string) { p.wrap(indent, indent, p.say(s)) }

// field writes "  Label        value", with the value's further lines below its first.
func (p *page) field(label, value string) {
	p.wrap(fmt.Sprintf("  %-12s ", label), strings.Repeat(" ", 15), p.say(value))
}

func (p *page) item(s string) { p.wrap("   - ", "     ", p.say(s)) }

func (p *page) hanging(first, s string) { p.wrap(first, strings.Repeat(" ", len(first)), p.say(s)) }

// quote writes the words of somebody else, each line marked, so that they cannot pass for ours.
func (p *page) quote(title, words string) {
	lines := strings.FieldsFunc(words, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return
	}
	p.line("  %s", title)
	for _, l := range lines[:min(len(lines), maxQuoted)] {
		p.wrap("    | ", "    |   ", p.say(l))
	}
	if left := len(lines) - maxQuoted; left > 0 {
		p.line("    | (%s in the files)", counted(left, "further line"))
	}
}

// wrap breaks s at blanks, and words that are longer than a line where the line ends.
func (p *page) wrap(first, other, s string) {
	lead, room := first, width-utf8.RuneCountInString(first)
	var line strings.Builder
	used := 0
	flush := func() {
		p.line("%s", strings.TrimRight(lead+line.String(), " "))
		line.Reset()
		lead, room, used = other, width-utf8.RuneCountInString(other), 0
	}
	for _, word := range strings.Fields(s) {
		for n := utf8.RuneCountInString(word); ; n = utf8.RuneCountInString(word) {
			gap := min(used, 1)
			if used+gap+n <= room {
				line.WriteString(strings.Repeat(" ", gap) + word)
				used += gap + n
				break
			}
			if used > 0 {
				flush()
				continue
			}
			head := []rune(word)[:room]
			line.WriteString(string(head))
			word = word[len(string(head)):]
			flush()
		}
	}
	if used > 0 || lead == first {
		flush()
	}
}

// offset is t in milliseconds after the failure.
func (p *page) offset(t time.Time) string {
	return fmt.Sprintf("%+.1f ms", float64(t.Sub(p.failed).Microseconds())/1000)
}

// bytes gives the page with the line ends and the mark that every Notepad understands.
func (p *page) bytes() []byte {
	s := p.b.String()
	mark := ""
	for i := range len(s) {
		if s[i] > '~' {
			mark = "\ufeff"
			break
		}
	}
	return []byte(mark + strings.ReplaceAll(s, "\n", "\r\n"))
}

// stampOf is t with the offset of its zone.
func stampOf(t time.Time) string { return t.Format("2006-01-02 15:04:05.000 -07:00") }

func millis(ms float64) string {
	if ms >= 10000 {
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	return fmt.Sprintf("%.1f ms", ms)
}

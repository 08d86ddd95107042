package evidence

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// A member is one file of the bundle to be.
type member struct {
	rec    Record
	data   []byte
	image  bool // not to be cut
	tail   bool
	size   int64 // true size of what was there to be taken; -1: more than was kept
	packed packed
}

// assembly is everything a bundle will hold, redacted.
type assembly struct {
	members []*member
	missing []Record
	notes   []string
}

// assemble makes members of entries, in their stages' order and else in theirs. Nothing gets past it unredacted.
func (r *Recorder) assemble(q Request, entries []*entry, excess []string) *assembly {
	a := &assembly{notes: excess}
	names := namer{}
	for _, s := range []stage{before, action, after} {
		for _, e := range entries {
			if e.stage == s {
				r.admit(a, names, q, e)
			}
		}
	}
	return a
}

func (r *Recorder) admit(a *assembly, names namer, q Request, e *entry) {
	rec := r.describe(q, e)
	switch {
	case !e.done:
		rec.Missing = "still under way when the bundle was sealed"
	case e.found.err != nil && len(e.found.data) == 0 && len(e.found.stderr) == 0:
		rec.Missing = r.scrub(reason(e.found.err))
	default:
		rec.Missing = r.scrub(noImage(e.item, e.found))
	}
	if rec.Missing != "" {
		rec.Stage = string(e.stage)
		rec.Asked = r.scrub(printable(e.item.Name))
		a.missing = append(a.missing, rec)
		return
	}
	if e.found.err != nil {
		rec.Note = r.scrub(reason(e.found.err))
	}
	if e.late {
		rec.Note = join(rec.Note, "the action had begun before this was in")
	}
	if len(e.found.data) > 0 || len(e.found.stderr) == 0 {
		r.add(a, names, e, rec, e.item.Name, e.found.data, e.found.size)
	}
	if len(e.found.stderr) > 0 {
		rec.Shows = join(rec.Shows, "its standard error")
		r.add(a, names, e, rec, strings.TrimSuffix(e.item.Name, ".txt")+".stderr.txt", e.found.stderr, e.found.errSize)
	}
}

// add redacts one piece and takes it in, or withholds it where a known secret is left all the same.
func (r *Recorder) add(a *assembly, names namer, e *entry, rec Record, name string, data []byte, size int64) {
	clean, image := data, e.item.Image && isImage(data)
	if !image {
		clean = r.redact(data)
	}
	if left := r.o.Secrets.Survivors(clean); len(left) > 0 {
		rec.Missing = "withheld: after redaction it still held the secret from " + strings.Join(left, ", ")
		rec.Stage, rec.Asked = string(e.stage), printable(name)
		a.missing = append(a.missing, rec)
		return
	}
	rec.File = names.give(e.stage, r.scrub(name))
	if given := strings.TrimPrefix(rec.File, string(e.stage)+"/"); given != name && given != name+".txt" {
		rec.Asked = r.scrub(strconv.QuoteToASCII(name[:min(len(name), 200)]))
	}
	rec.Redacted = max(0, bytes.Count(clean, redactedMark)-bytes.Count(data, redactedMark))
	m := &member{rec: rec, data: clean, image: image, tail: e.item.keepsTail(), size: size}
	if size < 0 || size > int64(len(data)) {
		m.rec.Cut = cutWords(len(data), size, m.tail)
	}
	a.members = append(a.members, m)
}

// describe is what the manifest says of an entry, whatever came of it.
func (r *Recorder) describe(q Request, e *entry) Record {
	rec := Record{
		Shows: r.scrub(printable(e.item.Shows)), Deadline: health.ToMillis(e.deadline),
		Exit: e.found.exit, Signal: e.found.signal, Modified: e.found.modified,
	}
	argv := e.argv
	if argv == nil {
		argv = e.item.Argv
	}
	for _, arg := range r.redactArgv(argv) {
		rec.Command = append(rec.Command, printable(arg))
	}
	if e.item.Path != "" {
		rec.Source = r.scrub(printable(e.item.Path))
		if e.item.Root != "" {
			rec.Source = r.scrub(printable(e.item.Root)) + " : " + rec.Source
		}
	}
	if !e.started.IsZero() {
		rec.Started = e.started.Round(0)
		rec.Offset, rec.Took = health.ToMillis(e.started.Sub(q.Failed)), health.ToMillis(e.took)
	}
	if rec.Shows == "" {
		rec.Shows = shows(rec, e)
	}
	return rec
}

// shows says what a file is when nobody else did.
func shows(rec Record, e *entry) string {
	switch {
	case len(rec.Command) > 0:
		return "what this command said: " + strings.Join(rec.Command, " ")
	case rec.Source != "" && e.item.keepsTail():
		return "the end of the file " + rec.Source
	case rec.Source != "":
		return "the file " + rec.Source
	case e.stage == action:
		return "of the action"
	}
	return ""
}

// reason is err in words for a reader who does not know Go.
func reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "given up: the capture had ended"
	}
	s := printable(err.Error())
	return strings.TrimSuffix(strings.TrimSuffix(s, ": "+context.DeadlineExceeded.Error()), ": "+context.Canceled.Error())
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// trimTo is how many bytes a cut for the bundle's own bound leaves of a file.
const trimTo = 16 << 10

// fit makes the members small enough for limit bytes when packed, of the whole that the bundle may have. What is least valuable goes first: what was taken
// after the action can be taken again, what it destroyed cannot, and what was tried is the heart of it. First long files
// are cut, from the end of the list to its beginning; only then files are left out.
func (a *assembly) fit(limit, whole int64, p *packer) error {
	why := "the bundle may have " + bytesWords(whole)
	total := int64(0)
	for _, m := range a.members {
		if err := m.pack(p); err != nil {
			return err
		}
		total += m.cost()
	}
	order := a.leastFirst()
	for _, m := range order {
		if total <= limit {
			return nil
		}
		if len(m.data) <= trimTo {
			continue
		}
		total -= m.cost()
		if m.image {
			a.leaveOut(m, "left out: "+why)
			continue
		}
		size := m.size
		if size >= 0 {
			size = max(size, int64(len(m.data)))
		}
		m.data = bound(m.data, trimTo, m.tail)
		m.rec.Cut = cutWords(len(m.data), size, m.tail) + " (" + why + ")"
		if err := m.pack(p); err != nil {
			return err
		}
		total += m.cost()
	}
	for _, m := range a.leastFirst() {
		if total <= limit {
			return nil
		}
		total -= m.cost()
		a.leaveOut(m, "left out: "+why)
	}
	return nil
}

// leastFirst gives the members in the order in which they are given up.
func (a *assembly) leastFirst() []*member {
	var out []*member
	for _, s := range []stage{after, before, action} {
		for i := len(a.members) - 1; i >= 0; i-- {
			if strings.HasPrefix(a.members[i].rec.File, string(s)+"/") {
				out = append(out, a.members[i])
			}
		}
	}
	return out
}

func (a *assembly) leaveOut(m *member, why string) {
	for i, x := range a.members {
		if x == m {
			a.members = append(a.members[:i], a.members[i+1:]...)
			break
		}
	}
	rec := m.rec
	stage, _, _ := strings.Cut(rec.File, "/")
	rec.Asked, rec.Stage, rec.File, rec.Missing = rec.File, stage, "", why
	a.missing = append(a.missing, rec)
}

// stamp is the time that every file of a bundle carries.
func stamp(q Request) time.Time { return q.Failed.Truncate(2 * time.Second) }

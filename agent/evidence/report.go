package evidence

import (
	"fmt"
	"strings"
	"time"

	"atalaya/agent/health"
)

// A Report is what REPORT.txt says. It is written for a provider's technician who has never heard of Atalaya, opens it
// with a text editor and gives it ten seconds.
type Report struct {
	Incident health.Incident
	Subject  health.Subject
	Phase    health.Phase // where the container stands in the agent's dealings with it
	Verdict  health.Verdict
	Tried    []health.Tried
	Timeline []Moment
	Todo     string // what the reader should do; empty: the verdict's cure
	Next     string // what the agent does next
}

// A Moment is one line of the timeline.
type Moment struct {
	At   time.Time
	Text string
}

// The bounds of what is told; all of it is in the files of the bundle.
const (
	maxTried    = 10
	maxMoments  = 120
	maxProof    = 12
	maxQuoted   = 12   // lines of the engine's words, for one attempt
	maxSentence = 1200 // bytes of one text
)

// sides is, for each layer of a verdict, on whose side the failure is, in words that the reader uses.
var sides = map[string]string{
	"guest":    "inside the container: what runs in it",
	"engine":   "the virtualization software on the host, or its configuration of this container",
	"host":     "the host: its kernel, memory, or system software",
	"storage":  "the host's storage: disk, file system, or image",
	"network":  "the network of the host or beyond it, not the container",
	"provider": "the provider",
	"operator": "a person or job that is working on this container",
}

// render gives REPORT.txt: at most 78 columns, CRLF line ends, plain ASCII unless a name or a tool's words are not, in
// which case a byte order mark tells even an old Notepad that it is UTF-8. Texts are scrubbed before they are broken into
// lines, because a broken secret is not found any more.
func (rep Report) render(m Manifest, scrub func(string) string) []byte {
	p := &page{scrub: scrub, failed: m.Failed}
	rep.head(p, m)
	rep.down(p, m)
	rep.tried(p)
	rep.why(p)
	rep.todo(p)
	rep.timeline(p)
	contents(p, m)
	return p.bytes()
}

func (rep Report) head(p *page, m Manifest) {
	p.text("", fmt.Sprintf("INCIDENT REPORT: container %s on host %s", rep.name(m), m.Host.FQDN))
	p.line("%s", strings.Repeat("=", width))
	p.blank()
	sentence := rep.Verdict.Sentence
	if sentence == "" {
		sentence = fmt.Sprintf("Container %q failed: %s. The cause is not known yet.", rep.name(m), rep.reason(m))
	}
	p.text("  ", sentence)
	p.blank()
	if side, ok := sides[rep.Verdict.Layer]; ok {
		p.field("Side", fmt.Sprintf("%s (confidence: %s)", side, orWord(rep.Verdict.Confidence, "not stated")))
	} else {
		p.field("Side", "not determined; section 3 says what would settle it")
	}
	p.field("Now", rep.status())
	p.field("To do", rep.cure())
}

// cure is what the reader should do, or that it is not known.
func (rep Report) cure() string {
	const unknown = "see sections 2 and 3 and the files below: from what was seen, no cure is known"
	todo := orWord(rep.Todo, orWord(rep.Verdict.Cure, unknown))
	if rep.recovered() {
		return "Nothing at once: it is up again. What this failure called for: " + todo
	}
	return todo
}

// recovered says that the incident is over because the container runs, and not because it may be down.
func (rep Report) recovered() bool {
	return !rep.Incident.Resolved.IsZero() && rep.Subject.State == health.Running
}

func (rep Report) name(m Manifest) string {
	for _, n := range []string{rep.Subject.Name, m.Name, m.Container} {
		if n != "" {
			return n
		}
	}
	return "unknown"
}

func (rep Report) reason(m Manifest) string {
	if rep.Incident.Reason != "" {
		return rep.Incident.Reason
	}
	return orWord(m.Reason, "reason not stated")
}

func (rep Report) status() string {
	i := rep.Incident
	tried := "nothing was tried"
	if i.Attempts > 0 {
		tried = "after " + counted(i.Attempts, "attempt")
	}
	switch running := rep.Subject.State == health.Running; {
	case rep.recovered():
		return fmt.Sprintf("up again since %s: %s", stampOf(i.Resolved), orWord(i.How, "recovered"))
	case !i.Resolved.IsZero():
		return fmt.Sprintf("closed at %s: %s", stampOf(i.Resolved), orWord(i.How, "no longer watched"))
	case running && rep.Phase == health.Settling:
		return "running again, " + tried + "; that it serves was not proven yet when this was written"
	case running && i.Escalated:
		return "STILL NOT SERVING " + tried + ", although it runs; a person is needed"
	case running:
		return "it runs and does not serve, when this was written; " + tried
	case i.Escalated:
		return "STILL DOWN " + tried + "; a person is needed"
	}
	return "down when this was written; " + tried
}

func (rep Report) down(p *page, m Manifest) {
	p.section("1. WHAT IS DOWN, SINCE WHEN")
	p.field("Container", fmt.Sprintf("%s   (%s)", rep.name(m), m.Container))
	if rep.Subject.State != "" {
		p.field("State", fmt.Sprintf("%s, says %s", rep.Subject.State, orWord(rep.Subject.Engine, "the engine")))
	}
	if len(rep.Subject.Addresses) > 0 {
		p.field("Addresses", strings.Join(rep.Subject.Addresses, ", "))
	}
	p.field("Failure", rep.reason(m))
	p.field("Since", since(m.Failed))
	if c := rep.Incident.Confirmed; c.Sub(m.Failed) >= time.Millisecond {
		p.field("Confirmed", fmt.Sprintf("%s (%s): one failure alone does not count", stampOf(c), p.offset(c)))
	}
	host := m.Host.FQDN
	if m.Host.Site != "" {
		host += ", site " + m.Host.Site
	}
	p.field("Host", host+", "+m.Kernel)
	p.field("Incident", fmt.Sprintf("%s, part %d", m.Incident, m.Part))
}

// since is t with its offset, and in UTC where that is another time of day.
func since(t time.Time) string {
	s := stampOf(t)
	if _, offset := t.Zone(); offset != 0 {
		s += t.UTC().Format(" (2006-01-02 15:04:05 UTC)")
	}
	return s
}

func (rep Report) tried(p *page) {
	p.section("2. WHAT WAS TRIED")
	if len(rep.Tried) == 0 {
		p.text("  ", "Nothing was tried up to now.")
		return
	}
	shown := rep.Tried
	if left := len(shown) - maxTried; left > 0 {
		p.text("  ", fmt.Sprintf("(%d earlier attempts are not shown)", left))
		shown = shown[left:]
	}
	for n, t := range shown {
		if n > 0 {
			p.blank()
		}
		p.text("  ", fmt.Sprintf("Attempt %d: %s at %s (%s), %s after %s", t.Attempt, t.Verb, stampOf(t.At),
			p.offset(t.At), exitWords(t), millis(float64(t.Took))))
		if len(t.Command) > 0 {
			p.field("Command", strings.Join(t.Command, " "))
		}
		p.quote("The engine's own words:", t.Answer)
		p.quote("Innermost cause, from its log:", t.Cause)
	}
}

func exitWords(t health.Tried) string {
	if t.Exit < 0 {
		return "no exit code"
	}
	return fmt.Sprintf("exit code %d", t.Exit)
}

func (rep Report) why(p *page) {
	v := rep.Verdict
	p.section("3. WHY IT LOOKS LIKE THIS")
	if v.Layer == "" && len(v.Proof) == 0 {
		p.text("  ", "No verdict was reached when this was written.")
		return
	}
	if side, ok := sides[v.Layer]; ok {
		p.text("  ", "The cause lies with: "+side+".")
	} else {
		p.text("  ", "Undetermined: what was seen does not single out one side.")
	}
	for _, proof := range v.Proof[:min(len(v.Proof), maxProof)] {
		p.item(proof)
	}
	if v.Disproof != "" {
		p.blank()
		p.text("  ", "What would show that this is wrong: "+v.Disproof)
	}
	switch v.RetryHelps {
	case health.Yes:
		p.text("  ", "Starting it again may help.")
	case health.No:
		p.text("  ", "Starting it again does not help until the cause is removed.")
	}
}

func (rep Report) todo(p *page) {
	p.section("4. WHAT TO DO")
	p.text("  ", rep.cure())
	if rep.Next != "" {
		p.text("  ", "Meanwhile, by itself: "+rep.Next)
	}
}

func (rep Report) timeline(p *page) {
	p.section("5. TIMELINE, in milliseconds from the first sign of the failure")
	if len(rep.Timeline) == 0 {
		p.text("  ", "(nothing recorded)")
		return
	}
	shown := rep.Timeline
	if left := len(shown) - maxMoments; left > 0 {
		p.text("  ", fmt.Sprintf("(%d earlier lines are not shown)", left))
		shown = shown[left:]
	}
	for _, at := range shown {
		p.hanging(fmt.Sprintf("%14s  ", p.offset(at.At)), at.Text)
	}
}

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

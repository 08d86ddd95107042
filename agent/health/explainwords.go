package health

import (
	"fmt"
	"strings"
	"time"
)

// An explainer puts an explanation into words.
type explainer struct {
	*machine
	e    *Explanation
	wall func(time.Time) time.Time
}

func (x *explainer) add(format string, args ...any) {
	x.e.Words = append(x.e.Words, fmt.Sprintf(format, args...))
}

func (x *explainer) clock(t time.Time) string {
	w := x.wall(t)
	if x.at.Sub(t).Abs() > 20*time.Hour {
		return w.Local().Format("2006-01-02 15:04:05")
	}
	return w.Local().Format("15:04:05")
}

func (x *explainer) say() {
	x.standing()
	x.wanted()
	x.trouble()
	x.inTheWay()
	for _, p := range x.e.Probes {
		x.probe(p)
	}
	x.budget()
	x.steadiness()
	x.others()
}

func (x *explainer) standing() {
	meaning := map[Phase]string{
		New: "it has not been seen running here yet: it is watched, and not touched", Up: "nothing is confirmed against it",
		Checking: "something seems wrong, and a fresh look is to confirm it before anything is done", Waiting: "an attempt is due",
		Stopping: "it is being stopped, in order to be started", Starting: "a start is ordered, and not answered yet",
		Settling: "it runs again, and must prove that it is well", Exhausted: "the budget of attempts is spent: people have been told, and it is tried seldom",
		Alerted: "people have been told, and it is left alone", Deferred: "hands off", Off: "it is as somebody wants it: down", Gone: "it is forgotten"}[x.s.Phase]
	state := string(x.s.RunState)
	if x.s.Detail != "" && x.s.RunState != Running {
		state += " (" + x.s.Detail + ")"
	}
	x.add("Its engine says: %s. It is %q since %s (%s): %s.", state, x.s.Phase, x.clock(x.s.Since), round(x.at.Sub(x.s.Since)), meaning)
	if x.s.Why != "" && x.s.Why != x.e.Barrier && x.s.Why != x.e.Wrong {
		x.add("That is so because: %s.", x.s.Why)
	}
}

func (x *explainer) wanted() {
	switch x.e.Intent.Want {
	case Yes:
		x.add("It should be running: %s.", x.e.Intent.Proof)
	case No:
		x.add("It need not be running: %s.", x.e.Intent.Proof)
	default:
		x.add("Nothing says that it should be running: %s. Say 'atalaya want %s' if it should.", x.e.Intent.Proof, x.s.Ref)
	}
}

func (x *explainer) trouble() {
	c := x.s.Case
	if c == nil {
		return
	}
	x.add("What is wrong, since %s: %s.", x.clock(c.Since), c.What)
	if c.Inside != "" {
		x.add("The same probe from inside the container's own network: %s.", c.Inside)
	}
	if x.s.Incident != nil && x.s.Incident.Parent != "" {
		x.add("Its incident %s belongs to the host's, %s, which is told instead of it.", x.s.Incident.ID, x.s.Incident.Parent)
	}
}

func (x *explainer) inTheWay() {
	switch why := x.e.Barrier; {
	case why == "" && x.s.Case != nil:
		x.add("Nothing stands in the way of an attempt.")
	case why == "":
	case x.s.Phase == x.e.Rests || x.s.Case != nil:
		x.add("In the way of an attempt: %s.", why)
	case x.s.Phase == Up:
		x.add("If it failed now, it would not be touched: %s.", why)
	}
}

func (x *explainer) probe(p ProbeWord) {
	does := map[OnFail]string{FailRestart: "may cause a restart", FailAlert: "only alerts"}[p.OnFail]
	detail := ""
	if p.Detail != "" {
		detail = ": " + p.Detail
	}
	switch {
	case !p.Ever:
		x.add("Probe %q has not passed yet, so it does not count.", p.Probe)
	case p.Failing && p.Passes > 0:
		x.add("Probe %q fails since %s, and has passed %d of the %d times in a row that make it well again.", p.Probe, p.Since.Local().Format("15:04:05"), p.Passes, p.PassAfter)
	case p.Failing:
		x.add("Probe %q fails since %s (%d failures in a row make it so; it %s)%s.", p.Probe, p.Since.Local().Format("15:04:05"), p.FailAfter, does, detail)
	case p.Fails > 0:
		x.add("Probe %q has failed %d of the %d times in a row that count (it %s)%s.", p.Probe, p.Fails, p.FailAfter, does, detail)
	case !x.s.Probes[p.Probe].Life && x.s.RunState == Running:
		x.add("Probe %q has not passed since this start; until %s its failures do not count.", p.Probe, x.clock(x.s.Life.Add(x.p.Probes[p.Probe].Grace)))
	case x.s.RunState == Running:
		x.add("Probe %q passes (%d failures in a row would count; it %s).", p.Probe, p.FailAfter, does)
	}
}

func (x *explainer) budget() {
	n := len(x.e.Attempts)
	if n == 0 {
		return
	}
	var each []string
	for _, a := range x.s.Attempts {
		text := fmt.Sprintf("%s at %s", a.Verb, x.clock(a.At))
		if a.Err != "" {
			text += " (" + gistOf(a) + ")"
		}
		each = append(each, text)
	}
	x.add("Of the %d attempts within %s, %d left; made: %s.", x.p.Attempts, short(x.p.Window), max(0, x.p.Attempts-n), strings.Join(each, ", "))
}

// gistOf is why an attempt failed, in few words.
func gistOf(a Attempt) string {
	text := a.Err
	if a.Cause != "" {
		text = a.Cause
	}
	text, _, _ = strings.Cut(text, "\n")
	if r := []rune(text); len(r) > 100 {
		text = string(r[:99]) + "…"
	}
	return text
}

func (x *explainer) steadiness() {
	f := x.s.Flap
	switch {
	case x.p.FlapHigh == 0 || f.Changes() == 0:
	case f.On:
		x.add("It is flapping: %.0f %% (%d changes among its last %d states). It is restarted no more until that is below %.0f %%.", f.Percent(), f.Changes(), flapStates, x.p.FlapLow)
	default:
		x.add("It changed %s lately: flapping %.0f %%, and from %.0f %% on it would be restarted no more.", times(f.Changes()), f.Percent(), x.p.FlapHigh)
	}
}

// others tells of all that may keep hands off, where it is not what stands in the way already.
func (x *explainer) others() {
	s := &x.s
	said := func(text string) bool { return strings.Contains(x.e.Barrier, text) }
	if h := s.Hold; h != nil && !said(h.Reason) {
		x.add("It is on hold until %s, by %s: %s.", x.clock(h.Until), h.By, h.Reason)
	}
	if l := s.Lock; l != nil && !said(l.Operation) {
		x.add("It is locked by %s since %s: %s.", l.Operation, x.clock(s.Locked.Since), holder(*l))
	}
	if s.Supervisor != "" && !said(s.Supervisor) {
		x.add("Another supervisor looks after it: %s.", s.Supervisor)
	}
	if s.Host.Root != "" && !said(s.Host.Root) {
		x.add("It depends on %s.", s.Host.Root)
	}
	if len(s.Host.Faults) > 0 && !said(s.Host.Faults[0]) {
		x.add("The host lacks what it needs: %s.", strings.Join(s.Host.Faults, "; "))
	}
	if w := s.Host.Window; w.Name != "" && !said(w.Name) {
		x.add("The maintenance window %q is open until %s.", w.Name, x.clock(w.Until))
	}
}

// short writes a duration without its empty units.
func short(d time.Duration) string {
	text := d.String()
	for _, tail := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, tail) {
			text = text[:len(text)-2]
		}
	}
	return text
}

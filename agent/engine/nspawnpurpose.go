package engine

import (
	"context"
	"strings"
	"time"

	"atalaya/agent/hostexec"
)

// Who stopped a machine is told by systemd's journal: that a job stopped it, and never who ordered the job. So our own
// orders are signed: a line is written to the journal before each, which this agent, those after it, and one on another
// host read like everything else there. No memory of ours and no clock but the journal's comes into it.

const (
	// nspawnSigner is the identifier (journalctl -t) of those lines.
	nspawnSigner = "atalaya-orders"
	// nspawnSigned is how long after such a line a stop is taken for the one that it announced.
	nspawnSigned = 10 * time.Second
	// nspawnSignWithin bounds the writing: a journal that hangs keeps nothing, and must not keep us.
	nspawnSignWithin = 3 * time.Second
)

// sign announces an order. It adds to the journal and changes nothing else.
func (n *nspawn) sign(order string) func(context.Context, call) {
	return func(ctx context.Context, c call) {
		argv := n.argv("systemd-cat", "--identifier="+nspawnSigner, "echo", order+" "+nspawnUnitOf(c.id))
		if err := n.run.Read(ctx, hostexec.Command{Argv: argv, Env: n.spec.Env, Timeout: nspawnSignWithin}).Err(); err != nil {
			n.notes.add("an order could not be signed in the journal, and may be taken for a person's: %v", err)
		}
	}
}

// askPurpose asks the journal why machines are off: for what systemd itself told of their units in this boot, and what
// was signed.
func (n *nspawn) askPurpose(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	argv := n.argv("journalctl", "--quiet", "--boot", "--no-pager", "--output=json", "--output-fields=MESSAGE,MESSAGE_ID,UNIT,JOB_TYPE,SYSLOG_IDENTIFIER", "--lines=5000", "_PID=1")
	for _, name := range names {
		argv = append(argv, "UNIT="+nspawnUnitOf(name))
	}
	t, err := n.ask(ctx, append(argv, "+", "_UID=0", "SYSLOG_IDENTIFIER="+nspawnSigner))
	if err != nil {
		n.notes.add("who stopped a machine is not known: %v", err)
		return
	}
	byUnit := map[string][]journalLine{}
	for _, j := range parseJournal(t.Stdout) {
		unit := string(j.Unit)
		if j.signs() {
			_, unit, _ = strings.Cut(string(j.Message), " ")
		}
		byUnit[unit] = append(byUnit[unit], j)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		e := n.entry(name)
		e.told, e.purpose = true, nspawnPurpose(byUnit[nspawnUnitOf(name)])
	}
}

// signs tells a line of ours.
func (j journalLine) signs() bool { return j.Ident == nspawnSigner }

// signed tells whether what happened then had been announced. The journal takes lines from several sockets, not always in
// order.
func signed(lines []journalLine, at time.Time) bool {
	for _, j := range lines {
		if after := at.Sub(j.at()); j.signs() && after < nspawnSigned && after > -time.Second {
			return true
		}
	}
	return false
}

// nspawnPurpose reads what systemd told of the last life of one unit, the oldest first.
func nspawnPurpose(lines []journalLine) string {
	life, begun := lines, false
	for i, j := range lines {
		if j.ID == msgStarting || j.ID == msgStarted {
			life, begun = lines[i+1:], true
		}
	}
	why := ""
	for _, j := range life {
		switch by := j.ends(); {
		case by != "" && signed(life, j.at()):
			return ""
		case by != "":
			why = by
		case j.ID == msgSuccess && begun && why == "" && !signed(life, j.at()):
			why = "it ended by itself, without an error: a poweroff inside"
		}
	}
	return why
}

// ends tells whose doing an end is by this line; "" when it tells of none.
func (j journalLine) ends() string {
	switch text := string(j.Message); {
	case j.ID == msgStopping:
		return "a " + tidy(string(j.Job)) + " job of systemd"
	case strings.Contains(text, ": Sent signal SIGKILL to main process ") && strings.HasSuffix(text, " on client request."):
		return "systemctl kill"
	}
	return ""
}

package engine

import (
	"context"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// How a start of a machine goes.

// remember whether it runs before it is told to start: systemctl says nothing about that.
func (n *nspawn) remember(ctx context.Context, c call) {
	s, err := n.look(ctx, c.id, health.Process{})
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.known[c.id]; e != nil {
		e.wasUp = err == nil && (s.State == health.Running || s.State == health.Paused)
	}
}

// nspawnJobFailed begins what systemctl says when it was not itself that refused.
const nspawnJobFailed = "Job for "

// readNspawn takes systemctl's answer. Its last line only tells where to read on.
func readNspawn(t hostexec.Transcript, log []byte) Answer {
	a := readAnswer()(t, log)
	for line := range strings.Lines(string(t.Stderr)) {
		if !strings.HasPrefix(line, "See ") && a.Err != "" {
			a.Cause = tidy(line)
		}
	}
	return a
}

// started takes the cause of a failed start from the journal: "Job for … failed because the control process exited with
// error code" is all that systemctl says. What ran before was not started; one whose unit can no longer be read says so.
func (n *nspawn) started(ctx context.Context, c call, a *Answer) {
	n.mu.Lock()
	if e := n.known[c.id]; e != nil && e.wasUp {
		*a = Answer{Transcript: a.Transcript, Already: true}
	}
	n.mu.Unlock()
	if !strings.HasPrefix(a.Cause, nspawnJobFailed) {
		return
	}
	argv := n.argv("journalctl", "--quiet", "--boot", "--no-pager", "--output=json", "--output-fields=MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER", "--lines=50",
		"_SYSTEMD_UNIT="+nspawnUnitOf(c.id), "+", "UNIT="+nspawnUnitOf(c.id), "_UID=0") // --unit= leaves out what systemd's own children say about it
	for range nspawnJournalTries {
		t := n.run.Read(ctx, hostexec.Command{Argv: argv, Env: n.spec.Env, Timeout: lxcAskWithin, MaxOut: 256 << 10})
		if words := nspawnCause(parseJournal(t.Stdout)); words != "" {
			a.Cause = words
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nspawnJournalLags):
		}
	}
}

// The journal takes what a process printed later than what systemd says of its end, on a busy host by some 100 ms.
const (
	nspawnJournalTries = 5
	nspawnJournalLags  = 200 * time.Millisecond
)

// nspawnCause gives the last words of systemd-nspawn since the last start was begun, and not those of systemd about it. A
// start that is refused for being one too many is not even begun.
func nspawnCause(lines []journalLine) string {
	for i := len(lines) - 1; i >= 0; i-- {
		words := tidy(string(lines[i].Message))
		switch bySystemd := lines[i].Ident == "systemd"; {
		case lines[i].ID == msgStarting:
			return spawnFailed(lines[max(0, i-3):i])
		case bySystemd && strings.Contains(words, "Start request repeated too quickly"):
			return words
		case !bySystemd && words != "" && words != "Parent died too early": // its child's, after it had said why
			return words
		}
	}
	return ""
}

// spawnFailed gives the words of a process of systemd's that could not even become the program it was to be: they may
// come before those of systemd that it starts.
func spawnFailed(lines []journalLine) string {
	for _, j := range lines {
		if j.ID == msgSpawnFailed && j.Ident != "systemd" {
			return tidy(string(j.Message))
		}
	}
	return ""
}

package hostexec

import (
	"fmt"
	"strings"
	"time"
)

// A Transcript is what came of one command, good enough to be evidence. It is a plain value.
type Transcript struct {
	Argv       []string      `json:"argv"`
	PID        int           `json:"pid,omitempty"`    // 0: not started, or not learned
	Unit       string        `json:"unit,omitempty"`   // the transient systemd unit it ran in
	Remote     string        `json:"remote,omitempty"` // the other host it ran on, as ssh is told: "root@old"; its pid is not told
	Started    time.Time     `json:"started"`
	Took       time.Duration `json:"took_ns"` // until it ended, or until it was no longer waited for
	Exit       int           `json:"exit"`    // -1: none (signalled, not started, abandoned, not known)
	Signal     string        `json:"signal,omitempty"`
	Stdout     []byte        `json:"stdout,omitempty"` // the first bytes, at most Command.MaxOut
	Stderr     []byte        `json:"stderr,omitempty"`
	StdoutSize int64         `json:"stdout_size"` // true size in bytes, of which Stdout may be a part
	StderrSize int64         `json:"stderr_size"`
	TimedOut   bool          `json:"timed_out,omitempty"` // its limit passed
	Abandoned  bool          `json:"abandoned,omitempty"` // it had not ended when this was written
	Failure    string        `json:"failure,omitempty"`   // why there is no exit code: "no answer within 20s"
}

// OK reports whether the command ended by itself with exit code 0, within its limit.
func (t Transcript) OK() bool { return t.Exit == 0 && t.Failure == "" && !t.TimedOut }

// Err is nil when OK, and an *ExitError otherwise.
func (t Transcript) Err() error {
	if t.OK() {
		return nil
	}
	return &ExitError{Transcript: t}
}

// An ExitError is a command that did not do what it was asked.
type ExitError struct{ Transcript Transcript }

// Error gives command, cause and the command's own first words, in one printable line:
// `lxc-start -n web1: exit 1: lxc-start: web1: …`.
func (e *ExitError) Error() string {
	t := e.Transcript
	line := printable(strings.Join(quoteAll(t.Argv), " "), 200)
	if t.Remote != "" {
		line = "on " + t.Remote + ": " + line
	}
	words := []string{line, t.ending()}
	said := firstLine(t.Stderr)
	if said == "" && t.Exit > 0 {
		said = firstLine(t.Stdout)
	}
	if said != "" {
		words = append(words, said)
	}
	return strings.Join(words, ": ")
}

// ending says how it ended, in a few words.
func (t Transcript) ending() string {
	switch {
	case t.Failure != "":
		return printable(t.Failure, 300)
	case t.Signal != "":
		return "ended by " + t.Signal
	case t.Exit < 0:
		return "exit code not known"
	}
	return fmt.Sprintf("exit %d", t.Exit)
}

// firstLine is the first line that says something, fit to be shown.
func firstLine(b []byte) string {
	for line := range strings.Lines(string(b[:min(len(b), 4<<10)])) {
		if s := strings.TrimSpace(line); s != "" {
			return printable(s, 200)
		}
	}
	return ""
}

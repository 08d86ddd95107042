package probes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// execKept bounds what a transcript keeps of a command's output, in bytes.
const execKept = 16 << 10

// An execCheck runs a command inside the guest.
type execCheck struct {
	argv []string
	good codes
}

func newExec(s Spec) (check, error) {
	good, err := parseCodes(or(s.Exits, DefaultExits), 0, 255)
	if err != nil {
		return nil, err
	}
	c := &execCheck{argv: append([]string(nil), s.Argv...), good: good}
	return c.run, nil
}

func (c *execCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	if g.Exec == nil {
		return "", unsure{errors.New("this engine offers no way to run a command inside the guest")}
	}
	command := strconv.Quote(strings.Join(c.argv, " "))
	began := time.Now()
	exit, out, err := g.Exec(ctx, append([]string(nil), c.argv...))
	took := time.Since(began)
	t.result.Phases.FirstByte = took
	output := clip{max: execKept}
	_, _ = output.Write(out)
	t.log.add("--- command ", command, "\n", string(output.bytes()))
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		// A check that hangs is the classic sign of a sick service, so this is said of the service, as docker and
		// kubelet do, although the way into the guest may hang as well.
		return "", fmt.Errorf("run %s in the guest: not finished within %s", command, millis(took))
	case err != nil:
		return "", unsure{fmt.Errorf("run %s in the guest: %w", command, err)}
	case exit < 0:
		return "", unsure{fmt.Errorf("run %s in the guest: it ended without an exit code", command)}
	}
	t.log.add("\n--- exit ", strconv.Itoa(exit), " after ", millis(took), "\n")
	said := "exit " + strconv.Itoa(exit) + " after " + millis(took)
	if first := firstLine(out); first != "" {
		said += ": " + first
	}
	if !c.good.has(exit) {
		return "", fmt.Errorf("%s: %s (expected %s)", command, said, c.good)
	}
	return said, nil
}

// firstLine gives the first line that says something, bounded.
func firstLine(b []byte) string {
	for line := range strings.Lines(string(b[:min(len(b), 4*maxLine)])) {
		if line = plain(line, maxLine/2); line != "" {
			return line
		}
	}
	return ""
}

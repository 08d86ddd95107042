package hostexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxStuck bounds how many children may sleep for good before no further reading command is started: on a host with a
// dead disk, every poll would leave one more behind.
const maxStuck = 64

// Read runs a command that only reads, and returns when it has ended, when its limit has passed or when ctx ends; in the
// latter two cases it is killed with its whole process group. A child that does not end even then is abandoned after a
// further second. Read never fails: the Transcript says what happened.
func (h *Host) Read(ctx context.Context, c Command) Transcript {
	t := h.read(ctx, c)
	h.metrics.count("read", t)
	return t
}

func (h *Host) read(ctx context.Context, c Command) Transcript {
	out, errs := &capped{max: c.maxOut()}, &capped{max: c.maxOut()}
	t := h.readInto(ctx, c, nil, out, errs)
	t.Stdout, t.StdoutSize = out.taken()
	t.Stderr, t.StderrSize = errs.taken()
	return t
}

// readInto is read with a standard input (nil: /dev/null) and with the outputs where the caller wants them.
func (h *Host) readInto(ctx context.Context, c Command, stdin *os.File, out, errs io.Writer) Transcript {
	t := Transcript{Argv: c.Argv, Started: time.Now(), Exit: -1}
	if why := h.refuses(ctx); why != "" {
		t.Failure = why
		return t
	}
	g, err := startGroup(c, stdin)
	if err != nil {
		t.Failure = notStarted(err)
		return t
	}
	t.PID, t.Started = g.pid(), g.started
	copied := g.copyTo(out, errs)

	limit := time.NewTimer(c.timeout())
	defer limit.Stop()
	select {
	case <-g.exited:
		g.settle(copied, linger)
		t.ended(g.reap())
	case <-limit.C:
		t.TimedOut = true
		h.cut(g, copied, &t, noAnswer(c.timeout()))
	case <-ctx.Done():
		t.TimedOut = errors.Is(ctx.Err(), context.DeadlineExceeded)
		h.cut(g, copied, &t, "killed: "+context.Cause(ctx).Error())
	}
	g.closePipes()
	t.Took = time.Since(t.Started)
	return t
}

// cut kills the group and takes its end, or abandons it.
func (h *Host) cut(g *group, copied <-chan struct{}, t *Transcript, why string) {
	t.Failure = why
	g.kill()
	if !g.ended(mercy) {
		t.Abandoned = true
		t.Failure += ", and it does not end when killed"
		h.abandon(g)
		g.closePipes()
		<-copied
		return
	}
	g.settle(copied, 0)
	t.ended(g.reap())
}

// refuses says why a reading command is not even started.
func (h *Host) refuses(ctx context.Context) string {
	if ctx.Err() != nil {
		return "not started: " + context.Cause(ctx).Error()
	}
	if n := h.stuck.len(); n >= maxStuck {
		return fmt.Sprintf("not started: %d earlier commands do not end even when killed; see what this host's disks do", n)
	}
	return ""
}

// ended enters how the process ended.
func (t *Transcript) ended(e ending) {
	t.Exit, t.Signal = e.exit, e.signal
	if t.Failure == "" {
		t.Failure = e.why
	}
}

func notStarted(err error) string { return "not started: " + err.Error() }

func noAnswer(limit time.Duration) string { return "no answer within " + limit.String() }

package hostexec

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// maxLine bounds one line of a stream; what is longer is cut, and the rest of the line dropped.
const maxLine = 64 << 10

// Stream runs a long-lived command that only reads, and calls line with each line of its standard output, without its
// newline, at most 64 KiB of it; the bytes are valid only during the call. It returns when the command ends (nil when it
// exited 0, else an *ExitError), when line returns an error (that error, wrapped), or when ctx ends (its cause, wrapped);
// in the latter two cases the command is killed with its whole process group. Command.Timeout is not used.
func (h *Host) Stream(ctx context.Context, c Command, line func([]byte) error) error {
	t := Transcript{Argv: c.Argv, Started: time.Now(), Exit: -1}
	defer func() { h.metrics.count("stream", t) }()
	if why := h.refuses(ctx); why != "" {
		t.Failure = why
		return t.Err()
	}
	g, err := startGroup(c, nil)
	if err != nil {
		t.Failure = notStarted(err)
		return t.Err()
	}
	t.PID, t.Started = g.pid(), g.started
	lines, errs := &liner{each: line, failed: make(chan struct{})}, &capped{max: c.maxOut()}
	copied := g.copyTo(lines, errs)
	select {
	case <-g.exited:
		g.settle(copied, linger)
		t.ended(g.reap())
	case <-lines.failed:
		h.cut(g, copied, &t, "killed: its reader failed")
	case <-ctx.Done():
		h.cut(g, copied, &t, "killed: "+context.Cause(ctx).Error())
	}
	g.closePipes()
	t.Took = time.Since(t.Started)
	t.Stderr, t.StderrSize = errs.taken()
	lines.flush()
	switch {
	case lines.err != nil:
		return fmt.Errorf("read the lines of %q: %w", c.Argv[0], lines.err)
	case ctx.Err() != nil:
		return fmt.Errorf("follow %q: %w", c.Argv[0], context.Cause(ctx))
	}
	return t.Err()
}

// liner cuts what is written to it into lines.
type liner struct {
	each    func([]byte) error
	partial []byte // of a line whose end has not come, at most maxLine
	err     error
	failed  chan struct{} // closed when each returned an error
}

// Write hands over every complete line. It fails only after each did.
func (l *liner) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, complete := bytes.Cut(rest, []byte{'\n'})
		l.partial = append(l.partial, line[:min(len(line), maxLine-len(l.partial))]...)
		if complete && l.hand() != nil {
			return 0, l.err
		}
		rest = after
	}
	return len(p), nil
}

// flush hands over a last line that has no newline.
func (l *liner) flush() {
	if len(l.partial) > 0 && l.err == nil {
		_ = l.hand()
	}
}

func (l *liner) hand() error {
	l.err = l.each(l.partial)
	l.partial = l.partial[:0]
	if l.err != nil {
		close(l.failed)
	}
	return l.err
}

package hostexec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A session is one script for the other host's shell.
//
// What ssh's exit code means cannot be told by itself: 255 may be the command's or ssh's own. So the script frames what it
// prints by lines with a number that nobody can know, the last of which carries the exit code, and ends with 0. Only with
// both frames, and with exit 0 of ssh, it is known what came of it. What a .bashrc prints comes before the first frame and
// is dropped.
type session struct {
	argv  []string // for the transcript
	body  string   // leaves the exit code in $r, and in $sizes, if it likes, the true sizes of both outputs
	limit time.Duration
	max   int // bytes kept of each output
}

// maxFrame is how far from the end of the output the last frame is looked for: something that was left running may go on
// printing behind it.
const maxFrame = 4 << 10

// doubtAfter is how long a session may not even begin before the connection itself is taken as dead.
const doubtAfter = 5 * time.Second

// A reach is how far a session came.
type reach int

const (
	nowhere reach = iota // certainly nothing of it reached the other host
	unheard              // nothing came back: it may have begun, or not
	begun                // it began
)

// session runs one.
func (r *Remote) session(ctx context.Context, places chan struct{}, s session) (t Transcript, came reach) {
	t = Transcript{Argv: s.argv, Remote: r.to.Target, Started: time.Now(), Exit: -1}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, errSlow{s.limit})
	defer cancel()
	defer func() { t.Took = time.Since(t.Started) }()
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		t.late(ctx, "not started, others are at work: ")
		return t, nowhere
	}
	m, err := r.connect(ctx)
	if err != nil {
		t.late(ctx, "")
		t.Failure = err.Error()
		return t, nowhere
	}
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce) // never fails: crypto/rand
	mark := "atalaya-" + hex.EncodeToString(nonce)
	in, err := memfile("script")
	if err == nil {
		defer in.Close()
		if _, err = in.WriteString(framed(s.body, mark)); err == nil {
			_, err = in.Seek(0, 0)
		}
	}
	if err != nil {
		t.Failure = notStarted(err)
		return t, nowhere
	}
	out, errs := &capped{max: s.max + maxFrame, keep: maxFrame}, &capped{max: s.max}
	// Without its master the client would make a connection of its own: it is kept from that.
	argv := append(r.options(m.socket), "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--", r.to.Target, "/bin/sh")
	local := r.host.readInto(ctx, Command{Argv: argv, Timeout: s.limit + time.Minute}, in, out, errs)
	t.Stderr, t.StderrSize = errs.taken()
	if came = unheard; t.take(out, mark, s.max) {
		came = begun
	}
	switch {
	case ctx.Err() != nil:
		t.Exit = -1
		t.late(ctx, "")
		if came == unheard && time.Since(t.Started) > doubtAfter {
			m.end()
		}
	case local.Exit != 0 || t.Exit < 0:
		t.Exit = -1
		t.Failure = r.lost(local, t, came)
	}
	return t, came
}

// An errSlow is a limit that has passed.
type errSlow struct{ limit time.Duration }

// Error says it in the words of noAnswer.
func (e errSlow) Error() string { return noAnswer(e.limit) }

// late enters that the limit passed or that the context ended.
func (t *Transcript) late(ctx context.Context, prefix string) {
	if ctx.Err() == nil {
		return
	}
	cause := context.Cause(ctx)
	if _, slow := cause.(errSlow); slow { //nolint:errorlint // it is ours, as it was given
		t.TimedOut, t.Failure = true, prefix+cause.Error()
		return
	}
	t.TimedOut = ctx.Err() == context.DeadlineExceeded
	t.Failure = prefix + "no longer waited for: " + cause.Error()
}

// lost says why nothing is known of a session.
func (r *Remote) lost(local, t Transcript, came reach) string {
	why := lastWords(t.Stderr, local.ending())
	if came == begun {
		return fmt.Sprintf("the connection to %q was lost: %s", r.to.Target, why)
	}
	if words := firstLine(t.Stdout); words != "" {
		why += ": " + words
	}
	return fmt.Sprintf("%q did not take the command: %s", r.to.Target, why)
}

// framed puts a script between its frames. It is one compound command, so that a shell runs nothing of it before it has
// all of it: a script that is cut is a syntax error. Its own standard input is the script, which no command may read.
func framed(body, mark string) string {
	return "{\nprintf '\\n%s\\n' " + mark + "\nr=255 sizes=\n" + body + "\nprintf '\\n%s %s %s\\n' " + mark + " \"$r\" \"$sizes\"\nexit 0\n}\n"
}

// take reads the frames: what stands between them is the output.
func (t *Transcript) take(out *capped, mark string, max int) (began bool) {
	data, size := out.taken()
	head := []byte("\n" + mark + "\n")
	at := bytes.Index(data, head)
	if at < 0 {
		t.Stdout, t.StdoutSize = data, size
		return false
	}
	from := int64(at + len(head))
	t.Stdout, t.StdoutSize = data[from:], size-from
	last := out.tail()
	end := bytes.LastIndex(last, []byte("\n"+mark+" "))
	if end < 0 {
		t.Stdout = t.Stdout[:min(len(t.Stdout), max)]
		return true
	}
	line, after, whole := bytes.Cut(last[end+1:], []byte("\n"))
	fields := strings.Fields(string(line))
	if code, err := strconv.Atoi(fields[min(1, len(fields)-1)]); err == nil && whole {
		t.Exit = code
	}
	t.StdoutSize -= int64(len(line) + len(after) + 2)
	t.Stdout = t.Stdout[:min(int64(len(t.Stdout)), int64(max), t.StdoutSize)]
	if len(fields) == 4 {
		t.sizes(fields[2], fields[3])
	}
	return true
}

// sizes takes the true sizes of outputs of which only the beginning was sent.
func (t *Transcript) sizes(out, err string) {
	if n, bad := strconv.ParseInt(out, 10, 64); bad == nil {
		t.StdoutSize = max(n, int64(len(t.Stdout)))
	}
	if n, bad := strconv.ParseInt(err, 10, 64); bad == nil {
		t.StderrSize = max(n, int64(len(t.Stderr)))
	}
}

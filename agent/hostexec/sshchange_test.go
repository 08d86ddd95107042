package hostexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// farOp is an operation whose trace on the "other" host, which is this one, goes with the test.
func farOp(t *testing.T) Op {
	t.Helper()
	op := Op{ID: fmt.Sprintf("test-%d", time.Now().UnixNano()), Container: "lxc:old/web1", Verb: "start"}
	t.Cleanup(func() { _ = os.RemoveAll("/run/atalaya-commands/" + op.ID) })
	return op
}

func far(script string, limit time.Duration) Command {
	return Command{Argv: []string{"sh", "-c", script}, Timeout: limit, Env: []string{"ODD=it's"}}
}

func TestSSHChange(t *testing.T) {
	t.Parallel()
	_, r := newRemote(t)
	op := farOp(t)
	tr := r.Change(t.Context(), op, far("echo \"out $ODD\"; echo err >&2; cat; ps -o sid=,ppid= -p $$ >&2; exit 255", patience))
	lines := strings.Fields(string(tr.Stderr)) // its session is that of its keeper, and not of the connection
	if tr.Exit != 255 || tr.Failure != "" || string(tr.Stdout) != "out it's\n" || len(lines) != 3 || lines[1] != lines[2] || tr.PID != 0 || tr.Remote == "" {
		t.Errorf("%+v %q %q", tr, tr.Stdout, tr.Stderr)
	}
	until(t, "its output is removed there", func() bool {
		left, _ := filepath.Glob("/run/atalaya-commands/" + op.ID + "/*")
		return len(left) > 0 && !strings.Contains(strings.Join(left, " "), "/out")
	})
	empty(t, r.folder.dir)
	if left := r.host.Unfinished(); len(left) != 0 {
		t.Errorf("unfinished: %+v", left)
	}
	if tr := r.Change(t.Context(), op, far("echo twice", patience)); tr.Exit != -1 || !strings.HasPrefix(tr.Failure, "not started: another command has its name") {
		t.Errorf("the same operation again: %+v %q", tr, tr.Stdout)
	}
	big := farOp(t)
	if tr := r.Change(t.Context(), big, Command{Argv: []string{"sh", "-c", "head -c 300000 /dev/zero; exit 2"}, MaxOut: 100}); tr.Exit != 2 || len(tr.Stdout) != 100 || tr.StdoutSize != 300000 {
		t.Errorf("a flood: %+v", tr)
	}
	if tr := r.Change(t.Context(), farOp(t), Command{Argv: []string{"no-such-tool"}}); tr.Exit != 127 {
		t.Errorf("a tool that is not there: %+v %q", tr, tr.Stderr)
	}
	if tr := r.Change(t.Context(), farOp(t), Command{Argv: []string{"true"}, Dir: "/no/such"}); tr.OK() || tr.Exit < 0 {
		t.Errorf("a folder that is not there: %+v %q", tr, tr.Stderr)
	}
}

// The connection is cut in the middle: the command goes on, and its end is known.
func TestSSHChangeOutlivesConnection(t *testing.T) {
	t.Parallel()
	d, r := newRemote(t)
	dir, op := t.TempDir(), farOp(t)
	done := make(chan Transcript, 1)
	go func() {
		done <- r.Change(t.Context(), op, far(fmt.Sprintf("echo begun >>%[1]s/begun; until [ -e %[1]s/go ]; do sleep 0.05; done; echo out; exit 5", dir), patience))
	}()
	until(t, "it runs", func() bool { _, err := os.Stat(dir + "/begun"); return err == nil })
	d.Stop()
	d.Cut()
	if left := r.host.Unfinished(); len(left) != 1 || left[0].Remote != d.Target() || left[0].PID != 0 || left[0].Op != op {
		t.Errorf("unfinished: %+v", left)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it has ended over there", func() bool { _, err := os.Stat("/run/atalaya-commands/" + op.ID + "/exit"); return err == nil })
	select {
	case tr := <-done:
		t.Fatalf("known without a connection: %+v", tr)
	default:
	}
	d.Start()
	tr := <-done
	if tr.Exit != 5 || string(tr.Stdout) != "out\n" || tr.Failure != "" {
		t.Errorf("%+v %q", tr, tr.Stdout)
	}
	if begun := string(mustRead(t, dir+"/begun")); begun != "begun\n" {
		t.Errorf("it was begun more than once: %q", begun)
	}
}

// A command whose order was lost is not begun by a word that comes late.
func TestSSHChangeNeverTwice(t *testing.T) {
	t.Parallel()
	d, r := newRemote(t)
	op, dir := farOp(t), t.TempDir()
	c := far("echo begun >>"+dir+"/begun", patience)
	ask := func(body string) Transcript {
		tr, _ := r.session(t.Context(), r.works, session{argv: c.Argv, body: body, limit: patience, max: 1000})
		return tr
	}
	if tr := ask(askScript(op.ID, 1000)); tr.Exit != farNever {
		t.Fatalf("%+v %q", tr, tr.Stderr)
	}
	if tr := ask(launchScript(op.ID, c)); tr.Exit != farTaken {
		t.Fatalf("%+v %q", tr, tr.Stderr)
	}
	if _, err := os.Stat(dir + "/begun"); err == nil {
		t.Error("it was begun after it was given up")
	}
	// nothing reaches the host: nothing was begun, and that is certain at once
	d.Stop()
	d.Cut()
	until(t, "no connection", func() bool { return r.sh(t, ":").Failure != "" })
	tr := r.Change(t.Context(), farOp(t), c)
	if tr.Exit != -1 || tr.Abandoned || !strings.HasPrefix(tr.Failure, "not started: no connection to") {
		t.Errorf("%+v", tr)
	}
	empty(t, r.folder.dir)
}

// Past its limit it is asked to end, and never more.
func TestSSHChangeLimit(t *testing.T) {
	t.Parallel()
	_, r := newRemote(t)
	r.sh(t, ":")
	dir := t.TempDir()
	tr := r.Change(t.Context(), farOp(t), far("trap 'echo asked; exit 9' TERM; while :; do sleep 0.05; done", 2*time.Second))
	if tr.Exit != 9 || !tr.TimedOut || string(tr.Stdout) != "asked\n" {
		t.Errorf("%+v %q", tr, tr.Stdout)
	}
	op := farOp(t)
	tr = r.Change(t.Context(), op, far("trap '' TERM; until [ -e "+dir+"/go ]; do sleep 0.05; done; exit 4", 2*time.Second))
	if tr.Exit != -1 || !tr.TimedOut || !tr.Abandoned || tr.Failure != "no answer within 2s; it may go on" {
		t.Errorf("%+v", tr)
	}
	left := r.host.Unfinished()
	if len(left) != 1 {
		t.Fatalf("unfinished: %+v", left)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if tr := r.host.Await(t.Context(), left[0]); tr.Exit != 4 {
		t.Errorf("awaited: %+v", tr)
	}
	if left := r.host.Unfinished(); len(left) != 0 {
		t.Errorf("unfinished: %+v", left)
	}
}

// An agent that ends leaves the command alone, and its successor finds it and its end.
func TestSSHChangeSuccessor(t *testing.T) {
	t.Parallel()
	d, first := newRemote(t)
	dir, op := t.TempDir(), farOp(t)
	done := make(chan Transcript, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		done <- first.Change(ctx, op, far(fmt.Sprintf(": >%[1]s/begun; until [ -e %[1]s/go ]; do sleep 0.05; done; exit 6", dir), patience))
	}()
	until(t, "it runs", func() bool { _, err := os.Stat(dir + "/begun"); return err == nil })
	cancel(errors.New("the test says so"))
	if tr := <-done; !tr.Abandoned || tr.Exit != -1 || !strings.Contains(tr.Failure, "the test says so") {
		t.Errorf("%+v", tr)
	}
	first.host.Close()
	if d.Established() != 0 {
		until(t, "its connection is gone", func() bool { return d.Established() == 0 })
	}
	if tr := first.sh(t, ":"); tr.Failure == "" {
		t.Error("a closed one runs commands")
	}
	h := New(Options{Dir: first.host.folder.dir, Place: PlaceDirect})
	t.Cleanup(h.Close)
	second, err := h.Remote(SSH{Target: d.Target(), Config: d.Config()})
	if err != nil {
		t.Fatal(err)
	}
	left := h.Unfinished()
	if len(left) != 1 || left[0].Op != op {
		t.Fatalf("unfinished: %+v", left)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if tr := h.Await(t.Context(), left[0]); tr.Exit != 6 {
		t.Errorf("awaited: %+v", tr)
	}
	empty(t, second.folder.dir)
}

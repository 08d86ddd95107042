package hostexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// Against a real sshd on loopback.

func newRemote(t *testing.T) (*rig.SSHD, *Remote) {
	t.Helper()
	rig.Require(t, "root", "ssh", "/usr/sbin/sshd", "ssh-keygen", "setsid", "timeout")
	d := rig.NewSSHD(t)
	return d, remoteOf(t, d, t.TempDir())
}

func remoteOf(t *testing.T, d *rig.SSHD, dir string) *Remote {
	t.Helper()
	h := New(Options{Dir: dir, Place: PlaceDirect})
	t.Cleanup(h.Close)
	r, err := h.Remote(SSH{Target: d.Target(), Config: d.Config()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Remote) sh(t *testing.T, script string) Transcript {
	t.Helper()
	return r.Read(t.Context(), Command{Argv: []string{"sh", "-c", script}, Timeout: 20 * time.Second})
}

// Every byte that an argument may hold arrives as it was sent, and nothing in it is carried out.
func TestSSHArguments(t *testing.T) {
	t.Parallel()
	_, r := newRemote(t)
	hostile := []string{
		"", " ", "plain", "-n", "--help", "it's", `"double"`, "two\nlines", "\n", "$(touch /tmp/atalaya-owned)", "`touch /tmp/atalaya-owned`",
		"$HOME", "${IFS}", "a;b", "a&b", "a|b", "a>b", "*", "?", "[a]", "~", "~root", "!!", "!x", `\`, `\\`, `\n`, "'", "''", `'\''`, "#x", "a=b",
		"ünïcödé", "名前", "\xff\xfe", "\t", "\r\n", "\x01\x7f", "%s%n", "{a,b}", "}", "\nexit 7\n}\n", strings.Repeat("x", 100<<10),
	}
	tr := r.Read(t.Context(), Command{Argv: append([]string{"printf", "%s\\0"}, hostile...), MaxOut: 1 << 20, Env: []string{"ODD=it's \"$(id)\"\n`id`"}})
	if err := tr.Err(); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(tr.Stdout), "\x00"), "\x00")
	if len(got) != len(hostile) {
		t.Fatalf("%d arguments arrived, not %d", len(got), len(hostile))
	}
	for i := range hostile {
		if got[i] != hostile[i] {
			t.Errorf("%q arrived as %q", hostile[i], got[i])
		}
	}
	if _, err := os.Stat("/tmp/atalaya-owned"); err == nil {
		t.Error("an argument was carried out")
	}
	env := r.Read(t.Context(), Command{Argv: []string{"env"}, Env: []string{"ODD=it's \"$(id)\"\n`id`", "PATH=/bin:/usr/bin"}, Dir: "/usr"})
	for _, want := range []string{"ODD=it's \"$(id)\"\n`id`\n", "LC_ALL=C\n", "HOME=/", "PATH=/bin:/usr/bin\n"} {
		if !strings.Contains(string(env.Stdout), want) {
			t.Errorf("the environment lacks %q: %q", want, env.Stdout)
		}
	}
	if strings.Contains(string(env.Stdout), "SSH_") {
		t.Errorf("the environment is not clean: %q", env.Stdout)
	}
}

// What came of a command is told apart from what came of ssh.
func TestSSHRead(t *testing.T) {
	t.Parallel()
	_, r := newRemote(t)
	for _, c := range []struct {
		script   string
		exit     int
		out, err string
	}{
		{"echo out; echo err >&2; exit 3", 3, "out\n", "err\n"},
		{"exit 255", 255, "", ""},
		{"printf 'no newline'", 0, "no newline", ""},
		{"cat", 0, "", ""}, // standard input is not the script
		{"kill -9 $$", 137, "", ""},
		{"pwd; echo $0", 0, "/\nsh\n", ""},
	} {
		tr := r.sh(t, c.script)
		if tr.Exit != c.exit || string(tr.Stdout) != c.out || c.err != "" && string(tr.Stderr) != c.err || tr.Failure != "" || tr.Remote != "root@127.0.0.1" || tr.PID != 0 {
			t.Errorf("%q: %+v, stdout %q, stderr %q", c.script, tr, tr.Stdout, tr.Stderr)
		}
		if tr.StdoutSize != int64(len(c.out)) {
			t.Errorf("%q: printed %d bytes", c.script, tr.StdoutSize)
		}
	}
	if tr := r.Read(t.Context(), Command{Argv: []string{"no-such-tool"}}); tr.Exit != 127 || !strings.Contains(tr.Err().Error(), "no-such-tool") {
		t.Errorf("a tool that is not there: %+v %q", tr, tr.Stderr)
	}
	big := r.Read(t.Context(), Command{Argv: []string{"sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 500000 /dev/zero >&2; exit 4"}, MaxOut: 1000})
	if big.Exit != 4 || len(big.Stdout) != 1000 || big.StdoutSize != 3000000 || len(big.Stderr) != 1000 || big.StderrSize != 500000 {
		t.Errorf("a flood: exit %d, %d of %d, %d of %d, %s", big.Exit, len(big.Stdout), big.StdoutSize, len(big.Stderr), big.StderrSize, big.Failure)
	}
	for _, argv := range [][]string{nil, {""}, {"-x"}, {"a=b"}, {"bin/x"}, {"a", "b\x00c"}} {
		if tr := r.Read(t.Context(), Command{Argv: argv}); tr.Exit != -1 || !strings.HasPrefix(tr.Failure, "not started: ") {
			t.Errorf("%q: %+v", argv, tr)
		}
	}
	if text := r.sh(t, "exit 1").Text(); !strings.Contains(text, ", on root@127.0.0.1 by ssh") {
		t.Errorf("the transcript does not say where: %s", text)
	}
}

// A command past its limit is ended here, and over there.
func TestSSHReadLimit(t *testing.T) {
	t.Parallel()
	_, r := newRemote(t)
	r.sh(t, ":")
	file := filepath.Join(t.TempDir(), "pid")
	tr := r.Read(t.Context(), Command{Argv: []string{"sh", "-c", "echo $$ >" + file + "; exec sleep 1000"}, Timeout: 5 * time.Second})
	if !tr.TimedOut || tr.Exit != -1 || tr.Failure != "no answer within 5s" {
		t.Errorf("%+v", tr)
	}
	pid := strings.TrimSpace(string(mustRead(t, file)))
	until(t, "the command over there has ended", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tr := r.Read(ctx, Command{Argv: []string{"true"}}); tr.Exit != -1 || tr.Failure == "" {
		t.Errorf("an ended context: %+v", tr)
	}
}

// All commands share one connection, and a new one is made when it was cut; meanwhile nothing is known.
func TestSSHOneConnection(t *testing.T) {
	t.Parallel()
	d, r := newRemote(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if tr := r.Read(t.Context(), Command{Argv: []string{"echo", fmt.Sprint(i)}}); string(tr.Stdout) != fmt.Sprintln(i) {
				t.Errorf("%+v %q", tr, tr.Stderr)
			}
		})
	}
	wg.Wait()
	if d.Logins() != 1 || d.Established() != 1 {
		t.Errorf("%d logins, %d connections", d.Logins(), d.Established())
	}
	// cut while a command runs: no exit code is made up
	lost := make(chan Transcript, 1)
	mark := filepath.Join(t.TempDir(), "runs")
	go func() { lost <- r.sh(t, "echo half; : >"+mark+"; sleep 3; echo whole") }()
	until(t, "it runs", func() bool { _, err := os.Stat(mark); return err == nil })
	d.Cut()
	if tr := <-lost; tr.Exit != -1 || !strings.Contains(tr.Failure, "the connection to \"root@127.0.0.1\" was lost") {
		t.Errorf("cut in the middle: %+v %q", tr, tr.Stdout)
	}
	if tr := r.sh(t, "echo again"); string(tr.Stdout) != "again\n" {
		t.Errorf("after the cut: %+v %q", tr, tr.Stderr)
	}
	// our own end of it
	r.mu.Lock()
	pid := r.master.g.pid()
	r.mu.Unlock()
	kill9(t, pid)
	if tr := r.sh(t, "echo again"); string(tr.Stdout) != "again\n" {
		t.Errorf("after the end of our own side: %+v %q", tr, tr.Stderr)
	}
	if d.Logins() != 3 || d.Established() != 1 {
		t.Errorf("%d logins, %d connections", d.Logins(), d.Established())
	}
	// nobody there
	d.Stop()
	d.Cut()
	tr := r.sh(t, "echo never")
	if tr.Exit != -1 || tr.Failure == "" {
		t.Errorf("nobody there: %+v", tr)
	}
	until(t, "the refusal is told", func() bool {
		return strings.Contains(r.sh(t, ":").Failure, "onnection refused")
	})
	d.Start()
	until(t, "it recovers", func() bool { return r.sh(t, "echo again").OK() })
}

// A connection that swallows everything is given up.
func TestSSHHungConnection(t *testing.T) {
	t.Parallel()
	d, r := newRemote(t)
	if tr := r.sh(t, ":"); !tr.OK() {
		t.Fatalf("%+v", tr)
	}
	r.mu.Lock()
	m := r.master
	r.mu.Unlock()
	d.Hang()
	began := time.Now()
	tr := r.Read(t.Context(), Command{Argv: []string{"true"}, Timeout: 6 * time.Second})
	if !tr.TimedOut || time.Since(began) > 8*time.Second {
		t.Errorf("%+v after %v", tr, time.Since(began))
	}
	select {
	case <-m.over:
	case <-time.After(5 * time.Second): // ssh's own ServerAlive takes 15 s from the last word
		t.Error("the hung connection is kept")
	}
	until(t, "another connection is made", func() bool { return r.sh(t, ":").OK() })
	d.Wake()
}

// An unknown host key, a key that is refused: errors that say so, and nobody is asked.
func TestSSHRefusals(t *testing.T) {
	t.Parallel()
	d, r := newRemote(t)
	d.ForgetHostKey()
	if tr := r.sh(t, ":"); !strings.Contains(tr.Failure, "Host key verification failed") {
		t.Errorf("an unknown host: %+v", tr)
	}
	d, r = newRemote(t)
	d.ForgetUserKey()
	if tr := r.sh(t, ":"); !strings.Contains(tr.Failure, "Permission denied") {
		t.Errorf("a refused key: %+v", tr)
	}
	for _, bad := range []string{"", "-oProxyCommand=id", "root@-x", "a b", "root@host;id", "root@$(id)", "h\n", "ssh://u@h:22/x"} {
		if _, err := r.host.Remote(SSH{Target: bad}); err == nil {
			t.Errorf("%q is a target", bad)
		}
	}
	for _, good := range []string{"root@h", "h", "h.example.org", "ssh://root@h:2222", "u-1.x@10.0.0.1", "root@2001:db8::1", "ssh://root@[2001:db8::1]:22"} {
		if err := CheckTarget(good); err != nil {
			t.Error(err)
		}
	}
	if err := r.Stream(t.Context(), Command{Argv: []string{"true"}}, nil); err == nil {
		t.Error("it follows")
	}
}

package hostexec

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is far beyond what anything here takes, for a machine that does much else.
const patience = 30 * time.Second

func TestRead(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("echo hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		c       Command
		exit    int
		out     string
		failure string // a part of it; empty: none
	}{
		"it exits 0":                {c: Command{Argv: []string{"echo", "hi"}}, out: "hi\n"},
		"it exits 3":                {c: Command{Argv: []string{"sh", "-c", "echo no >&2; exit 3"}}, exit: 3},
		"it is killed by another":   {c: Command{Argv: []string{"sh", "-c", "kill -9 $$"}}, exit: -1},
		"the command is missing":    {c: Command{Argv: []string{"no-such-command"}}, exit: -1, failure: `"no-such-command": executable file not found in /usr/local/sbin:`},
		"the file is missing":       {c: Command{Argv: []string{"/no/such"}}, exit: -1, failure: `"/no/such": executable file not found`},
		"it is not executable":      {c: Command{Argv: []string{plain}}, exit: -1, failure: "permission denied (no execute bit)"},
		"it is a folder":            {c: Command{Argv: []string{"/usr"}}, exit: -1, failure: "is a directory"},
		"a relative path":           {c: Command{Argv: []string{"bin/ls"}}, exit: -1, failure: "relative path"},
		"no command":                {c: Command{}, exit: -1, failure: "no command given"},
		"a NUL byte":                {c: Command{Argv: []string{"echo", "a\x00b"}}, exit: -1, failure: "NUL byte"},
		"the folder is missing":     {c: Command{Argv: []string{"true"}, Dir: "/no/such"}, exit: -1, failure: "no such file or directory"},
		"garbage comes through":     {c: Command{Argv: []string{"cat", garbage}}, out: string(noise)},
		"standard input is empty":   {c: Command{Argv: []string{"cat"}}},
		"arguments are not touched": {c: Command{Argv: []string{"printf", "%s|", "a b", `$HOME "q" 'r'`, "-x\n"}}, out: "a b|$HOME \"q\" 'r'|-x\n|"},
		"its own folder and words":  {c: Command{Argv: []string{"sh", "-c", "pwd; echo $LC_ALL $X"}, Dir: "/usr", Env: []string{"X=1", "X=2"}}, out: "/usr\nC 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.Read(t.Context(), tt.c)
			if got.Exit != tt.exit || string(got.Stdout) != tt.out {
				t.Errorf("exit %d, out %.80q; want %d, %.80q\n%s", got.Exit, got.Stdout, tt.exit, tt.out, got.Text())
			}
			if tt.failure == "" && got.Failure != "" || !strings.Contains(got.Failure, tt.failure) {
				t.Errorf("failure %q, want %q", got.Failure, tt.failure)
			}
			if (got.Err() == nil) != (tt.exit == 0) {
				t.Errorf("error: %v", got.Err())
			}
		})
	}
}

func TestReadKeepsTheTrueSize(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	const size = 100 << 20
	got := h.Read(t.Context(), Command{Argv: []string{"sh", "-c", "head -c 104857600 /dev/zero; head -c 300000 /dev/zero >&2; exit 4"}, Timeout: patience})
	if got.Exit != 4 || got.StdoutSize != size || len(got.Stdout) != DefaultMaxOut || got.StderrSize != 300000 || len(got.Stderr) != DefaultMaxOut {
		t.Errorf("exit %d, %d of %d bytes out, %d of %d err", got.Exit, len(got.Stdout), got.StdoutSize, len(got.Stderr), got.StderrSize)
	}
	if cap(got.Stdout) > 2*DefaultMaxOut {
		t.Errorf("%d bytes are held for %d", cap(got.Stdout), len(got.Stdout))
	}
	got = h.Read(t.Context(), Command{Argv: []string{"echo", "hello"}, MaxOut: 2})
	if string(got.Stdout) != "he" || got.StdoutSize != 6 {
		t.Errorf("out %q of %d", got.Stdout, got.StdoutSize)
	}
}

func TestReadKillsTheWholeGroup(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	for name, script := range map[string]string{
		"it hangs with grandchildren": `sleep 1234 & echo $!; echo $$; wait`,
		"it ignores SIGTERM":          `trap '' TERM HUP INT; sleep 1234 & echo $!; echo $$; while :; do wait; done`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.Read(t.Context(), Command{Argv: []string{"sh", "-c", script}, Timeout: 300 * time.Millisecond})
			if !got.TimedOut || got.Abandoned || got.Exit != -1 || got.Signal != "SIGKILL" || got.Failure != "no answer within 300ms" {
				t.Errorf("%+v", got)
			}
			gone(t, string(got.Stdout), 2)
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		got := h.Read(ctx, Command{Argv: []string{"sh", "-c", "sleep 1234 & echo $!; wait"}})
		if !got.TimedOut || got.Signal != "SIGKILL" || !strings.Contains(got.Failure, "context deadline exceeded") {
			t.Errorf("%+v", got)
		}
		gone(t, string(got.Stdout), 1)
	})
}

// A grandchild that keeps the pipe open is cut off: killed where it is still of the group, left where it went away.
func TestReadDoesNotWaitForGrandchildren(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	for name, script := range map[string]string{
		"in the group": `sleep 1234 & echo $!`,
		"gone away":    `setsid sleep 15 & echo $!`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.Read(t.Context(), Command{Argv: []string{"sh", "-c", script}})
			if !got.OK() || got.Took > 10*time.Second || len(got.Stdout) == 0 {
				t.Errorf("took %v: %s", got.Took, got.Text())
			}
			if name == "in the group" {
				gone(t, string(got.Stdout), 1)
			}
		})
	}
}

func TestReadIsNotStartedForNobody(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := New(Options{})
	for _, got := range []Transcript{
		h.Read(ctx, Command{Argv: []string{"touch", mark}}),
		h.Change(ctx, Op{ID: "1"}, Command{Argv: []string{"touch", mark}}),
	} {
		if got.PID != 0 || got.Exit != -1 || got.Failure != "not started: context canceled" {
			t.Errorf("%+v", got)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was started")
	}
}

// The agent itself is short of descriptors: the command fails with words, and the agent lives.
func TestReadWithoutDescriptors(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("prlimit", "--nofile=8:8", "--", self(t), "true")
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=read")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("too many open files")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// The kernel refuses the fork.
func TestReadWithoutProcesses(t *testing.T) {
	t.Parallel()
	need(t, "root")
	dir := t.TempDir()
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(dir, "agent")
	b, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o755); err != nil {
		t.Fatal(err)
	}
	// A user of its own, so that the count of its processes is ours alone: the Go runtime's threads are in it.
	cmd := exec.Command("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", copied)
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=nproc")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("resource temporarily unavailable")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRefusesToPileUpStuckChildren(t *testing.T) {
	t.Parallel()
	h := New(Options{})
	for range maxStuck {
		h.stuck.add(&group{cmd: &exec.Cmd{Process: &os.Process{Pid: 1}}})
	}
	if got := h.Read(t.Context(), Command{Argv: []string{"true"}}); !strings.Contains(got.Failure, "not started: 64 earlier commands") {
		t.Errorf("%+v", got)
	}
}

// An agent that is killed takes what it only reads with along: nobody would ever end it.
func TestReadEndsWithTheAgent(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	agent := exec.Command(self(t), file)
	agent.Args[0], agent.Env = "agent", append(os.Environ(), "HOSTEXEC_ROLE=hang")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid []byte
	until(t, "the command runs", func() bool { pid, _ = os.ReadFile(file); return len(bytes.TrimSpace(pid)) > 0 })
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // killed, by us
	gone(t, string(pid), 1)
}

// The OOM adjustment of the agent is not that of what it reads with, which may be a command in a customer's container.
func TestReadHasNoOOMAdjustment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "echo 300 > /proc/self/oom_score_adj && exec \"$0\" \"$@\"", self(t), "sh", "-c", "sleep 0.2; cat /proc/self/oom_score_adj")
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=read")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got Transcript
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if string(got.Stdout) != "0\n" {
		t.Errorf("%s", got.Text())
	}
}

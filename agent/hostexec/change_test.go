package hostexec

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(id string) Op { return Op{ID: id, Container: "lxc/web1", Verb: "start"} }

func sh(script string) Command { return Command{Argv: []string{"sh", "-c", script}, Timeout: patience} }

// empty checks that nothing is left on record.
func empty(t *testing.T, dir string) {
	t.Helper()
	until(t, "no record left in "+dir, func() bool {
		left, _ := os.ReadDir(dir)
		return len(left) == 0
	})
}

func TestChange(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ops")
	h := New(Options{Dir: dir, Place: PlaceDirect})
	got := h.Change(t.Context(), start("i1-a1"), sh("echo out; echo err >&2; exit 7"))
	if got.Exit != 7 || string(got.Stdout) != "out\n" || string(got.Stderr) != "err\n" || got.PID == 0 || got.OK() {
		t.Errorf("%+v", got)
	}
	empty(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
	got = h.Change(t.Context(), start("i1-a1"), sh("kill -9 $$"))
	if got.Exit != -1 || got.Signal != "SIGKILL" {
		t.Errorf("the same ID again, after the first has ended: %+v", got)
	}
	for _, c := range []Command{{Argv: []string{"no-such-command"}}, {Argv: []string{"true"}, Dir: "/no/such"}} {
		if got := h.Change(t.Context(), start("i1-a2"), c); !strings.HasPrefix(got.Failure, "not started: ") || got.PID != 0 {
			t.Errorf("%+v", got)
		}
	}
	if got := h.Change(t.Context(), Op{}, sh("true")); got.Failure != "not started: the operation has no ID" {
		t.Errorf("%+v", got)
	}
	empty(t, dir)
	if left := h.Unfinished(); len(left) != 0 {
		t.Errorf("unfinished: %+v", left)
	}
}

// While it runs, the command is on record: who, since when, with which process, in files that only root reads.
func TestChangeIsOnRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := New(Options{Dir: dir, Place: PlaceDirect})
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	result := make(chan Transcript, 1)
	op := start("Ops/../1 é")
	go func() { result <- h.Change(t.Context(), op, sh("read x < "+fifo)) }()
	until(t, "it runs", func() bool { u := h.Unfinished(); return len(u) == 1 && u[0].PID != 0 })
	p := h.Unfinished()[0]
	var r record
	until(t, "its record is complete", func() bool {
		rs := folder{dir}.list()
		if len(rs) == 1 {
			r = rs[0]
		}
		return r.PID != 0
	})
	if r.PID != p.PID || r.Start != p.Start || r.Start == 0 || r.Op != op || p.Op != op || r.Boot != bootID() || len(r.Command) != 3 {
		t.Errorf("record %+v of %+v", r, p)
	}
	for _, suffix := range []string{".json", ".out", ".err"} {
		if info, err := os.Stat(filepath.Join(dir, r.name+suffix)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("file %s: %v", suffix, err)
		}
	}
	if sid, _ := unix.Getsid(p.PID); sid != p.PID {
		t.Errorf("session %d of %d: it would get our terminal's signals", sid, p.PID)
	}
	if again := h.Change(t.Context(), op, sh("true")); !strings.Contains(again.Failure, "is still under way") {
		t.Errorf("the same operation twice: %+v", again)
	}
	write(t, fifo)
	if got := <-result; !got.OK() {
		t.Error(got.Text())
	}
	empty(t, dir)
}

// write lets a command go on that reads a line from the fifo.
func write(t *testing.T, fifo string) {
	t.Helper()
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestChangePastItsLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := New(Options{Dir: dir, Place: PlaceDirect})
	t.Run("it heeds SIGTERM", func(t *testing.T) {
		c := sh("trap 'echo asked; exit 5' TERM; while :; do sleep 0.05; done")
		c.Timeout = 300 * time.Millisecond
		got := h.Change(t.Context(), start("heeds"), c)
		if got.Exit != 5 || !got.TimedOut || got.Abandoned || string(got.Stdout) != "asked\n" || got.OK() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("it does not: it is left, listed, awaited, never killed", func(t *testing.T) {
		fifo := filepath.Join(t.TempDir(), "go")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		c := sh("trap '' TERM; echo early; read x < " + fifo + "; echo late; exit 6")
		c.Timeout = 300 * time.Millisecond
		got := h.Change(t.Context(), start("stays"), c)
		if got.Exit != -1 || !got.TimedOut || !got.Abandoned || string(got.Stdout) != "early\n" || got.Failure != "no answer within 300ms, nor to SIGTERM; it goes on" {
			t.Errorf("%+v", got)
		}
		left := h.Unfinished()
		if len(left) != 1 || left[0].Op != start("stays") || left[0].PID != got.PID {
			t.Fatalf("unfinished: %+v", left)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := h.Await(ctx, left[0]); !got.Abandoned {
			t.Errorf("awaited in vain: %+v", got)
		}
		write(t, fifo)
		if got := h.Await(t.Context(), left[0]); got.Exit != 6 || string(got.Stdout) != "early\nlate\n" || !got.TimedOut {
			t.Errorf("%+v", got)
		}
		if left := h.Unfinished(); len(left) != 0 {
			t.Errorf("unfinished: %+v", left)
		}
	})
	empty(t, dir)
}

// The caller goes away; the command does not notice, and whoever asks later gets its ending.
func TestChangeOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := New(Options{Dir: dir, Place: PlaceDirect})
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	got := h.Change(ctx, start("1"), sh("read x < "+fifo+"; echo well; exit 2"))
	if !got.Abandoned || got.TimedOut || got.Failure != "no longer waited for: context canceled; it goes on" {
		t.Errorf("%+v", got)
	}
	p := h.Unfinished()
	write(t, fifo)
	until(t, "it ends", func() bool { return len(h.Unfinished()) == 0 })
	if got := h.Await(t.Context(), p[0]); got.Exit != 2 || string(got.Stdout) != "well\n" {
		t.Errorf("awaited after its end: %+v", got)
	}
	if got := h.Await(t.Context(), p[0]); got.Exit != -1 || got.Failure == "" {
		t.Errorf("awaited twice: %+v", got)
	}
}

// Without a folder that can be written, a customer is not kept down: it runs, from memory, and the log says so.
func TestChangeWithoutRecords(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for dir, said := range map[string]bool{file: true, filepath.Join(file, "below"): true, "": false} {
		log.Reset()
		h := New(Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), Place: PlaceDirect})
		got := h.Change(t.Context(), start("1"), sh("echo out; exit 3"))
		if got.Exit != 3 || string(got.Stdout) != "out\n" {
			t.Errorf("in %q: %+v", dir, got)
		}
		if strings.Contains(log.String(), "is not on record") != said {
			t.Errorf("in %q, log: %s", dir, log.String())
		}
	}
}

// A flood of output is counted, not kept: not in memory, and not in the folder, which may be in memory too.
func TestChangeFloods(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := New(Options{Dir: dir, Place: PlaceDirect})
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	result := make(chan Transcript, 1)
	go func() {
		result <- h.Change(t.Context(), start("1"), sh("echo first; head -c 104857600 /dev/zero; read x < "+fifo+"; echo last"))
	}()
	out := filepath.Join(dir, "1.out")
	until(t, "it has written, and that is freed", func() bool {
		info, err := os.Stat(out)
		var held unix.Stat_t
		return err == nil && info.Size() == 6+100<<20 && unix.Stat(out, &held) == nil && held.Blocks*512 < 1<<20
	})
	write(t, fifo)
	got := <-result
	if got.StdoutSize != 6+5+100<<20 || len(got.Stdout) != DefaultMaxOut || !bytes.HasPrefix(got.Stdout, []byte("first\n\x00")) {
		t.Errorf("%d of %d bytes, %.20q", len(got.Stdout), got.StdoutSize, got.Stdout)
	}
}

// From a parent with a mask, a priority, an OOM adjustment and a closed standard input of its own.
func TestChangeInheritsNothing(t *testing.T) {
	t.Parallel()
	need(t, "root")
	script := `umask 077; echo 300 > /proc/self/oom_score_adj; ulimit -S -n 777; exec nice -n 5 "$0" "$@" <&-`
	cmd := exec.Command("sh", "-c", script, self(t), t.TempDir(), string(PlaceDirect), "op", "sh", "-c",
		// The OOM adjustment is reset when the child is there already.
		`until [ "$(cat /proc/$$/oom_score_adj)" = 0 ]; do sleep 0.01; done; HOSTEXEC_ROLE=look "$0"; exit $?`, self(t))
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=change", "SECRET=1", "LC_ALL=de_DE")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got Transcript
	var in inherited
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got.Stdout, &in); err != nil {
		t.Fatalf("%v: %s", err, got.Text())
	}
	if in.Status["Umask"] != "0022" || in.Nice != 0 || in.OOM != "0" || in.Stdin != "/dev/null" || !in.Session || in.Dir != "/" {
		t.Errorf("%+v", in)
	}
	if soft, _, _ := strings.Cut(in.Limits["Max open files"], " "); soft != "777" {
		t.Errorf("open files %q: Go's own raised limit got through", soft)
	}
	env := strings.Join(in.Env, "\n")
	if strings.Contains(env, "SECRET") || !strings.Contains(env, "LC_ALL=C\n") || !strings.Contains(env, "HOME=/root") {
		t.Errorf("environment: %q", in.Env)
	}
}

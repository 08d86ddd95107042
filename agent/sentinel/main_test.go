package sentinel

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// The test binary is its own helper: with this variable set it does what the variable says instead of running tests.
const helperEnv = "ATALAYA_SENTINEL_HELPER"

// A helper must own the first thread of its process; only what runs before main can make sure of that.
var _ = func() bool {
	if os.Getenv(helperEnv) != "" {
		runtime.LockOSThread()
	}
	return true
}()

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		os.Exit(m.Run())
	case "leaderless": // the first thread ends, the process lives on
		go sit()
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "login":
		if err := os.WriteFile("/proc/self/loginuid", []byte("4711"), 0o600); err != nil {
			panic(err)
		}
		sit()
	case "exec": // another program, the same process
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		panic(syscall.Exec("/proc/self/exe", []string{"other"}, []string{helperEnv + "=sit"}))
	default:
		sit()
	}
}

// sit says that it is there, and stays until its standard input ends.
func sit() {
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// A helper is a process that a test has started.
type helper struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// start runs the test binary as a helper of this kind, under another command line if one is given.
func start(t testing.TB, kind string, flags uintptr, argv ...string) *helper {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	if len(argv) > 0 {
		cmd.Args = argv
	}
	cmd.Env = append(os.Environ(), helperEnv+"="+kind)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	h := &helper{t: t, cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}
	t.Cleanup(h.kill)
	if kind != "exec" {
		h.ready()
	}
	return h
}

func (h *helper) ready() {
	h.t.Helper()
	line, err := h.out.ReadString('\n')
	must(h.t, err)
	if line != "ready\n" {
		h.t.Fatalf("helper said %q", line)
	}
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

func (h *helper) process() health.Process {
	h.t.Helper()
	start, err := StartTime(h.pid())
	must(h.t, err)
	return health.Process{PID: h.pid(), Start: start}
}

// signal kills without reaping.
func (h *helper) signal() { _ = unix.Kill(h.pid(), unix.SIGKILL) }

// kill ends the helper and reaps it.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok, for ten seconds at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

func wantDead(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, ErrDead) {
		t.Fatalf("got %v, want ErrDead", err)
	}
}

func wantText(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("got error %v, want one with %q", err, part)
	}
}

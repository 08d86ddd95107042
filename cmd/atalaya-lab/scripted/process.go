package scripted

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Begin starts a real process as the init of a container and writes it into c, which the caller puts. It lives in a
// session of its own and holds none of the tool's files, so the tool ends without it.
func (h *Host) Begin(c *Container) {
	cmd := exec.Command("/bin/sleep", "1800") // a test that was killed leaves it behind, not for long
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	h.must(cmd.Start())
	go func() { _ = cmd.Wait() }()
	c.PID = cmd.Process.Pid
	c.Start, _ = startOf(c.PID)
	h.record(c.PID, c.Start)
}

// End kills the init of a container, if it lives, and waits until it is gone; the caller puts c.
func (h *Host) End(c *Container) {
	kill(c.PID, c.Start)
	c.PID, c.Start = 0, 0
}

// Kill9 kills the init of a container behind the engine's back.
func (h *Host) Kill9(id string) {
	c := h.Get(id)
	if c == nil || !c.Alive() {
		h.t.Helper()
		h.t.Fatalf("scripted %s: %q has no living init", h.Engine, id)
		return
	}
	kill(c.PID, c.Start)
}

// Run runs one of the tools, as a person would. It is no failure of the test when the tool says no.
func (h *Host) Run(argv ...string) (out string, code int) {
	cmd := exec.Command(filepath.Join(h.Bin(), argv[0]), argv[1:]...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.must(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// record notes a process that must not outlive the test.
func (h *Host) record(pid int, start uint64) {
	f, err := os.OpenFile(h.path("started"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(pid) + " " + strconv.FormatUint(start, 10) + "\n")
	h.must(err)
}

func (h *Host) killAll() {
	b, _ := os.ReadFile(h.path("started"))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		pid, _ := strconv.Atoi(f[0])
		start, _ := strconv.ParseUint(f[1], 10, 64)
		kill(pid, start)
	}
}

// outlive waits until the test's process has ended, for tools that stay: a test that crashed ends nothing itself.
func (h *Host) outlive() {
	for {
		if start, ok := startOf(h.Test); !ok || start != h.Since {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// kill ends this very life of pid and waits until nothing of it is left but a zombie.
func kill(pid int, start uint64) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if now, ok := startOf(pid); !ok || now != start {
			return
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// startOf reads the start time of a process that lives (see proc_pid_stat(5)); a zombie does not, once its last thread has
// ended.
func startOf(pid int) (uint64, bool) {
	if pid <= 0 {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 || string(f[0]) == "Z" && (string(f[17]) == "0" || string(f[17]) == "1") || string(f[0]) == "X" {
		return 0, false
	}
	n, err := strconv.ParseUint(string(f[19]), 10, 64)
	return n, err == nil
}

package hostexec

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

func need(t testing.TB, what ...string) {
	t.Helper()
	rig.Require(t, what...)
}

// self is the test binary, which plays other processes; see TestMain.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// until polls for something that must come true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// gone checks that n processes were named, and that none of them lives.
func gone(t testing.TB, pids string, n int) {
	t.Helper()
	words := strings.Fields(pids)
	if len(words) != n {
		t.Fatalf("%d pids in %q, want %d", len(words), pids, n)
	}
	for _, w := range words {
		pid, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "process "+w+" gone", func() bool { return !alive(pid, 0) })
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func kill9(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

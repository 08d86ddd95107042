package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// TestMain lets the tests run this binary as another agent: one that holds the store, or one that writes until it dies.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("STORE_TEST_DIR"); os.Getenv("STORE_TEST_ROLE") {
	case "hold":
		holdStore(dir)
	case "read":
		readStore(dir)
	case "write":
		writeForever(dir)
	default:
		os.Exit(m.Run())
	}
}

func holdStore(dir string) {
	s, _, err := store.Open(store.Options{Dir: dir})
	fmt.Println("held", err)
	io.Copy(io.Discard, os.Stdin) // until the test closes it
	if err == nil {
		err = s.Close()
	}
	fmt.Println("closed", err)
}

// readStore is a command that reads without an agent, and takes its time.
func readStore(dir string) {
	s, err := store.OpenReadOnly(dir)
	fmt.Println("read", err)
	io.Copy(io.Discard, os.Stdin) // until the test closes it
	if err == nil {
		s.Close()
	}
}

// child starts this binary in a role and returns when it has said its first line.
func child(t *testing.T, role, dir string) (c *exec.Cmd, in io.WriteCloser, first string) {
	t.Helper()
	c = exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "STORE_TEST_ROLE="+role, "STORE_TEST_DIR="+dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	r := bufio.NewReader(out)
	if first, err = r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c, in, strings.TrimSpace(first)
}

func TestASecondAgentIsRefusedAndTheFirstIsNamed(t *testing.T) {
	dir := t.TempDir()
	c, in, first := child(t, "hold", dir)
	if first != "held <nil>" {
		t.Fatal(first)
	}
	_, _, err := store.Open(store.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d holds", c.Process.Pid)) {
		t.Fatalf("got %v, want it to name pid %d", err, c.Process.Pid)
	}
	ro, err := store.OpenReadOnly(dir)
	if err != nil {
		t.Fatalf("reading beside it: %v", err)
	}
	ro.Close()
	in.Close()
	c.Wait()
	if _, r := open(t, store.Options{Dir: dir}); !r.Orderly || r.Fresh {
		t.Fatalf("after an orderly end: %+v", r)
	}
}

func TestAKilledAgentWasNotOrderlyAndLocksNobodyOut(t *testing.T) {
	dir := t.TempDir()
	c, _, _ := child(t, "hold", dir)
	c.Process.Kill()
	c.Wait()
	s, r := open(t, store.Options{Dir: dir})
	if r.Orderly || r.Fresh {
		t.Fatalf("%+v", r)
	}
	// Until this one is closed it counts as not orderly either, whoever looks.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, r = open(t, store.Options{Dir: dir}); !r.Orderly {
		t.Fatalf("%+v", r)
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := store.OpenReadOnly(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("nothing there: %v", err)
	}
	if es, _ := os.ReadDir(dir); len(es) != 0 {
		t.Fatalf("reading made %v", es)
	}
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, store.Batch{At: epoch, States: []health.State{state(web1, "beside")}})
	why := func(want string) {
		t.Helper()
		ro, err := store.OpenReadOnly(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer ro.Close()
		if l, err := ro.Load(t.Context()); err != nil || len(l.States) != 1 || l.States[0].Why != want {
			t.Fatalf("%+v, %v; want %q", l, err, want)
		}
		if err := ro.Commit(t.Context(), store.Batch{}); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("commit: %v", err)
		}
		if err := ro.Drop(t.Context(), 1); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("drop: %v", err)
		}
	}
	why("beside")
	commit(t, s, store.Batch{At: epoch, States: []health.State{state(web1, "alone")}})
	why("alone") // from the log, beside the agent
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	why("alone") // and with nobody there
}

// A command that reads while an agent starts does not cost that agent its store.
func TestAnAgentWaitsForAReader(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, store.Options{Dir: dir})
	ok(t, s.Close())
	_, in, first := child(t, "read", dir)
	if first != "read <nil>" {
		t.Fatal(first)
	}
	time.AfterFunc(300*time.Millisecond, func() { in.Close() })
	began := time.Now()
	s, r, err := store.Open(store.Options{Dir: dir})
	if err != nil || r.Degraded != nil || !r.Orderly {
		t.Fatalf("%+v, %v, after %v", r, err, time.Since(began))
	}
	ok(t, s.Close())
}

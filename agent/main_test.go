package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// patience is for the machine, not for the agent: what should happen within milliseconds may take long when ten other
// test binaries run.
const patience = 60 * time.Second

// childEnv holds a plan as JSON: this binary is then an agent that is to be killed, not a test.
const childEnv = "ATALAYA_TEST_AGENT"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(beKilled(text))
	}
	if dir := os.Getenv(thawEnv); dir != "" {
		os.Exit(thawLater(dir))
	}
	// Many agents share this process; one of its own finds a processor free when the kernel tells it that somebody stops a
	// container.
	runtime.GOMAXPROCS(4 * runtime.NumCPU())
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", "8") // the tests wait for containers, not for the processor
	}
	code := m.Run()
	if err := noneLeft(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// thawEnv names a folder: this binary then only sees to it that its file system does not stay frozen.
const thawEnv = "ATALAYA_TEST_THAW"

// thawLater thaws when the test ends, however it ends, or after 90 s, also if the test itself stands still by then.
func thawLater(dir string) int {
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-over:
	case <-time.After(90 * time.Second):
	}
	_ = exec.Command("fsfreeze", "-u", dir).Run() // refused when it is not frozen any more
	return 0
}

// noneLeft says which goroutines of ours live on although every agent has ended.
func noneLeft() error {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		left = nil
		buf := make([]byte, 4<<20)
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "atalaya/agent") && !strings.Contains(stack, "TestMain") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%d goroutines were left behind:\n%s", len(left), strings.Join(left, "\n\n"))
}

// beKilled runs an agent until its standard input ends, which it does when the test ends, or until it is killed.
func beKilled(text string) int {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a, err := p.assemble(os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a.run()
	go func() {
		for {
			if v, err := a.agent.View(context.Background()); err == nil && !slices.ContainsFunc(v.Instances, func(i health.InstanceView) bool { return i.Looked.IsZero() }) {
				fmt.Fprintln(os.Stderr, watching)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 3
}

// watching is what a process that is an agent says when it has taken over: all is listed, and what that means is stored.
const watching = "everything is listed"

// A victim is an agent in a process of its own.
type victim struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.Closer
}

// kill ends it as the kernel's OOM killer would, and returns when it is gone.
func (v *victim) kill() {
	v.t.Helper()
	if v.cmd.ProcessState != nil {
		return
	}
	if err := v.cmd.Process.Kill(); err != nil {
		v.t.Errorf("kill the agent: %v", err)
	}
	var exit *exec.ExitError
	if err := v.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		v.t.Errorf("the agent did not end by the kill: %v", err)
	}
	_ = v.in.Close()
}

// inProcess starts the plan's agent in a process of its own.
func (p plan) inProcess(t testing.TB) *victim {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	log := &journalOfLogs{}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, cmd: cmd, in: in}
	t.Cleanup(v.kill)
	log.showOnFailure(t, "the agent that was killed")
	until(t, "the agent watches", func() bool { return log.count(watching) > 0 })
	return v
}

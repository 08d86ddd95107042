package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// program is a measured program while it runs: the floor or the agent.
type program struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	log  string // file with what it says on standard error
	done chan error
}

// launch starts it in a process group of its own, so that an interrupt at the
// terminal reaches only the benchmark, which then ends it in order.
func launch(dir, name string, argv ...string) (*program, error) {
	logFile := filepath.Join(dir, name+".log")
	errOut, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = errOut.Close() }() // the child has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = errOut
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	_ = w.Close()
	p := &program{cmd: cmd, out: bufio.NewReader(r), log: logFile, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// stop asks it to end and waits; after half a minute it is killed and that is an error.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err // how it ended after SIGTERM is its own affair
		return nil
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end within 30s of SIGTERM and was killed (%w)", filepath.Base(p.cmd.Path), <-p.done)
	}
}

// died says what it said last, once it has ended by itself.
func (p *program) died(err error) error {
	text, _ := os.ReadFile(p.log)
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("%s ended by itself: %w; its last words:\n%s", filepath.Base(p.cmd.Path), err, text)
}

// await polls until ok holds, the program ends, or the time is up.
func (p *program) await(ctx context.Context, within time.Duration, what string, ok func() bool) error {
	deadline := time.After(within)
	for {
		if ok() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.done:
			p.done <- err
			return p.died(err)
		case <-deadline:
			return fmt.Errorf("%s: not within %s; see %s", what, within, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// drain reads on so that a full pipe never blocks the program.
func (p *program) drain() { go func() { _, _ = io.Copy(io.Discard, p.out) }() }

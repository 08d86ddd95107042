package hostexec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	linger = 300 * time.Millisecond // how long leftovers of an ended command may go on writing into its pipes
	mercy  = time.Second            // how long a SIGKILLed child may take to end before it is abandoned
)

// A group is a command that only reads, under way, with everything it started in a process group of its own.
//
// Its leader is waited for without being reaped, so that the number of the group cannot be given to another while the
// group may still have to be killed.
type group struct {
	argv    []string
	cmd     *exec.Cmd
	started time.Time
	start   uint64
	in      *os.File      // write end of its standard input, nil unless that is held open
	out     *os.File      // read ends of its pipes
	err     *os.File      //
	exited  chan struct{} // closed when the leader is a zombie
}

// startGroup starts c, with stdin as its standard input (nil: /dev/null). The pipes are ours rather than os/exec's, because Cmd.Wait would block on a child that does not
// end and on a grandchild that keeps a pipe open.
func startGroup(c Command, stdin *os.File) (*group, error) {
	path, err := c.lookup()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for its output: %w", err)
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		return nil, fmt.Errorf("make a pipe for its output: %w", err)
	}
	defer errW.Close()
	g := &group{argv: c.Argv, started: time.Now(), out: outR, err: errR, exited: make(chan struct{})}
	g.cmd = &exec.Cmd{
		Path: path, Args: c.Argv, Env: c.environ(), Dir: c.dir(), Stdout: outW, Stderr: errW,
		// An agent that is killed leaves no hung lxc-ls behind; see begin.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	switch {
	case c.Held:
		inR, inW, err := os.Pipe()
		if err != nil {
			g.closePipes()
			return nil, fmt.Errorf("make a pipe for its input: %w", err)
		}
		defer inR.Close()
		g.cmd.Stdin, g.in = inR, inW
	case stdin != nil:
		g.cmd.Stdin = stdin
	}
	if err := g.begin(); err != nil {
		g.closePipes()
		return nil, err
	}
	return g, nil
}

// begin starts the command and watches it, both on one thread that is nobody else's until the command has ended. For Linux
// sends Pdeathsig when the thread ends that forked, and threads of the Go runtime do end: with any goroutine that ends while
// locked to one, as those do that set umask and nice for a change. Seen: an lxc-info killed because an lxc-start was begun.
func (g *group) begin() error {
	begun := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := g.cmd.Start(); err != nil {
			begun <- err
			return
		}
		// Our unit's OOM adjustment is for us alone: a command in a guest would keep it.
		plainProcess(g.pid(), false)
		if s, err := readStat(g.pid()); err == nil {
			g.start = s.start
		}
		begun <- nil
		g.watch()
	}()
	return <-begun
}

func (g *group) pid() int { return g.cmd.Process.Pid }

// watch returns when the leader has ended. It is the goroutine that goes on waiting for an abandoned child.
func (g *group) watch() {
	defer close(g.exited)
	for {
		err := unix.Waitid(unix.P_PID, g.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// kill ends the whole group. It must not be called after reap.
func (g *group) kill() { _ = syscall.Kill(-g.pid(), syscall.SIGKILL) }

// ended reports whether the leader ends within d.
func (g *group) ended(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-g.exited:
		return true
	case <-timer.C:
		return false
	}
}

// reap takes the leader's exit, after it has ended.
func (g *group) reap() ending {
	_ = g.cmd.Wait() // an *exec.ExitError, or nothing: the files are ours
	if ps := g.cmd.ProcessState; ps != nil {
		return endingOf(ps.Sys().(syscall.WaitStatus))
	}
	return ending{exit: -1, why: "its exit could not be read"}
}

// copyTo copies both outputs until they end, or until closePipes. The channel is closed when both are done.
func (g *group) copyTo(out, err io.Writer) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		side := make(chan struct{})
		go func() { defer close(side); _, _ = io.Copy(err, g.err) }()
		_, _ = io.Copy(out, g.out)
		<-side
	}()
	return done
}

// settle waits for the outputs of an ended leader. Leftovers that keep a pipe open get a moment, and are then killed:
// a command that only reads leaves nothing behind. What left the group only loses its pipe.
func (g *group) settle(copied <-chan struct{}, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-copied:
		return
	case <-timer.C:
	}
	g.kill()
	timer.Reset(50 * time.Millisecond)
	select {
	case <-copied:
	case <-timer.C:
		g.closePipes()
		<-copied
	}
}

func (g *group) closePipes() {
	if g.in != nil {
		g.in.Close()
	}
	g.out.Close()
	g.err.Close()
}

package hostexec

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownChild is a changing command that we started ourselves.
type ownChild struct {
	cmd   *exec.Cmd
	start uint64
}

// startOwn starts c in a session of its own, with umask 022, nice 0 and OOM adjustment 0 as far as we are allowed.
// service says that our own limits are a unit's, not a person's: they are reset to the host's.
func startOwn(c Command, path string, o outputs, service bool) (*ownChild, error) {
	cmd := &exec.Cmd{
		Path: path, Args: c.Argv, Env: c.environ(), Dir: c.dir(), Stdout: o.out, Stderr: o.err,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	started := make(chan error, 1)
	go func() {
		plainThread()
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	plainProcess(pid, service)
	own := &ownChild{cmd: cmd}
	if s, err := readStat(pid); err == nil {
		own.start = s.start
	}
	return own, nil
}

// plainThread gives the calling thread a file mode mask and a priority of its own, for the child to inherit exactly:
// Linux keeps both per thread, once CLONE_FS is unshared. The goroutine must end without unlocking the thread, so that
// the thread ends with it and no other goroutine runs on it. Raising the priority needs CAP_SYS_NICE; without it, it stays.
func plainThread() {
	runtime.LockOSThread()
	if unix.Unshare(unix.CLONE_FS) == nil {
		unix.Umask(0o022)
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
}

// plainProcess resets what is kept per process, which can be done only once the child exists: what it does in its first
// some ten microseconds is done under our values. RLIMIT_NOFILE needs nothing outside a service: the Go runtime raises
// its soft limit for itself and gives children back what it found (runtime rlimit handling since Go 1.19; tested here).
func plainProcess(pid int, service bool) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
	if !service {
		return
	}
	for resource := range unix.RLIMIT_RTTIME + 1 {
		var host unix.Rlimit
		if unix.Prlimit(1, resource, nil, &host) != nil {
			continue
		}
		if resource == unix.RLIMIT_NOFILE {
			host = unix.Rlimit{Cur: 1024, Max: 524288} // systemd's DefaultLimitNOFILE; its own limit is raised
		}
		if unix.Prlimit(pid, resource, &host, nil) == nil {
			continue
		}
		// Without CAP_SYS_RESOURCE a hard limit cannot be raised; the soft one can, up to it.
		var has unix.Rlimit
		if unix.Prlimit(pid, resource, nil, &has) == nil {
			has.Max = min(has.Max, host.Max)
			has.Cur = min(host.Cur, has.Max)
			_ = unix.Prlimit(pid, resource, &has, nil)
		}
	}
}

func (o *ownChild) wait() ending {
	_ = o.cmd.Wait() // an *exec.ExitError, or nothing: the files are ours
	if ps := o.cmd.ProcessState; ps != nil {
		return endingOf(ps.Sys().(syscall.WaitStatus))
	}
	return ending{exit: -1, why: "its exit could not be read"}
}

func (o *ownChild) terminate() error       { return o.cmd.Process.Signal(syscall.SIGTERM) }
func (o *ownChild) process() (int, uint64) { return o.cmd.Process.Pid, o.start }
func (o *ownChild) release()               {}

// orphan is a changing command of an agent before this one, found again by its record.
type orphan struct {
	pid   int
	start uint64
	fd    int // its pidfd; -1: this kernel has none
}

func (o *orphan) terminate() error       { return nil } // its limit was its agent's, and has passed or not; we do not judge
func (o *orphan) process() (int, uint64) { return o.pid, o.start }

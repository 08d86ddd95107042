package sentinel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

const (
	maxActors   = 256                    // remembered
	actorsFor   = 10 * time.Minute       // after they ended
	argvWithin  = 50 * time.Millisecond  // the event comes at the open, when the command line is still the parent's
	argvEvery   = 500 * time.Microsecond //
	endedBefore = 500 * time.Millisecond // a command that ended so shortly before a death may have caused it
)

// Execs remembers the runs of some tools of the host, by fanotify marks on their files (FAN_OPEN_EXEC, Linux 5.0): one event
// per run of them, and none for anything else that is executed. So a command that stops a container is known also when it
// ended before anybody looked. It needs CAP_SYS_ADMIN.
type Execs struct {
	fd      int
	own     func(pid int) bool
	meaning func(argv []string) (health.Verb, bool)

	mu   sync.Mutex
	runs []*toolRun
}

// A toolRun is one run of a tool that meant something.
type toolRun struct {
	actor health.Actor
	ended time.Time // zero while it lives
}

// WatchExecs marks the files; those that do not exist are left out. meaning tells what a command line does; runs that mean
// nothing are not remembered, nor those that are the caller's own.
func WatchExecs(files []string, own func(pid int) bool, meaning func(argv []string) (health.Verb, bool)) (*Execs, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return nil, fmt.Errorf("begin to watch the runs of tools: %w", err)
	}
	marked := 0
	for _, f := range files {
		err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, f)
		if err == nil {
			marked++
		} else if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("watch the runs of %q: %w", f, err)
		}
	}
	if marked == 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch the runs of tools: none of %q is there", files)
	}
	return &Execs{fd: fd, own: own, meaning: meaning}, nil
}

// Run takes in the events until ctx ends, and frees everything. A command that stops a container may live for some
// milliseconds only, so the thread that reads them goes before all others of this host where the kernel allows that.
func (e *Execs) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = unix.Close(e.fd) }()
	proc, err := os.Open("/proc")
	if err != nil {
		return fmt.Errorf("read the runs of tools: %w", err)
	}
	defer func() { _ = proc.Close() }()
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its priority
		beforeOthers()
		failed <- e.read(ctx, int(proc.Fd()), &wg)
	}()
	return <-failed
}

// beforeOthers gives this thread the lowest real-time priority, which none of its children inherits. Where that is not
// allowed (no CAP_SYS_NICE, a control group without real-time runtime) it stays as it is.
func beforeOthers() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
}

// A starter is a process that opened a tool to run it, and whose command line is still its parent's.
type starter struct {
	pid, fd int // fd: a pidfd
	until   time.Time
}

// read follows the events; e.fd does not block.
func (e *Execs) read(ctx context.Context, proc int, wg *sync.WaitGroup) error {
	var pending []starter
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		wait := 200 * time.Millisecond // until the end of ctx is noticed
		if len(pending) > 0 {
			wait = argvEvery
		}
		span := unix.NsecToTimespec(int64(wait))
		if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, &span, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the runs of tools: %w", err)
		}
		n, err := unix.Read(e.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("read the runs of tools: %w", err)
		default:
			for _, pid := range execEvents(buf[:n]) {
				fd, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					continue // it is gone, or the kernel is older than what this is for
				}
				pending = append(pending, starter{pid, fd, time.Now().Add(argvWithin)})
			}
		}
		pending = slices.DeleteFunc(pending, func(s starter) bool { return e.look(ctx, proc, s, wg) })
	}
	for _, s := range pending {
		_ = unix.Close(s.fd)
	}
	return nil
}

// look reads what a process that runs a tool was called with; true when that is settled. One that means something is
// remembered until some time after it has ended.
func (e *Execs) look(ctx context.Context, proc int, s starter, wg *sync.WaitGroup) bool {
	a, ok := actor(proc, s.pid, e.meaning)
	switch {
	case ok && (e.own == nil || !e.own(s.pid)):
		r := e.remember(a)
		wg.Go(func() {
			defer func() { _ = unix.Close(s.fd) }()
			e.await(ctx, s.fd, r)
		})
		return true
	case ok, time.Now().After(s.until), ended(s.fd):
		_ = unix.Close(s.fd)
		return true
	}
	return false
}

// execEvents gives the pids of a buffer of fanotify_event_metadata, see fanotify(7), and closes their descriptors.
func execEvents(b []byte) []int {
	const size = 24
	var pids []int
	for len(b) >= size {
		length := int(binary.NativeEndian.Uint32(b))
		if length < size || length > len(b) {
			break
		}
		if fd := int32(binary.NativeEndian.Uint32(b[16:])); fd >= 0 {
			_ = unix.Close(int(fd))
		}
		if pid := int32(binary.NativeEndian.Uint32(b[20:])); pid > 0 {
			pids = append(pids, int(pid))
		}
		b = b[length:]
	}
	return pids
}

func (e *Execs) remember(a health.Actor) *toolRun {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = slices.DeleteFunc(e.runs, func(r *toolRun) bool { return !r.ended.IsZero() && time.Since(r.ended) > actorsFor })
	if len(e.runs) >= maxActors {
		e.runs = e.runs[1:]
	}
	r := &toolRun{actor: a}
	e.runs = append(e.runs, r)
	return r
}

// await notes when the process ends.
func (e *Execs) await(ctx context.Context, fd int, r *toolRun) {
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.ended = time.Now()
}

// At gives the runs that may have caused a death at that time: those that lived then, or had ended half a second before at
// most. It is safe for concurrent use.
func (e *Execs) At(death time.Time) []health.Actor {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []health.Actor
	for _, r := range e.runs {
		if r.ended.IsZero() || r.ended.After(death.Add(-endedBefore)) {
			out = append(out, r.actor)
		}
	}
	return out
}

package sentinel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
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

// Run takes in the events until ctx ends, and frees everything.
func (e *Execs) Run(ctx context.Context) error {
	f := os.NewFile(uintptr(e.fd), "fanotify") // non-blocking, so the runtime's poller waits for it
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = f.Close() }) // ends the read
	defer stop()
	buf := make([]byte, 16<<10)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			_ = f.Close()
			return fmt.Errorf("read the runs of tools: %w", err)
		}
		for _, pid := range execEvents(buf[:n]) {
			wg.Go(func() { e.follow(ctx, pid) })
		}
	}
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

// follow reads what a process that runs a tool was called with, and remembers it until some time after it has ended.
func (e *Execs) follow(ctx context.Context, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone, or the kernel is older than what this is for
	}
	defer func() { _ = unix.Close(fd) }()
	proc, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer func() { _ = proc.Close() }()
	for deadline := time.Now().Add(argvWithin); ; {
		if a, ok := actor(int(proc.Fd()), pid, e.meaning); ok {
			if e.own != nil && e.own(pid) {
				return
			}
			r := e.remember(a)
			e.await(ctx, fd, r)
			return
		}
		if time.Now().After(deadline) || ended(fd) {
			return
		}
		if pause(ctx, argvEvery) {
			return
		}
	}
}

// pause waits for d; true when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-t.C:
		return false
	}
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

package sentinel

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// InNetns runs f on a thread that is in the network namespace of a process. f must do its system calls itself: goroutines
// that it starts run elsewhere. The caller's own goroutine is not touched; the thread returns to our namespace
// afterwards, or, should that fail, is thrown away. It costs about 30 µs. Needs CAP_SYS_ADMIN.
func InNetns(pid int, f func() error) error {
	ns, err := openNetns(health.Process{PID: pid})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ns) }()
	return within(ns, f)
}

// within runs f on a thread in the network namespace ns.
func within(ns int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot end, and /proc/self speaks of it: another one has to go, while this one is held.
			done <- within(ns, f)
			runtime.UnlockOSThread()
			return
		}
		err, restored := visit(ns, f)
		if restored {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine: nobody may ever run in a namespace he did not ask for
		done <- err
	}()
	return <-done
}

// visit switches this thread to ns, calls f, and switches back; restored says whether the thread is where it was.
func visit(ns int, f func() error) (err error, restored bool) {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open our own network namespace: %w", err), true
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace of the container: %w", err), true
	}
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave the network namespace of the container: %w", back)), false
	}
	return err, true
}

// openNetns opens the network namespace of p, and makes sure afterwards that p still is that process: then the namespace
// is its own and stays so, whatever becomes of the pid.
func openNetns(p health.Process) (int, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(p.PID)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		if gone(err) {
			err = ErrDead
		}
		return -1, fmt.Errorf("open the network namespace of pid %d: %w", p.PID, err)
	}
	if _, err := identify(p); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("open the network namespace of pid %d: %w", p.PID, err)
	}
	return fd, nil
}

// ours says whether a network namespace is the one we are in.
func ours(ns int) (bool, error) {
	var here, there unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil {
		return false, fmt.Errorf("look at our own network namespace: %w", err)
	}
	if err := unix.Fstat(ns, &there); err != nil {
		return false, fmt.Errorf("look at the network namespace of the container: %w", err)
	}
	return here.Ino == there.Ino && here.Dev == there.Dev, nil
}

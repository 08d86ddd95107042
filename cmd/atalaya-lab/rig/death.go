package rig

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Death is a held init whose end can be awaited.
type Death struct {
	name string
	pid  int
	fd   int
}

// HoldInit takes hold of the container's present init, before a test kills it: the
// web server below it may answer for a moment longer than the kill, and is gone
// for sure when init has ended.
func (l *LXC) HoldInit(name string) Death {
	l.t.Helper()
	pid := l.InitPID(name)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		l.t.Fatalf("rig: hold init %d of %q: %v", pid, name, err)
	}
	return Death{name: name, pid: pid, fd: fd}
}

// Wait returns when the init, and with it all processes of the container, have
// ended. It can be called once.
func (d Death) Wait(within time.Duration) error {
	defer func() { _ = unix.Close(d.fd) }()
	deadline := time.Now().Add(within)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("init %d of %q did not end within %s", d.pid, d.name, within)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the end of init %d of %q: %w", d.pid, d.name, err)
		}
		if n > 0 {
			return nil
		}
	}
}

package sentinel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// pidfds is the best sensor: one file descriptor per process, readable when it has ended, and one epoll for all of them.
// A pidfd (Linux 5.3) stays with the process it was opened for, so reuse of the pid cannot deceive it.
type pidfds struct {
	epoll, wake int

	mu  sync.Mutex
	fds map[token]int
}

// wakeToken marks the eventfd that ends run; watches begin at 1.
const wakeToken token = 0

func newPidfds() (*pidfds, error) {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil, fmt.Errorf("open a pidfd: %w", err)
	}
	_ = unix.Close(self)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	s := &pidfds{epoll: epoll, wake: wake, fds: make(map[token]int)}
	if err := s.register(wakeToken, wake); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// add opens first and identifies then: as long as the pidfd says that its process lives, the pid cannot have got another
// owner, so what was read of the pid in between was read of this process.
func (s *pidfds) add(t token, p health.Process) (health.Process, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return p, openError(p, err)
	}
	known, err := identify(p)
	if err == nil && ended(fd) {
		err = fmt.Errorf("pid %d: %w", p.PID, ErrDead)
	}
	if err != nil {
		_ = unix.Close(fd)
		return p, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.register(t, fd); err != nil {
		_ = unix.Close(fd)
		return p, err
	}
	s.fds[t] = fd
	return known, nil
}

func openError(p health.Process, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("pid %d: %w", p.PID, ErrDead)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("open a pidfd of pid %d: %w: raise LimitNOFILE= of the unit, or fs.file-max", p.PID, err)
	}
	return fmt.Errorf("open a pidfd of pid %d: %w", p.PID, err)
}

// ended asks a pidfd whether its process has ended, without waiting.
func ended(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}

func (s *pidfds) register(t token, fd int) error {
	var e unix.EpollEvent
	e.Events = unix.EPOLLIN
	e.Fd, e.Pad = int32(uint32(t)), int32(uint32(t>>32)) // the 64 bits that epoll hands back are ours to choose
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("add to the epoll of watched processes: %w", err)
	}
	return nil
}

// remove closes the pidfd, which takes it out of the epoll too: nothing else refers to it.
func (s *pidfds) remove(t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fd, ok := s.fds[t]; ok {
		_ = unix.Close(fd)
		delete(s.fds, t)
	}
}

func (s *pidfds) run(ctx context.Context, dead func(token, time.Time)) error {
	stop := context.AfterFunc(ctx, s.interrupt)
	defer stop()
	events := make([]unix.EpollEvent, 64)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(s.epoll, events, -1)
		at := time.Now()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for watched processes to end: %w", err)
		}
		for _, e := range events[:n] {
			if t := token(uint32(e.Fd)) | token(uint32(e.Pad))<<32; t != wakeToken {
				s.remove(t)
				dead(t, at)
			}
		}
	}
	return nil
}

func (s *pidfds) interrupt() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(s.wake, one) // full only when it has been written before, which wakes as well
}

func (s *pidfds) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, fd := range s.fds {
		_ = unix.Close(fd)
		delete(s.fds, t)
	}
	_ = unix.Close(s.wake)
	_ = unix.Close(s.epoll)
}

package sentinel

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// proc is the sensor for kernels without pidfd: the exit events of the process connector. An event is only a hint to look
// at that pid; whether it has ended is read from /proc, so neither a reused pid nor a lost event deceives it.
type proc struct {
	*table
	sock, wake int
	overflowed func() // the kernel dropped events: everything was looked at again
}

const (
	procBuffer = 1 << 20 // bytes; some thousand exits
	// sweepEvery is how often everything is looked at whatever the events said: insurance, not the way it works.
	sweepEvery = 30 * time.Second
	// Kernels tell of an exit just before or just after the process reads as ended, so it is looked at again.
	againEvery = 2 * time.Millisecond
	againTimes = 50
)

func newProc(buffer int, overflowed func()) (*proc, error) {
	sock, err := dialConnector(buffer)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(sock)
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	return &proc{table: newTable(), sock: sock, wake: wake, overflowed: overflowed}, nil
}

func (s *proc) run(ctx context.Context, dead func(token, time.Time)) error {
	stop := context.AfterFunc(ctx, s.interrupt)
	defer stop()
	buf := make([]byte, os.Getpagesize())
	again := make(map[int]int) // pid: how often it will still be looked at
	swept := time.Now()
	for ctx.Err() == nil {
		if err := s.wait(len(again) > 0); err != nil {
			return err
		}
		if err := s.receive(buf, again, dead); err != nil {
			return err
		}
		for pid, left := range again {
			if again[pid] = left - 1; s.look(pid, time.Now(), dead) || left <= 1 {
				delete(again, pid)
			}
		}
		if time.Since(swept) >= sweepEvery {
			s.sweep(dead)
			swept = time.Now()
		}
	}
	return nil
}

// wait returns when there is something to receive, at the end of ctx, or when it is time to look again.
func (s *proc) wait(soon bool) error {
	timeout := sweepEvery
	if soon {
		timeout = againEvery
	}
	fds := []unix.PollFd{{Fd: int32(s.sock), Events: unix.POLLIN}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, int(timeout.Milliseconds())); err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for the process connector: %w", err)
	}
	return nil
}

// receive takes all events that have come. Those of processes that are held and do not read as ended yet go to again.
func (s *proc) receive(buf []byte, again map[int]int, dead func(token, time.Time)) error {
	for {
		n, from, err := unix.Recvfrom(s.sock, buf, unix.MSG_DONTWAIT)
		at := time.Now()
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
			continue
		case unix.ENOBUFS:
			s.overflowed()
			s.sweep(dead)
			continue
		default:
			return fmt.Errorf("receive from the process connector: %w", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // only the kernel has a say
		}
		pid, thread, ok := exitOf(buf[:n])
		if !ok || !s.held(pid) || s.look(pid, at, dead) {
			continue
		}
		// The exit of a thread that is not the leader ends a process only if the leader has ended before.
		if st, err := readStat(pid); thread == pid || err == nil && st.state == 'Z' {
			again[pid] = againTimes
		}
	}
}

// look reports the watches of one pid that have ended, and says whether there are no others.
func (s *proc) look(pid int, at time.Time, dead func(token, time.Time)) bool {
	for t, p := range s.of(pid) {
		if Alive(p) {
			return false
		}
		s.remove(t)
		dead(t, at)
	}
	return true
}

func (s *proc) interrupt() {
	_, _ = unix.Write(s.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

func (s *proc) close() {
	_ = unix.Close(s.wake)
	_ = unix.Close(s.sock)
}

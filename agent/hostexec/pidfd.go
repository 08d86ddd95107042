package hostexec

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ending is how a process ended, as far as that can be known.
type ending struct {
	exit   int    // -1: none, or not known
	signal string // as in "SIGTERM"
	why    string // why neither is known, or why it never ran
}

func endingOf(ws syscall.WaitStatus) ending {
	if ws.Signaled() {
		return ending{exit: -1, signal: signalName(ws.Signal())}
	}
	return ending{exit: ws.ExitStatus()}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}

var errNotChild = ending{exit: -1, why: "it was not our child, and this kernel tells only a parent how a process ended"}

// reapWithin is how long we wait for whoever adopted the process to reap it. Inits do so at once; one that was seen here,
// of a test machine, looks every 2 s; one that never does must not hold us up.
const reapWithin = 3 * time.Second

// findOrphan takes hold of the process with this pid and start time, or gives nil when it has ended. From here on its ending
// is not missed: that is what the pidfd is for. Without pidfds fd is -1.
func findOrphan(pid int, start uint64) *orphan {
	fd, err := pidfdOpen(pid)
	if err != nil {
		fd = -1
	}
	// The pidfd may be of another process that was given the same pid; the start time is read through the same /proc and
	// cannot be of a later one while the pidfd of the earlier is unsignalled.
	if !alive(pid, start) {
		closeFd(fd)
		return nil
	}
	return &orphan{pid: pid, start: start, fd: fd}
}

// wait waits until the process has ended, and says how where the kernel tells it to others than the parent:
// PIDFD_GET_INFO with PIDFD_INFO_EXIT, since Linux 6.15. Without pidfds it looks every 100 ms.
func (o *orphan) wait() ending {
	if o.fd < 0 {
		for alive(o.pid, o.start) {
			time.Sleep(100 * time.Millisecond)
		}
		return errNotChild
	}
	pollFd(o.fd, unix.POLLIN, -1)
	// It is a zombie now. Its exit is told once it has been reaped, which the poll shows as POLLHUP.
	pollFd(o.fd, 0, reapWithin)
	if ws, ok := exitOf(o.fd); ok {
		return endingOf(ws)
	}
	return errNotChild
}

// release is called once, after wait.
func (o *orphan) release() { closeFd(o.fd) }

func closeFd(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func pidfdOpen(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// pollFd waits for events on fd; wait < 0 is for ever.
func pollFd(fd int, events int16, wait time.Duration) {
	ms := -1
	if wait >= 0 {
		ms = int(wait.Milliseconds())
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, ms)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// pidfdInfo is struct pidfd_info of <linux/pidfd.h> in its first published size, 64 bytes, which every kernel takes.
type pidfdInfo struct {
	mask     uint64
	cgroup   uint64
	ids      [11]uint32
	exitCode int32
}

const (
	pidfdGetInfo  = 0xC040FF0B // _IOWR(0xFF, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3
)

// exitOf asks the kernel how the process behind a pidfd ended.
func exitOf(fd int) (syscall.WaitStatus, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info))) //nolint:gosec // x/sys has no call for it
	if errno != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.exitCode), true
}

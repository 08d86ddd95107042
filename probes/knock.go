package probes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// knock tells whether to takes TCP connections, and closes the one it got at once. Most containers are on this host: there
// the answer has come by the time connect returns, and asking once more tells it, four system calls in all, where a
// net.Conn, registered with the runtime's poller and configured for a use that never comes, takes ten. What is further away
// is waited for like any connection.
func knock(ctx context.Context, to netip.AddrPort) error {
	fd, err := socketFor(to.Addr())
	if err != nil {
		return err
	}
	err = connectTo(fd, to)
	if errors.Is(err, unix.EINPROGRESS) { // always: what is answered meanwhile waits until the call lets go of the socket
		err = connectTo(fd, to)
	}
	if !errors.Is(err, unix.EALREADY) {
		_ = unix.Close(fd)
		return sysErr("connect", err)
	}
	f := os.NewFile(uintptr(fd), to.String()) // it does not block: the poller takes it
	defer func() { _ = f.Close() }()
	return answered(ctx, f)
}

func socketFor(a netip.Addr) (fd int, err error) {
	family := unix.AF_INET6
	if a.Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return fd, sysErr("socket", err)
}

func connectTo(fd int, to netip.AddrPort) error {
	if to.Addr().Is4() {
		return unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		index, ok := zoneIndex(zone)
		if !ok {
			return unsure{fmt.Errorf("the host has no interface %q", zone)}
		}
		sa.ZoneId = index
	}
	return unix.Connect(fd, sa)
}

// answered waits until a connection under way is made or refused, or the time of ctx is up.
func answered(ctx context.Context, f *os.File) error {
	if end, ok := ctx.Deadline(); ok {
		_ = f.SetWriteDeadline(end)
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for the connection: %w", err)
	}
	var said error
	waited := raw.Write(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(polled, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(polled, 0)
		}
		if n <= 0 {
			return false
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		said = sysErr("connect", err)
		return true
	})
	if waited != nil {
		return waited
	}
	return said
}

// sysErr keeps errors that are none of a system call as they are.
func sysErr(call string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return os.NewSyscallError(call, err)
	}
	return err
}

package sentinel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// This file speaks the protocol of the kernel's process connector, <linux/cn_proc.h> over <linux/connector.h>: a netlink
// multicast group in which the kernel tells of every fork, exec and exit of the host.

// Offsets in a message: struct nlmsghdr (16 bytes), struct cn_msg (20), struct proc_event.
const (
	atAck    = 16 + 12
	atWhat   = 16 + 20
	atErr    = atWhat + 16 // of an acknowledgement
	atPID    = atWhat + 16 // of an exit: the thread
	atTGID   = atWhat + 20 // of an exit: its process
	exitSize = atTGID + 4
)

const (
	groupProc  = 1 // CN_IDX_PROC, and CN_VAL_PROC
	mcastOn    = 1 // PROC_CN_MCAST_LISTEN
	whatAck    = 0 // PROC_EVENT_NONE
	whatExit   = 0x80000000
	initialPID = 0xEFFFFFFC // inode of the initial pid namespace, PROC_PID_INIT_INO of <linux/proc_ns.h>
	ackWithin  = 500 * time.Millisecond
)

// dialConnector opens a socket that receives exit events, and makes sure that they really come and mean our pids.
func dialConnector(rcvbuf int) (int, error) {
	// The connector speaks in pids of the initial namespace only, and kernels ignore listeners of another one silently.
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil || ns.Ino != initialPID {
		return -1, errors.New("use the process connector: this is not the initial pid namespace, its pids are not ours")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	if err != nil {
		return -1, fmt.Errorf("open the process connector: %w", err)
	}
	if err := listen(fd, rcvbuf); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func listen(fd, rcvbuf int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rcvbuf); err != nil {
		return fmt.Errorf("size the buffer of the process connector: %w (CAP_NET_ADMIN is needed)", err)
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, exitsOnly()); err != nil {
		return fmt.Errorf("filter the process connector: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groupProc}); err != nil {
		return fmt.Errorf("join the group of the process connector: %w (CAP_NET_ADMIN is needed)", err)
	}
	mark := uint32(time.Now().UnixNano())
	if err := unix.Sendto(fd, subscription(mark), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("subscribe to the process connector: %w", err)
	}
	return awaitAck(fd, mark)
}

// exitsOnly drops everything but exits and acknowledgements before it wakes us: a fork and an exec come with every exit.
func exitsOnly() *unix.SockFprog {
	big := func(v uint32) uint32 { // the filter loads words in network order, the kernel wrote them in its own
		if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
			return bits.ReverseBytes32(v)
		}
		return v
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: atWhat},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: big(whatExit), Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: whatAck, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}

// subscription is a PROC_CN_MCAST_LISTEN. The kernel answers with mark plus one; it numbers its messages itself.
func subscription(mark uint32) []byte {
	order := binary.NativeEndian
	const size = 16 + 20 + 4
	m := order.AppendUint32(nil, size)
	m = order.AppendUint16(m, unix.NLMSG_DONE)
	m = order.AppendUint16(m, 0)
	m = order.AppendUint32(m, 0)
	m = order.AppendUint32(m, 0)
	m = order.AppendUint32(m, groupProc)
	m = order.AppendUint32(m, groupProc)
	m = order.AppendUint32(m, 0)
	m = order.AppendUint32(m, mark)
	m = order.AppendUint16(m, 4)
	m = order.AppendUint16(m, 0)
	return order.AppendUint32(m, mcastOn)
}

// awaitAck waits for the kernel's answer to a subscription, which comes in the group itself, where answers to others come
// as well. No answer means that this kernel ignores us.
func awaitAck(fd int, mark uint32) error {
	deadline := time.Now().Add(ackWithin)
	buf := make([]byte, os.Getpagesize())
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("subscribe to the process connector: no answer within %v", ackWithin)
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != nil {
			continue // EINTR
		}
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil || n < atErr+4 || what(buf) != whatAck || binary.NativeEndian.Uint32(buf[atAck:]) != mark+1 {
			continue
		}
		if code := binary.NativeEndian.Uint32(buf[atErr:]); code != 0 {
			return fmt.Errorf("subscribe to the process connector: %w (CAP_NET_ADMIN is needed)", unix.Errno(code))
		}
		return nil
	}
}

func what(m []byte) uint32 { return binary.NativeEndian.Uint32(m[atWhat:]) }

// exitOf gives process and thread of an exit event.
func exitOf(m []byte) (pid, thread int, ok bool) {
	if len(m) < exitSize || what(m) != whatExit {
		return 0, 0, false
	}
	return int(binary.NativeEndian.Uint32(m[atTGID:])), int(binary.NativeEndian.Uint32(m[atPID:])), true
}

package evidence

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	syslogReadAll   = 3 // SYSLOG_ACTION_READ_ALL: the last bytes of the ring, taking nothing out of it
	kernelLogBytes  = 128 << 10
	kernelLogHeader = "The end of the kernel's log. Times are seconds since boot; at %s they stood at [%.6f].\n\n"
)

// KernelLog is the end of the host's kernel log: out-of-memory kills, disk errors, file system and network faults. One
// system call has the whole of it, where /dev/kmsg needs one for each line.
func KernelLog() []Item {
	return []Item{{
		Name: "kernel.log", Max: kernelLogBytes + 1024, Cut: KeepTail,
		Shows: "the end of the host's kernel log: out-of-memory kills, disk, file system and network faults",
		Func:  func(context.Context) ([]byte, error) { return readKernelLog() },
	}}
}

func readKernelLog() ([]byte, error) {
	buf := make([]byte, kernelLogBytes)
	n, err := unix.Klogctl(syslogReadAll, buf)
	if err != nil {
		return nil, fmt.Errorf("read the kernel log: %w", err)
	}
	text := buf[:n]
	if n == len(buf) {
		text = dropPartFirst(text)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil { // near enough to printk's own clock
		return text, fmt.Errorf("read the clock: %w", err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, kernelLogHeader, stampOf(time.Now()), time.Duration(ts.Nano()).Seconds())
	out.Write(text)
	return out.Bytes(), nil
}

package evidence

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
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

// recentBytes is how much of the end of the kernel's log is searched for what has just happened.
const recentBytes = 32 << 10

// KernelSaid gives what the kernel's log holds from a life of a container's init on, and not older than since: the lines that
// name its cgroup, and those that name no container, which are of the host as a whole; oldest first. Nothing is known where
// the log cannot be read.
func KernelSaid(init health.Process, cgroup string, since time.Time) (own, host []string) {
	buf := make([]byte, recentBytes)
	n, err := unix.Klogctl(syslogReadAll, buf)
	var ts unix.Timespec
	if err == nil {
		err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // near enough to printk's own clock
	}
	if err != nil {
		return nil, nil
	}
	const slack = 1 // of the clocks, in seconds
	from := (time.Duration(ts.Nano()) - time.Since(since)).Seconds()
	return kernelLines(string(buf[:n]), max(from, float64(init.Start)/100)-slack, cgroup)
}

// kernelLines picks the lines "<6>[  123.456789] text" that are not older than some seconds after boot, and tells those that
// name a cgroup from those that are about none.
func kernelLines(text string, since float64, cgroup string) (own, host []string) {
	for line := range strings.Lines(text) {
		_, rest, ok := strings.Cut(line, "[")
		stamp, _, closed := strings.Cut(rest, "]")
		at, err := strconv.ParseFloat(strings.TrimSpace(stamp), 64)
		switch {
		case !ok || !closed || err != nil || at < since:
		case cgroup != "" && strings.Contains(line, cgroup):
			own = append(own, strings.TrimSpace(line))
		case !strings.Contains(line, "memcg") && !strings.Contains(line, "emory cgroup"): // another container's
			host = append(host, strings.TrimSpace(line))
		}
	}
	return own, host
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

package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file knows when this host came up and how its boots are told apart.

// BootID is the kernel's random id of this boot; empty when the kernel does not tell. LXC and nspawn give each life of a
// container an id of its own, so it tells boots apart also where this host is a container.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// booted gives when PID 1 began, which is when this host came up, container or not. Its error is below a second.
func booted(now time.Time) time.Time {
	start, err := initStart()
	var up unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	const ticks = 100 // USER_HZ, the same on every architecture Go supports
	age := time.Duration(up.Nano()) - time.Duration(start)*time.Second/ticks
	return now.Add(-age)
}

// initStart is the start time of PID 1 in clock ticks after the kernel's boot: field 22 of /proc/1/stat.
func initStart() (uint64, error) {
	line, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("not a line of /proc/PID/stat: %.80q", line)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// managed says whether PID 1 is systemd, as sd_booted(3) does.
func managed(root string) bool {
	info, err := os.Lstat(root + "run/systemd/system")
	return err == nil && info.IsDir()
}

// goneDown says whether PID 1 is no longer the manager but the program that ends everything: systemd(1) becomes
// systemd-shutdown at the very end.
func goneDown() bool {
	comm, err := os.ReadFile("/proc/1/comm")
	return err == nil && strings.HasPrefix(string(comm), "systemd-shutdow")
}

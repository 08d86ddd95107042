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

// initialPID is the inode of the initial pid namespace, PROC_PID_INIT_INO of <linux/proc_ns.h>.
const initialPID = 0xEFFFFFFC

// BootID tells boots of this host apart: the kernel's random boot id, and, where this host is itself a container that
// comes and goes under one kernel, the start time of its PID 1 as well. Empty when the kernel does not tell.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	boot := strings.TrimSpace(string(id))
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err == nil && ns.Ino != initialPID {
		if start, err := initStart(); err == nil {
			boot += "-" + strconv.FormatUint(start, 10)
		}
	}
	return boot
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

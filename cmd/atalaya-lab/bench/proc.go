package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of /proc/PID/stat, 100 on every Linux that Go runs on.
const userHZ = 100

// cpuOf is the CPU time of the process and of all children it has waited for, good
// to 20 ms. What runs on beside it (LXC's monitors, which init adopts) is not in it.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, cstime = 11, 14 // counted from the state, the field after the name
	if len(fields) <= cstime {
		return 0, fmt.Errorf("read the CPU time of process %d: short line %q", pid, stat)
	}
	var ticks int64
	for _, f := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// rssOf is the process's resident memory in bytes.
func rssOf(pid int) (int64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory of process %d: no VmRSS", pid)
}

// monitorsCPU is the CPU time of all LXC monitors of the lxcpath: they answer every list.
func monitorsCPU(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		if t, err := cpuOf(pid); err == nil {
			sum += t
		}
	}
	return sum
}

package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"atalaya/agent/health"
)

// procStat is what this package needs of /proc/PID/stat (see proc_pid_stat(5)).
type procStat struct {
	state   byte
	ppid    int
	threads int
	start   uint64 // clock ticks after boot
}

// parseStat reads /proc/PID/stat. The command name may hold anything, parentheses too, hence the last ')'.
func parseStat(b []byte) (procStat, bool) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return procStat{}, false
	}
	f := bytes.Fields(b[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return procStat{}, false
	}
	ppid, err1 := strconv.Atoi(string(f[1]))
	threads, err2 := strconv.Atoi(string(f[17]))
	start, err3 := strconv.ParseUint(string(f[19]), 10, 64)
	return procStat{state: f[0][0], ppid: ppid, threads: threads, start: start}, err1 == nil && err2 == nil && err3 == nil
}

func readStat(pid int) (procStat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, false
	}
	return parseStat(b)
}

// dead tells a process that has ended and is only not yet reaped. A leader that ended before its other threads is a
// zombie too, of a process that lives.
func (s procStat) dead() bool { return s.state == 'X' || s.state == 'Z' && s.threads <= 1 }

// identify gives the life that pid is now; ok is false when there is none.
func identify(pid int) (p health.Process, ok bool) {
	if pid <= 0 {
		return health.Process{}, false
	}
	s, ok := readStat(pid)
	if !ok || s.dead() {
		return health.Process{}, false
	}
	return health.Process{PID: pid, Start: s.start}, true
}

// alive tells whether this very life goes on. A start time of 0 was not read: then the pid alone counts.
func alive(p health.Process) bool {
	now, ok := identify(p.PID)
	return ok && (p.Start == 0 || p.Start == now.Start)
}

// Cgroup gives the folders of a process in each hierarchy, by controller ("freezer", "memory", …; "" is the unified
// one), from /proc/PID/cgroup and the mounts of this process. It is taken from the process and never made from the
// container's name: after kill -9 of its monitor, LXC leaves a cgroup behind and calls the next one NAME-1.
func Cgroup(pid int) (map[string]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, fmt.Errorf("read the cgroup of process %d: %w", pid, err)
	}
	m, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the cgroup mounts: %w", err)
	}
	return joinCgroups(parseCgroup(b), parseCgroupMounts(m)), nil
}

func joinCgroups(paths, mounts map[string]string) map[string]string {
	out := make(map[string]string, len(paths))
	for controller, path := range paths {
		if at, ok := mounts[controller]; ok {
			out[controller] = filepath.Join(at, path)
		}
	}
	return out
}

// parseCgroup reads /proc/PID/cgroup: lines of hierarchy:controllers:path (cgroups(7)).
func parseCgroup(b []byte) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out
}

// parseCgroupMounts reads from mountinfo where each controller is mounted; "" is the unified hierarchy.
func parseCgroupMounts(b []byte) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		switch g[0] {
		case "cgroup2":
			out[""] = f[4]
		case "cgroup":
			for o := range strings.SplitSeq(g[2], ",") {
				if o != "rw" && o != "ro" {
					out[o] = f[4]
				}
			}
		}
	}
	return out
}

// freezerFile gives the file that tells whether the processes of a container are frozen, and the words in it that say
// so. LXC itself does not notice a freeze that was not made through it: it goes on saying RUNNING.
func freezerFile(pid int) (path, frozen string) {
	dirs, err := Cgroup(pid)
	if err != nil {
		return "", ""
	}
	if d, ok := dirs["freezer"]; ok {
		return filepath.Join(d, "freezer.state"), "FROZEN"
	}
	if d, ok := dirs[""]; ok {
		return filepath.Join(d, "cgroup.events"), "frozen 1"
	}
	return "", ""
}

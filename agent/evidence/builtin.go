package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"atalaya/agent/health"
)

// Builtin is what can be taken of every container by reading the kernel's own files, without starting a process, in the
// order of its volatility. cgroup is what CgroupOf gave while the init lived; without it the counters are missing.
func Builtin(init health.Process, cgroup string) []Item {
	var all []Item
	for _, items := range [][]Item{
		Counters(cgroup), Processes(init, cgroup), Sockets(init), Network(init), KernelLog(),
	} {
		all = append(all, items...)
	}
	return all
}

// CgroupOf gives the cgroups of a process, as /proc/PID/cgroup has them, or "" when it has ended. Ask while it lives:
// a zombie is in the root cgroup, and the name of a container does not tell (after a crash LXC takes a second name).
func CgroupOf(p health.Process) string {
	if !lives(p) {
		return ""
	}
	text, err := os.ReadFile(procPath(p.PID, "cgroup"))
	if err != nil {
		return ""
	}
	return string(text)
}

func procPath(pid int, elem ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(pid)}, elem...)...)
}

// lives says that the process p itself, not another with its pid, is there and no zombie.
func lives(p health.Process) bool {
	st, err := statOf(p.PID)
	return err == nil && st.state != "Z" && st.state != "X" && (p.Start == 0 || st.start == p.Start)
}

// ended is the error of everything that can only be had while init lives.
func ended(p health.Process) error {
	if p.PID == 0 {
		return fmt.Errorf("no init process of the container was known")
	}
	return fmt.Errorf("process %d, the container's init, had ended: the kernel keeps this only while it lives", p.PID)
}

// A stat is what /proc/PID/stat says, as far as it is shown.
type stat struct {
	comm, state   string
	ppid, threads int
	utime, stime  uint64 // clock ticks of 10 ms: USER_HZ is 100 on every Linux that Go knows
	start         uint64 // clock ticks after boot
	rss           int64  // pages
}

func statOf(pid int) (stat, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads one line of /proc/PID/stat (proc(5)). The name stands in brackets and may hold blanks and brackets.
func parseStat(line string) (stat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", line[:min(len(line), 80)])
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 22 {
		return stat{}, fmt.Errorf("only %d fields in /proc/PID/stat", len(f)+2)
	}
	s := stat{comm: line[open+1 : end], state: f[0]}
	s.ppid, _ = strconv.Atoi(f[1])
	s.threads, _ = strconv.Atoi(f[17])
	s.utime, _ = strconv.ParseUint(f[11], 10, 64)
	s.stime, _ = strconv.ParseUint(f[12], 10, 64)
	s.start, _ = strconv.ParseUint(f[19], 10, 64)
	s.rss, _ = strconv.ParseInt(f[21], 10, 64)
	return s, nil
}

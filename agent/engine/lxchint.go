package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// What /proc tells of a container whose tools do not answer. Only read when something is wrong: it looks at every process.

func (l *lxc) hint(id string) string { return lxcHint(l.path, id) }

// lxcHint says why a command about a container of liblxc may hang: its monitor is stopped, a hook runs on, its lock file
// is held.
func lxcHint(path, id string) string {
	monitor := lxcMonitor(path, id)
	if monitor != 0 {
		if s, ok := readStat(monitor); ok && (s.state == 'T' || s.state == 't') {
			return fmt.Sprintf("its monitor, process %d, is stopped: continue it with kill -CONT %d", monitor, monitor)
		}
		for _, child := range children(monitor) {
			argv := cmdline(child)
			if !isInit(child) && len(argv) > 0 && !strings.HasPrefix(argv[0], "[lxc monitor]") {
				return fmt.Sprintf("its monitor, process %d, waits for a hook, process %d: %s", monitor, child, tidy(strings.Join(argv, " ")))
			}
		}
	}
	lock := filepath.Join("/run/lxc/lock", path, "."+id)
	if held(lock) {
		return fmt.Sprintf("its lock file %q is held by %s", lock, describe(opener(lock)))
	}
	if monitor != 0 {
		return fmt.Sprintf("its monitor is process %d", monitor)
	}
	return ""
}

// lxcMonitor finds the monitor by the title it gives itself, "[lxc monitor] LXCPATH NAME"; 0 when there is none.
func lxcMonitor(path, id string) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	title := []byte("[lxc monitor] " + path + " " + id)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if bytes.Equal(bytes.TrimRight(b, "\x00 "), title) {
			return pid
		}
	}
	return 0
}

// lxcInit finds the init of a container whose tools cannot tell: the child of its monitor that leads a pid namespace.
func lxcInit(path, id string) health.Process {
	monitor := lxcMonitor(path, id)
	if monitor == 0 {
		return health.Process{}
	}
	for _, child := range children(monitor) {
		if isInit(child) {
			if p, ok := identify(child); ok {
				return p
			}
		}
	}
	return health.Process{}
}

// children lists the children of all threads of a process.
func children(pid int) []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range bytes.Fields(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// isInit tells a process that is 1 in a pid namespace below ours.
func isInit(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(b, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	return ok && len(f) > 1 && string(f[len(f)-1]) == "1"
}

func cmdline(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 })
}

// opener finds who has a file open: that is who holds its lock, which /proc/locks does not name of an OFD lock.
func opener(path string) health.Process {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == path {
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			p, _ := identify(pid)
			return p
		}
	}
	return health.Process{}
}

func describe(p health.Process) string {
	if p.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d: %s", p.PID, tidy(strings.Join(cmdline(p.PID), " ")))
}

// held tells whether somebody else has an fcntl lock on the file, of either kind.
func held(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}

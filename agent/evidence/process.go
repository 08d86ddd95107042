package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"atalaya/agent/health"
)

// maxProcesses bounds the list of processes; more are counted, not shown.
const maxProcesses = 300

// Processes are the processes in the container, and those that lead to its init. They come from its cgroup, or, where
// it has none, from its pid namespace.
func Processes(init health.Process, cgroup string) []Item {
	return []Item{{
		Name: "processes.txt", Volatile: true, Max: 128 << 10,
		Shows: "the processes in the container: state (D waits for the kernel, Z is dead), age, memory, command",
		Func:  func(ctx context.Context) ([]byte, error) { return listProcesses(ctx, init, cgroup) },
	}}
}

func listProcesses(ctx context.Context, init health.Process, cgroup string) ([]byte, error) {
	pids := pidsIn(cgroup, cgroupRoot, 4*maxProcesses)
	how := "by its cgroup"
	alive := lives(init)
	if len(pids) == 0 && alive {
		pids, how = pidsInNamespace(init.PID), "by its pid namespace"
	}
	if len(pids) == 0 && cgroup == "" {
		return nil, ended(init)
	}
	out := bytes.NewBufferString(fmt.Sprintf("%d processes in the container, found %s", len(pids), how))
	if !alive {
		fmt.Fprintf(out, "; its init (pid %d) has ended", init.PID)
	}
	out.WriteString("\n\n")
	header(out)
	uptime := bootTime()
	var stuck []int
	slices.Sort(pids)
	for n, pid := range pids {
		if n == maxProcesses || ctx.Err() != nil {
			fmt.Fprintf(out, "(%d more are not shown)\n", len(pids)-n)
			break
		}
		if st, ok := row(out, pid, uptime); ok && st.state == "D" {
			stuck = append(stuck, pid)
		}
	}
	ancestors(out, init, alive, uptime)
	stacks(out, stuck)
	return out.Bytes(), nil
}

func header(out *bytes.Buffer) {
	fmt.Fprintf(out, "%8s %8s %6s S %5s %9s %9s %9s  %s\n", "PID", "PPID", "UID", "THR", "RSS", "CPU", "AGE", "COMMAND")
}

// row writes one process. It gives false when the process has ended meanwhile, which is no news.
func row(out *bytes.Buffer, pid int, uptime time.Duration) (stat, bool) {
	st, err := statOf(pid)
	if err != nil {
		return st, false
	}
	uid := "?"
	if info, err := os.Stat(procPath(pid)); err == nil {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			uid = strconv.Itoa(int(sys.Uid))
		}
	}
	fmt.Fprintf(out, "%8d %8d %6s %s %5d %9s %9s %9s  %s\n", pid, st.ppid, uid, st.state, st.threads,
		bytesWords(st.rss*int64(os.Getpagesize())), ticks(st.utime+st.stime), age(uptime-ticks(st.start)), command(pid, st))
	return st, true
}

// command is what the process was started with. Of one in uninterruptible sleep only the name is given: reading its
// command line can wait for the lock that it holds.
func command(pid int, st stat) string {
	name := "[" + printable(st.comm) + "]"
	if st.state == "D" {
		return name + " waits in " + printable(waitsIn(pid))
	}
	text, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil || len(text) == 0 {
		return name
	}
	words := strings.ReplaceAll(string(bytes.TrimRight(text, "\x00")), "\x00", " ")
	return printable(words[:min(len(words), 400)])
}

func waitsIn(pid int) string {
	text, err := os.ReadFile(procPath(pid, "wchan"))
	if err != nil || len(text) == 0 || string(text) == "0" {
		return "an unknown place"
	}
	return string(text)
}

// ancestors lists what the container's init hangs from: the engine's monitor, which can be stopped or stuck itself.
func ancestors(out *bytes.Buffer, init health.Process, alive bool, uptime time.Duration) {
	if !alive {
		return
	}
	st, err := statOf(init.PID)
	if err != nil || st.ppid <= 1 {
		return
	}
	out.WriteString("\nWhat the container's init hangs from:\n\n")
	header(out)
	for n, ok := 0, true; ok && st.ppid > 1 && n < 8; n++ {
		st, ok = row(out, st.ppid, uptime)
	}
}

// stacks shows where the kernel keeps the processes that wait in it: the proof that a disk or a share hangs.
func stacks(out *bytes.Buffer, pids []int) {
	for _, pid := range pids[:min(len(pids), 5)] {
		if text, err := os.ReadFile(procPath(pid, "stack")); err == nil && len(text) > 0 {
			fmt.Fprintf(out, "\nWhere the kernel keeps process %d:\n%s", pid, text)
		}
	}
}

// procsBelow reads cgroup.procs of dir and of every folder below it.
func procsBelow(dir string, limit int) []int {
	var pids []int
	folders := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // it vanished, or is a file: the walk goes on
		}
		if folders++; folders > 500 || len(pids) >= limit {
			return fs.SkipAll
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// pidsInNamespace gives the processes of init's own pid namespace; of one that lives in the host's, init alone.
func pidsInNamespace(init int) []int {
	ns, err := os.Readlink(procPath(init, "ns", "pid"))
	own, errOwn := os.Readlink("/proc/self/ns/pid")
	if err != nil || errOwn != nil || ns == own {
		return []int{init}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{init}
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if other, err := os.Readlink(procPath(pid, "ns", "pid")); err == nil && other == ns {
			pids = append(pids, pid)
		}
	}
	return pids
}

func ticks(n uint64) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

// bootTime is how long the host has been up.
func bootTime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

func age(d time.Duration) string {
	if d < time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// errShared says that a container has no network of its own.
var errShared = errors.New("the container shares the host's network")

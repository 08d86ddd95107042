package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where systemd and everything after it mounts cgroups.
const cgroupRoot = "/sys/fs/cgroup"

// A cgroupDir is the container's folder in one hierarchy.
type cgroupDir struct {
	controllers string // "memory", "cpu,cpuacct", "name=systemd"; empty: version 2
	dir         string
	own         string // below the hierarchy's root: as the kernel names it
}

// cgroupDirs finds the container's own folders from the text of /proc/PID/cgroup. A process in the root of a hierarchy
// has none there, and the root's counters would be the host's.
func cgroupDirs(text, root string) []cgroupDir {
	var out []cgroupDir
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) != 3 || !path.IsAbs(f[2]) || slices.Contains(strings.Split(f[2], "/"), "..") {
			continue
		}
		// A guest's own systemd moves itself into a folder below; the limits are on the one above.
		own := strings.TrimSuffix(path.Clean(f[2]), "/init.scope")
		if own == "/" || own == "" {
			continue
		}
		out = append(out, cgroupDir{controllers: f[1], dir: filepath.Join(mountOf(f[1], root), own), own: own})
	}
	slices.SortStableFunc(out, func(a, b cgroupDir) int { return a.rank() - b.rank() })
	return out
}

// MemoryCgroup gives, from what CgroupOf gave, the container's cgroup as the kernel names it when memory runs out:
// "/lxc.payload.web1". It is empty where the container has none of its own.
func MemoryCgroup(cgroup string) string {
	dirs := cgroupDirs(cgroup, cgroupRoot)
	if len(dirs) == 0 || dirs[0].rank() > 1 {
		return ""
	}
	return dirs[0].own
}

// counts says that a file can be there: version 1 has one hierarchy for each controller, or for two.
func (d cgroupDir) counts(file string) bool {
	controller, _, _ := strings.Cut(file, ".")
	return d.controllers == "" || slices.Contains(strings.Split(d.controllers, ","), controller)
}

// rank puts first what tells most of a death, because the folders vanish one by one while they are read.
func (d cgroupDir) rank() int {
	for n, c := range []string{"memory", "", "pids"} {
		if slices.Contains(strings.Split(d.controllers, ","), c) {
			return n
		}
	}
	return 3
}

// mountOf is the folder in which the hierarchy of some controllers is mounted.
func mountOf(controllers, root string) string {
	switch {
	case controllers != "":
		return filepath.Join(root, strings.TrimPrefix(controllers, "name="))
	case isCgroup2(root):
		return root
	}
	return filepath.Join(root, "unified") // hybrid
}

func isCgroup2(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC //nolint:unconvert // int32 on some machines
}

// counters are the files worth reading, in the order of their worth: what a limit did comes first. Those of version 1
// and 2 have different names, so that one list serves both.
var counters = []string{
	"memory.events", "memory.events.local", "memory.failcnt", "memory.oom_control", "memory.current", "memory.usage_in_bytes",
	"memory.peak", "memory.max_usage_in_bytes", "memory.max", "memory.high", "memory.limit_in_bytes", "memory.swap.current",
	"memory.swap.max", "memory.swap.events", "memory.memsw.failcnt", "memory.memsw.usage_in_bytes",
	"memory.memsw.limit_in_bytes", "memory.pressure", "pids.events", "pids.current", "pids.peak", "pids.max", "cpu.stat",
	"cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuacct.usage", "cpu.pressure", "io.pressure", "io.stat",
	"cgroup.events", "cgroup.freeze", "freezer.state", "cpuset.cpus.effective", "cpuset.effective_cpus",
}

// Counters are what the kernel counted for the container: memory, processes, CPU and I/O against their limits. With LXC
// they vanish within 40 ms of its death, hence they are read first.
func Counters(cgroup string) []Item {
	return []Item{{
		Name: "cgroup-counters.txt", Volatile: true, Max: 64 << 10,
		Shows: "the kernel's counters of the container against its limits: memory, out-of-memory kills, processes, CPU, I/O",
		Func:  func(ctx context.Context) ([]byte, error) { return readCounters(ctx, cgroup, cgroupRoot) },
	}}
}

func readCounters(ctx context.Context, cgroup, root string) ([]byte, error) {
	if cgroup == "" {
		return nil, errors.New("the container's cgroup was not known before it ended")
	}
	dirs := cgroupDirs(cgroup, root)
	if len(dirs) == 0 {
		return nil, errors.New("the container has no cgroup of its own, so nothing is counted for it")
	}
	var out bytes.Buffer
	gone := 0
	for _, d := range dirs {
		n := out.Len()
		for _, name := range counters {
			if !d.counts(name) {
				continue
			}
			if ctx.Err() != nil {
				return out.Bytes(), ctx.Err()
			}
			counter(&out, filepath.Join(d.dir, name))
		}
		if _, err := os.Lstat(d.dir); out.Len() == n && errors.Is(err, fs.ErrNotExist) {
			gone++
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("the container's cgroup was gone already (%d of %d folders, %q among them)", gone, len(dirs), dirs[0].dir)
	}
	return out.Bytes(), nil
}

// counter appends one file: "PATH: value", or the path and the lines below it. ENOENT means that this kernel does not
// count it, or that the container is gone; ENODEV means that it went between opening and reading.
func counter(out *bytes.Buffer, path string) {
	text, err := readSmall(path)
	if err != nil {
		return
	}
	text = bytes.TrimSpace(text)
	if bytes.IndexByte(text, '\n') < 0 {
		fmt.Fprintf(out, "%s: %s\n", path, text)
		return
	}
	fmt.Fprintf(out, "%s:\n", path)
	for line := range bytes.Lines(text) {
		fmt.Fprintf(out, "    %s\n", bytes.TrimRight(line, "\n"))
	}
}

// readSmall reads a file of the kernel in one go: its content is made at the first read.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, 16<<10)
	n, err := f.Read(buf)
	return buf[:n], err
}

// pidsIn gives the processes of the container by its cgroup, those of nested ones too: at most limit.
func pidsIn(cgroup, root string, limit int) []int {
	for _, d := range cgroupDirs(cgroup, root) {
		if pids := procsBelow(d.dir, limit); len(pids) > 0 {
			return pids // every hierarchy has the same processes
		}
	}
	return nil
}

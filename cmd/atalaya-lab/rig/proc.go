package rig

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one row of /proc as the rig needs it.
type process struct {
	pid, ppid int
	comm      string
	argv      []string
}

// processes reads /proc once; what ends meanwhile is left out.
func processes() []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	list := make([]process, 0, len(dirs))
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false
	}
	// pid (comm) state ppid ...; comm may hold anything, so it ends at the last ")".
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 {
		return process{}, false
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, false
	}
	cmdline, _ := os.ReadFile(dir + "/cmdline")
	argv := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	return process{pid: pid, ppid: ppid, comm: string(stat[open+1 : end]), argv: argv}, true
}

// monitors tells whether this is the LXC monitor of the container; name "" means of
// any in the lxcpath. LXC rewrites the monitor's title to "[lxc monitor] PATH NAME".
func (p process) monitors(lxcpath, name string) bool {
	title := "[lxc monitor] " + lxcpath + " "
	if len(p.argv) == 0 || !strings.HasPrefix(p.argv[0], title) {
		return false
	}
	return name == "" || p.argv[0] == title+name
}

// commands tells whether this is an lxc-* tool that was told the lxcpath.
func (p process) commands(lxcpath string) bool {
	if len(p.argv) == 0 || !strings.HasPrefix(filepath.Base(p.argv[0]), "lxc-") {
		return false
	}
	return slices.Contains(p.argv, lxcpath) || slices.Contains(p.argv, "--lxcpath="+lxcpath)
}

// ours tells whether this is an agent or the lab itself that was told a file of the rig's folder.
func (p process) ours(dir string) bool {
	if len(p.argv) == 0 || p.pid == os.Getpid() {
		return false
	}
	if name := filepath.Base(p.argv[0]); name != "atalaya" && name != "atalaya-lab" {
		return false
	}
	return slices.ContainsFunc(p.argv[1:], func(a string) bool { return strings.HasPrefix(a, dir+"/") })
}

// cgroupsOf are the folders of the cgroups that the process is in, in every mounted hierarchy.
func cgroupsOf(pid int) []string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	var dirs []string
	for line := range strings.Lines(string(text)) {
		// id:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[2] == "/" {
			continue
		}
		for _, root := range cgroupRoots(parts[1]) {
			dir := filepath.Join(root, parts[2])
			if _, err := os.Stat(dir); err == nil {
				dirs = append(dirs, dir)
				break
			}
		}
	}
	return dirs
}

func cgroupRoots(controllers string) []string {
	if controllers == "" {
		return []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}
	}
	return []string{filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(controllers, "name="))}
}

// thaw ends a freeze by cgroup, whichever kind of tree it was frozen in.
func thaw(pid int) {
	for _, dir := range cgroupsOf(pid) {
		writeExisting(filepath.Join(dir, "cgroup.freeze"), "0")
		writeExisting(filepath.Join(dir, "freezer.state"), "THAWED")
	}
}

func writeExisting(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return // this tree has no such file
	}
	_, _ = f.WriteString(text)
	_ = f.Close()
}

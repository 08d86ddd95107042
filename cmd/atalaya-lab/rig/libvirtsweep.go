package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endLibvirt ends the libvirtd of a rig's folder, and what it runs: the daemon first, lest it restarts anything, then
// inits, and the processes that hold them.
func endLibvirt(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "libvirt")); err != nil {
		return nil //nolint:nilerr // there is none
	}
	written, _ := os.ReadFile(filepath.Join(dir, "libvirt/cgroups"))
	cgroups := strings.Fields(string(written))
	var ended []int
	gone := poll(20*time.Second, func() bool {
		left := false
		for _, p := range processes() {
			if !p.libvirt(dir) {
				continue
			}
			left = true
			ended = append(ended, p.pid)
			cgroups = append(cgroups, cgroupsOf(p.pid)...)
			thaw(p.pid)
			_ = syscall.Kill(p.pid, syscall.SIGCONT)
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		return !left
	})
	slices.Sort(ended)
	for _, pid := range slices.Compact(ended) { // one may have been killed before it was in the cgroup that it had made
		made, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/machine/lxc-%d-*.libvirt-lxc", pid))
		cgroups = append(cgroups, made...)
	}
	slices.Sort(cgroups)
	for _, c := range slices.Compact(cgroups) {
		if strings.Contains(c, ".libvirt-lxc") {
			poll(time.Second, func() bool { err := os.Remove(c); return err == nil || os.IsNotExist(err) })
		}
	}
	if !gone {
		return fmt.Errorf("end the domains below %q: some process survives SIGKILL", dir)
	}
	return nil
}

// libvirt tells whether this is a part of the libvirt of a rig's folder: in another mount namespace than ours, in which the
// folder is mounted somewhere, and a daemon, a controller, a VM or the init of a container.
func (p process) libvirt(dir string) bool {
	if len(p.argv) == 0 || p.pid == os.Getpid() || ownMounts(p.pid) {
		return false
	}
	switch name := filepath.Base(p.argv[0]); {
	case slices.Contains(p.argv, filepath.Join(dir, "libvirt/hook")):
		return true
	case name == "libvirtd", name == "libvirt_lxc", name == "dnsmasq", strings.HasPrefix(name, "qemu-system-"):
	default:
		env, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "environ"))
		if !bytes.Contains(env, []byte("LIBVIRT_LXC_UUID=")) {
			return false
		}
	}
	mounts, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "mountinfo"))
	return bytes.Contains(mounts, []byte(dir+"/"))
}

// ownMounts tells a process in our own mount namespace, or one that is gone.
func ownMounts(pid int) bool {
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	its, err2 := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/mnt"))
	return err1 != nil || err2 != nil || own == its
}

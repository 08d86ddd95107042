package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep removes what rigs of dead processes left behind (containers, folders,
// bridges) and names it. What a live process holds is not touched. It is cheap when
// there is nothing to do, and every new rig calls it.
func Sweep() (swept []string, err error) {
	sweepSSHDs()
	sweepHung()
	var errs []error
	for _, n := range leftSlots() {
		s, err := holdSlot(n)
		if errors.Is(err, errHeld) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		swept = append(swept, "slot "+strconv.Itoa(n))
		s.release()
	}
	return swept, errors.Join(errs...)
}

// leftSlots are the numbers that a folder or a bridge on this machine carries.
func leftSlots() []int {
	var slots []int
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, d := range dirs {
		if n, ok := slotOf(d); ok {
			slots = append(slots, n)
		}
	}
	links, _ := allLinks()
	for _, l := range links {
		if rest, ok := strings.CutPrefix(l.Attrs().Name, bridgePrefix); ok {
			if n, err := strconv.Atoi(strings.TrimSuffix(rest, "-b")); err == nil {
				slots = append(slots, n)
			}
		}
	}
	slices.Sort(slots)
	return slices.Compact(slots)
}

// sweepFolder ends the containers of a rig's folder, without asking LXC, which may
// be hung on purpose, then unmounts and removes it. A folder that a live process of
// another network namespace has locked is left alone.
func sweepFolder(dir string) error {
	lock, err := lockFolder(dir)
	if err == nil {
		defer func() { _ = lock.Close() }()
	} else if errors.Is(err, errHeld) && !lockedByUs(dir) {
		return nil
	}
	// An agent left alive would start again what is ended here.
	for _, p := range processes() {
		if p.ours(dir) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	if err := endContainers(filepath.Join(dir, "lxc")); err != nil {
		return err
	}
	if err := endOCI(dir); err != nil {
		return err
	}
	if err := endLXD(dir); err != nil {
		return err
	}
	if err := endLibvirt(dir); err != nil {
		return err
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	return nil
}

// lockedByUs tells whether this process itself holds the folder's lock: its own rig being cleaned up.
func lockedByUs(dir string) bool {
	want := filepath.Join(dir, "lock")
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == want {
			return true
		}
	}
	return false
}

// endContainers kills every init below the lxcpath and waits for the monitors to
// go; one that does not go is killed, and the cgroups it leaves are removed.
func endContainers(lxcpath string) error {
	var cgroups []string
	gone := poll(10*time.Second, func() bool {
		left := false
		all := processes()
		for _, p := range all {
			switch {
			case p.commands(lxcpath):
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				left = true
			case p.monitors(lxcpath, ""):
				left = true
				cgroups = append(cgroups, endInit(p.pid, all)...)
			}
		}
		return !left
	})
	if !gone {
		for _, p := range processes() {
			if p.monitors(lxcpath, "") {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
	}
	slices.Sort(cgroups)
	removeCgroups(slices.Compact(cgroups))
	if !gone && !poll(5*time.Second, func() bool { return !hasMonitors(lxcpath) }) {
		return fmt.Errorf("end the containers below %q: a monitor survives SIGKILL", lxcpath)
	}
	return nil
}

func hasMonitors(lxcpath string) bool {
	return slices.ContainsFunc(processes(), func(p process) bool { return p.monitors(lxcpath, "") })
}

// endInit wakes a stopped monitor, thaws and kills its children, and tells the
// cgroups they were in.
func endInit(monitor int, all []process) (cgroups []string) {
	_ = syscall.Kill(monitor, syscall.SIGCONT)
	cgroups = cgroupsOf(monitor)
	for _, p := range all {
		if p.ppid != monitor {
			continue
		}
		cgroups = append(cgroups, cgroupsOf(p.pid)...)
		thaw(p.pid)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	return cgroups
}

// removeCgroups removes those that LXC made and did not remove itself.
func removeCgroups(dirs []string) {
	for _, d := range dirs {
		// Never the cgroup that we or the session are in.
		if !strings.Contains(d, "/lxc.") {
			continue
		}
		poll(time.Second, func() bool {
			err := os.Remove(d)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	}
}

// unmountBelow detaches every mount below the folder, so that removing it can never
// reach through a bind mount.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	slices.Reverse(lines) // the latest, hence the innermost, first
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], dir+"/") {
			continue
		}
		if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %q: %w", fields[4], err)
		}
	}
	return nil
}

package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// hungSource is what the mounts of HangFolder are called, before the pid of their process.
const hungSource = "atalaya-hung-"

// HangFolder lays a file system in user space over a folder, whose daemon never answers: whoever touches anything below it
// waits, as with a pmxcfs, an NFS server or a Ceph that hangs. wake ends that, as the end of the test does: those who wait
// get ENOTCONN, and what was there before is seen again. It needs root and /dev/fuse.
func HangFolder(t TB, dir string) (wake func()) {
	t.Helper()
	sweepHung()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("rig: open /dev/fuse: %v", err)
	}
	if err := unix.Mount(hungSource+strconv.Itoa(os.Getpid()), dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		_ = unix.Close(fd)
		t.Fatalf("rig: mount a hanging file system on %q: %v", dir, err)
	}
	wake = sync.OnceFunc(func() {
		_ = unix.Close(fd)
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	t.Cleanup(wake)
	return wake
}

// sweepHung unmounts those whose test was killed.
func sweepHung() {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(g) < 2 || !strings.HasPrefix(g[1], hungSource) {
			continue
		}
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(g[1], hungSource)); err != nil {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}

package rig

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Rootfs is where the files of a container of the project "default" lie.
func (l *LXD) Rootfs(name string) string {
	return filepath.Join(l.Path(), "storage-pools/default/containers", name, "rootfs")
}

// HideRootfs takes the files of a container away, as a pool does that is not mounted, until show.
func (l *LXD) HideRootfs(name string) (show func()) {
	l.t.Helper()
	away := filepath.Join(l.slot.dir, "away-"+name)
	l.must(os.Rename(l.Rootfs(name), away))
	return func() { l.t.Helper(); l.must(os.Rename(away, l.Rootfs(name))) }
}

// HoldCopy begins to copy a container that does not run, and holds the copying in the middle (SIGSTOP). To release is to
// have it fail (SIGKILL) and to wait for its end.
func (l *LXD) HoldCopy(from, to string) (release func()) {
	l.t.Helper()
	big := filepath.Join(l.Rootfs(from), "big")
	l.must(os.WriteFile(big, nil, 0o600))
	l.must(os.Truncate(big, 8<<30)) // a hole, which takes a while to read
	done := make(chan struct{})
	go func() { defer close(done); _, _ = l.Try("copy", "--quiet", from, to) }()
	copying := func(sig syscall.Signal) bool {
		some := false
		for _, p := range processes() {
			if p.comm == "rsync" && slices.ContainsFunc(p.argv, func(a string) bool { return strings.HasPrefix(a, l.Path()+"/") }) {
				some = syscall.Kill(p.pid, sig) == nil || some
			}
		}
		return some
	}
	if !poll(quick, func() bool { return copying(syscall.SIGSTOP) }) {
		l.t.Fatalf("rig: lxd does not copy %q", from)
	}
	return func() {
		l.t.Helper()
		copying(syscall.SIGKILL)
		<-done
		l.must(os.Remove(big))
	}
}

// Followed tells whether somebody follows the daemon's events.
func (l *LXD) Followed() bool {
	for _, p := range processes() {
		if p.comm == "lxc" && slices.Contains(p.argv, "monitor") && p.lxd(l.Path()) {
			return true
		}
	}
	return false
}

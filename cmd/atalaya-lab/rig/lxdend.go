package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// endLXD ends the daemon of a rig's folder, its helpers and clients, then its containers.
func endLXD(dir string) error {
	home := filepath.Join(dir, "lxd")
	if _, err := os.Stat(home); err != nil {
		return nil //nolint:nilerr // there is none
	}
	end := func() bool {
		left := false
		for _, p := range processes() {
			if p.lxd(home) {
				left = true
				_ = syscall.Kill(p.pid, syscall.SIGCONT)
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		return !left
	}
	if !poll(10*time.Second, end) {
		return fmt.Errorf("end the LXD in %q: some process survives SIGKILL", home)
	}
	if err := endContainers(filepath.Join(home, "containers")); err != nil {
		return err
	}
	poll(5*time.Second, end) // the hooks of the containers that ended
	return nil
}

// lxd tells whether this is a daemon, helper or client with this folder in its environment. The daemon gives itself an
// argv of its own, hence the comm.
func (p process) lxd(home string) bool {
	if p.comm != "lxd" && p.comm != "lxc" {
		return false
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	return bytes.Contains(append([]byte{0}, b...), []byte("\x00LXD_DIR="+home+"\x00"))
}

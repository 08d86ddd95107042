package rig

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// baseVersion changes whenever what is put into the base root changes, so that an
// older cached one is not used.
const baseVersion = "systemd-root-3"

// basePackages make a Debian 12 on which an agent runs, to which ssh goes, and in which LXC and systemd-nspawn nest.
const basePackages = "systemd,systemd-sysv,dbus,iproute2,lxc,busybox-static,procps,ca-certificates,systemd-container,openssh-server,openssh-client"

// masked would only wait for devices, terminals and networks that a container has not.
var masked = []string{
	"lxc-net.service", "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
	"systemd-networkd.service", "systemd-resolved.service", "getty.target", "console-getty.service",
	"systemd-logind.service", "systemd-timesyncd.service", "e2scrub_reap.service", "apt-daily.timer",
	"apt-daily-upgrade.timer", "ssh.service", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "apparmor.service",
}

// v2init gives this host a pure cgroup v2 tree before systemd looks at it: nested
// LXC fails on the hybrid tree ("Failed to open 9/cpuacct").
const v2init = `#!/bin/sh
umount -R /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup
exec /lib/systemd/systemd systemd.unified_cgroup_hierarchy=1
`

// baseRoot is the cached root that every systemd rig starts from; made by
// debootstrap on first use (a minute), by one process at a time.
func baseRoot(t TB) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/root/.cache" // no HOME: a service of the machine
	}
	cache = filepath.Join(cache, "atalaya-lab")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("make the cache of the lab: %w", err)
	}
	base := filepath.Join(cache, baseVersion)
	lock, err := os.OpenFile(base+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("lock the cache of the lab: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock the cache of the lab: %w", err)
	}
	if _, err := os.Stat(base + ".ready"); err == nil {
		return base, nil
	}
	t.Logf("rig: making the systemd root once, about a minute: %s", base)
	return base, buildBase(base)
}

func buildBase(base string) error {
	if err := os.RemoveAll(base); err != nil {
		return fmt.Errorf("clear a half-made root: %w", err)
	}
	if _, err := run(slow, "debootstrap", "--variant=minbase", "--include="+basePackages, "bookworm", base); err != nil {
		return fmt.Errorf("make the systemd root (its log is debootstrap/debootstrap.log in %q): %w", base, err)
	}
	// Half of it is nothing that a test reads, and every rig copies all of it.
	for _, useless := range []string{"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale",
		"usr/share/lintian", "var/cache/apt", "var/lib/apt/lists"} {
		if err := os.RemoveAll(filepath.Join(base, useless)); err != nil {
			return fmt.Errorf("slim the systemd root: %w", err)
		}
	}
	for _, unit := range masked {
		if err := os.Symlink("/dev/null", filepath.Join(base, "etc/systemd/system", unit)); err != nil {
			return fmt.Errorf("mask %q in the systemd root: %w", unit, err)
		}
	}
	// LXC's own start at boot is a test's choice.
	for _, wants := range []string{"lxc.service", "lxc-net.service", "lxc-monitord.service"} {
		_ = os.Remove(filepath.Join(base, "etc/systemd/system/multi-user.target.wants", wants))
	}
	if err := os.WriteFile(filepath.Join(base, "sbin/v2init"), []byte(v2init), 0o755); err != nil {
		return fmt.Errorf("write the root's first program: %w", err)
	}
	return os.WriteFile(base+".ready", nil, 0o600)
}

package rig_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"atalaya/cmd/atalaya-lab/rig"
)

// notifies says READY=1 after a while: with Type=notify, start returns only then.
const notifies = `[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/busybox sh -c 'sleep 0.3; touch /run/was-ready; systemd-notify --ready; exec sleep 1000'
`

func TestSystemdHost(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox", "debootstrap")
	host := rig.NewSystemd(t, rig.SystemdOptions{N: 1, LXCService: true})

	t.Run("a Type=notify unit", func(t *testing.T) {
		s := host.With(t)
		s.Write("/etc/systemd/system/notifies.service", notifies)
		s.MustExec("systemctl", "daemon-reload")
		s.MustExec("systemctl", "start", "notifies.service")
		if _, err := os.Stat(filepath.Join(s.Root(), "run/was-ready")); err == nil {
			t.Error("/run of the host is no mount of its own")
		}
		if out := s.Exec("test", "-e", "/run/was-ready"); out.Exit != 0 {
			t.Errorf("start returned before the unit was ready: %+v", out)
		}
		if got := s.MustExec("systemctl", "is-active", "notifies.service"); strings.TrimSpace(got) != "active" {
			t.Errorf("unit is %q", got)
		}
	})
	t.Run("a nested container serves and dies", func(t *testing.T) {
		s := host.With(t)
		s.WaitHTTP("web1", patience)
		machine, inside := s.GuestInit("web1")
		if machine == inside || syscall.Kill(machine, 0) != nil {
			t.Errorf("init is %d here and %d in the host", machine, inside)
		}
		s.Kill9("web1")
		s.WaitState("web1", "STOPPED", patience)
		s.MustExec("lxc-start", "-n", "web1")
		s.WaitHTTP("web1", patience)
	})
	t.Run("files go in", func(t *testing.T) {
		s := host.With(t)
		s.CopyIn("/bin/busybox", "/usr/local/bin/busybox")
		if got := s.MustExec("/usr/local/bin/busybox", "echo", "hello"); got != "hello\n" {
			t.Errorf("the copied program said %q", got)
		}
		if r := s.Exec("/usr/local/bin/busybox", "false"); r.Exit != 1 {
			t.Errorf("exit of false is %d", r.Exit)
		}
	})
	t.Run("power off, boot, and lxc.service starts the containers", func(t *testing.T) {
		s := host.With(t)
		s.Poweroff()
		s.Boot()
		s.WaitHTTP("web1", patience)
		if root := s.MustExec("cat", "/proc/mounts"); !strings.Contains(root, " /sys/fs/cgroup cgroup2 ") {
			t.Errorf("no pure cgroup v2 tree:\n%s", root)
		}
	})
}

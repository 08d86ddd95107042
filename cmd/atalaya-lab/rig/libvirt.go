package rig

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Libvirt is a libvirtd of its own with a bridge, for LXC containers or for VMs that serve on port 80. It lives in a mount
// namespace in which its folders lie over the host's, so nothing of the host's libvirt is touched; its socket and all its
// files are reachable from outside below [Libvirt.Root]. Its methods end the test on failure; call them from the test's own
// goroutine.
type Libvirt struct {
	t TB
	*libvirtInstallation
}

type libvirtInstallation struct {
	slot   *slot
	driver string // "lxc", "qemu"
	daemon *exec.Cmd
	ended  chan struct{}
	addrs  map[string]netip.Addr
}

// NewLibvirt starts a libvirtd for the "lxc" or the "qemu" driver.
func NewLibvirt(t TB, driver string) *Libvirt {
	t.Helper()
	if _, err := Sweep(); err != nil {
		t.Logf("rig: sweep leftovers: %v", err)
	}
	s, err := takeSlot()
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	v := &Libvirt{t: t, libvirtInstallation: &libvirtInstallation{slot: s, driver: driver, addrs: map[string]netip.Addr{}}}
	t.Cleanup(v.clean)
	v.must(makeBridge(v.Bridge(), netip.PrefixFrom(s.addr(1), 24)))
	if driver == "qemu" {
		v.must(makeGuest(s.dir))
	} else {
		v.must(makeRootfs(v.rootfs()))
		v.must(os.WriteFile(filepath.Join(v.rootfs(), "sbin/web"), []byte(libvirtInit), 0o755))
	}
	v.must(v.furnish())
	v.StartDaemon()
	return v
}

// libvirtInit ends at SIGTERM, as a well-made service does.
const libvirtInit = `#!/bin/sh
trap 'exit 0' TERM
ifconfig lo 127.0.0.1 up
ifconfig eth0 $IP netmask 255.255.255.0 up
httpd -f -p 80 -h /www &
while :; do wait; done
`

// libvirtFolders are those that lie over the host's.
func libvirtFolders() []string {
	return []string{"etc/libvirt", "run/libvirt", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt"}
}

// furnish makes the daemon's folders. libvirtd wants users that come with a package of units, which the rig has no use for.
func (v *Libvirt) furnish() error {
	for _, d := range append(libvirtFolders(), "full", "etc/libvirt/hooks") {
		if err := os.MkdirAll(filepath.Join(v.Root(), d), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/libvirt/qemu.conf": "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\ncgroup_controllers = []\n" +
			"namespaces = []\nremember_owner = 0\n",
		"etc/libvirt/hooks/lxc":     v.hookScript(),
		"etc/libvirt/hooks/qemu":    v.hookScript(),
		"etc/libvirt/lxc.conf":      "security_driver = \"none\"\n",
		"etc/libvirt/libvirtd.conf": "auth_unix_rw = \"none\"\nunix_sock_group = \"root\"\nunix_sock_rw_perms = \"0700\"\n",
	}
	for path, lines := range map[string]string{"/etc/passwd": "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n", "/etc/group": "libvirt-qemu:x:64055:\nkvm:x:64056:\n"} {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[path[1:]] = strings.TrimRight(string(b), "\n") + "\n" + lines
	}
	if err := writeFiles(v.Root(), files); err != nil {
		return err
	}
	for _, hook := range []string{"lxc", "qemu"} { // which the daemon looks for once, when it starts
		if err := os.Chmod(filepath.Join(v.Root(), "etc/libvirt/hooks", hook), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (v *Libvirt) hook() string { return filepath.Join(v.Root(), "hook") }

func (v *Libvirt) hookScript() string {
	return "#!/bin/sh\n[ ! -x " + v.hook() + " ] || exec " + v.hook() + ` "$@"` + "\n"
}

// Hook has the daemon run a script, with the name of the domain and what happens to it ("prepare", "started", "release"),
// until it is given "".
func (v *Libvirt) Hook(script string) {
	v.t.Helper()
	if script == "" {
		_ = os.Remove(v.hook())
		return
	}
	v.must(os.WriteFile(v.hook()+".new", []byte("#!/bin/sh\n"+script), 0o755))
	v.must(os.Rename(v.hook()+".new", v.hook()))
}

// daemonScript lays the folders over the host's, in a mount namespace. The unified hierarchy is hidden: beside v1
// controllers libvirt 9.0 refuses to start containers with it.
const daemonScript = `set -e
cd "$1"
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
shift
for d; do mkdir -p "/$d"; mount --bind "$d" "/$d"; done
mount --bind etc/passwd /etc/passwd
mount --bind etc/group /etc/group
mountpoint -q full || mount -t tmpfs -o size=1m none full
rm -f run/libvirtd.pid
exec libvirtd -f "$PWD/etc/libvirt/libvirtd.conf" -p "$PWD/run/libvirtd.pid"
`

// StartDaemon starts libvirtd and waits until it answers. The first answer about VMs takes seconds: it looks what qemu can.
func (v *Libvirt) StartDaemon() {
	v.t.Helper()
	log, err := os.OpenFile(filepath.Join(v.slot.dir, "libvirtd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	v.must(err)
	defer func() { _ = log.Close() }()
	cmd := exec.Command("sh", append([]string{"-c", daemonScript, "libvirtd", v.Root()}, libvirtFolders()...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS}
	v.must(cmd.Start())
	v.daemon, v.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) { _ = cmd.Wait(); close(ended) }(v.ended)
	for err = errors.New("not asked"); err != nil; {
		select {
		case <-v.ended:
			text, _ := os.ReadFile(log.Name())
			v.t.Fatalf("rig: libvirtd ended; the end of its log:\n%s", text[max(0, len(text)-2000):])
		case <-time.After(20 * time.Millisecond):
		}
		if _, err = os.Stat(v.socket()); err == nil {
			_, err = v.Try("version")
		}
	}
}

// KillDaemon ends libvirtd; what it runs lives on.
func (v *Libvirt) KillDaemon() {
	v.t.Helper()
	v.must(v.daemon.Process.Signal(syscall.SIGKILL))
	<-v.ended
	_ = os.Remove(v.socket())
}

// HangDaemon stops libvirtd (SIGSTOP): its socket takes questions and nobody answers.
func (v *Libvirt) HangDaemon() { v.t.Helper(); v.must(v.daemon.Process.Signal(syscall.SIGSTOP)) }

// ResumeDaemon ends [Libvirt.HangDaemon].
func (v *Libvirt) ResumeDaemon() { v.t.Helper(); v.must(v.daemon.Process.Signal(syscall.SIGCONT)) }

func (v *Libvirt) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatalf("rig: %v", err)
	}
}

// Fail ends the test with this error.
func (v *Libvirt) Fail(err error) { v.t.Helper(); v.must(err) }

func (v *Libvirt) clean() {
	if err := sweepFolder(v.slot.dir); err != nil {
		v.t.Logf("rig: clean up: %v", err)
	}
	if v.ended != nil {
		<-v.ended
	}
	for _, bridge := range v.slot.bridges() {
		if err := deleteBridge(bridge); err != nil {
			v.t.Logf("rig: clean up: %v", err)
		}
	}
	v.slot.release()
}

// With is the same rig, ending another test on failure: a subtest's.
func (v *Libvirt) With(t TB) *Libvirt {
	return &Libvirt{t: t, libvirtInstallation: v.libvirtInstallation}
}

// Root is what the daemon's files lie below, as they do below / elsewhere.
func (v *Libvirt) Root() string { return filepath.Join(v.slot.dir, "libvirt") }

// Bridge is the name of the rig's own bridge.
func (v *Libvirt) Bridge() string { return v.slot.bridge() }

// Driver is "lxc" or "qemu".
func (v *Libvirt) Driver() string { return v.driver }

// NetworkBridge is the bridge that the daemon makes for [Libvirt.MakeNetwork].
func (v *Libvirt) NetworkBridge() string { return v.slot.dhcpBridge() }

// MakeNetwork has the daemon make a network with a bridge and a DHCP server of its own, and without a rule in the firewall.
func (v *Libvirt) MakeNetwork(name string) {
	v.t.Helper()
	text := fmt.Sprintf("<network><name>%s</name><forward mode='open'/><bridge name='%s' stp='off' delay='0'/><ip address='%s' netmask='255.255.255.0'><dhcp><range start='%s' end='%s'/></dhcp></ip></network>",
		name, v.slot.dhcpBridge(), v.slot.dhcpAddr(1), v.slot.dhcpAddr(10), v.slot.dhcpAddr(20))
	path := filepath.Join(v.slot.dir, "network.xml")
	v.must(os.WriteFile(path, []byte(text), 0o600))
	v.Virsh("net-define", path)
	v.Virsh("net-start", name)
}

func (v *Libvirt) socket() string { return filepath.Join(v.Root(), "run/libvirt/libvirt-sock") }

func (v *Libvirt) rootfs() string { return filepath.Join(v.slot.dir, "rootfs") }

// URI is the connection to this daemon.
func (v *Libvirt) URI() string { return v.driver + "+unix:///system?socket=" + v.socket() }

// Virsh runs a command of virsh, as a person does, and gives what it printed.
func (v *Libvirt) Virsh(argv ...string) string {
	v.t.Helper()
	out, err := v.Try(argv...)
	v.must(err)
	return strings.TrimSpace(out)
}

// Try is Virsh for what may fail.
func (v *Libvirt) Try(argv ...string) (string, error) {
	return run(time.Minute, append([]string{"env", "LC_ALL=C", "virsh", "-c", v.URI()}, argv...)...)
}

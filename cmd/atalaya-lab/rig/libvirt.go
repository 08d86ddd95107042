package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// LibvirtOptions say what a domain is like.
type LibvirtOptions struct {
	Autostart bool
	Failing   bool     // its start fails
	Init      string   // of a container, another than the rig's own
	Args      []string // of that init
	Fill      bool     // a VM that writes to a disk behind which there is no room
	Devices   string   // further XML of its devices
	Raw       string   // further XML of the domain
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
	for _, d := range append(libvirtFolders(), "full") {
		if err := os.MkdirAll(filepath.Join(v.Root(), d), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/libvirt/qemu.conf": "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\ncgroup_controllers = []\n" +
			"namespaces = []\nremember_owner = 0\n",
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
	return writeFiles(v.Root(), files)
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
	if err := deleteBridge(v.Bridge()); err != nil {
		v.t.Logf("rig: clean up: %v", err)
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

// Make defines a domain, which does not run.
func (v *Libvirt) Make(name string, o LibvirtOptions) {
	v.t.Helper()
	if _, had := v.addrs[name]; !had {
		v.addrs[name] = v.slot.addr(2 + len(v.addrs))
	}
	path := filepath.Join(v.slot.dir, "define.xml")
	v.must(os.WriteFile(path, []byte(v.xml(name, o)), 0o600))
	v.Virsh("define", path)
	if o.Autostart {
		v.Virsh("autostart", "--domain", name)
	}
}

// Definition is the file that libvirt keeps of a domain.
func (v *Libvirt) Definition(name string) string {
	return filepath.Join(v.Root(), "etc/libvirt", v.driver, name+".xml")
}

// Start starts a domain and waits for virsh's answer.
func (v *Libvirt) Start(name string) { v.t.Helper(); v.Virsh("start", "--domain", name) }

// Freeze pauses it.
func (v *Libvirt) Freeze(name string) { v.t.Helper(); v.Virsh("suspend", "--domain", name) }

// Thaw ends [Libvirt.Freeze].
func (v *Libvirt) Thaw(name string) { v.t.Helper(); v.Virsh("resume", "--domain", name) }

// Remove ends and undefines it.
func (v *Libvirt) Remove(name string) {
	v.t.Helper()
	_, _ = v.Try("destroy", "--domain", name)
	_ = os.Remove(v.Definition(name)) // also of one that the daemon does not know
	_, _ = v.Try("undefine", "--domain", name)
}

// InitPID is the pid of a container's init, or of a VM's process; the test ends if it does not run.
func (v *Libvirt) InitPID(name string) int {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.Root(), "run/libvirt", v.driver, name+".pid"))
	v.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	v.must(err)
	if v.driver == "qemu" {
		return pid
	}
	for _, p := range processes() {
		if p.ppid == pid {
			return p.pid
		}
	}
	v.t.Fatalf("rig: the controller %d of %q has no child", pid, name)
	return 0
}

// ControllerPID is the pid of the libvirt_lxc that holds a container.
func (v *Libvirt) ControllerPID(name string) int {
	v.t.Helper()
	p, ok := readProcess(v.InitPID(name))
	if !ok {
		v.t.Fatalf("rig: the init of %q ended", name)
	}
	return p.ppid
}

// Kill9 kills a container's init, or a VM's process, and tells its pid.
func (v *Libvirt) Kill9(name string) int {
	v.t.Helper()
	pid := v.InitPID(name)
	v.must(syscall.Kill(pid, syscall.SIGKILL))
	return pid
}

// Addr is the domain's address, running or not.
func (v *Libvirt) Addr(name string) netip.Addr { return v.addrs[name] }

// WaitHTTP asks the domain's web server until it answers.
func (v *Libvirt) WaitHTTP(name string, within time.Duration) {
	v.t.Helper()
	_, err := WaitHTTP(context.Background(), "http://"+v.addrs[name].String()+"/", within)
	v.must(err)
}

// xml is the definition of a domain.
func (v *Libvirt) xml(name string, o LibvirtOptions) string {
	a := v.addrs[name].As4()
	nic := fmt.Sprintf("<interface type='bridge'><source bridge='%s'/><mac address='52:54:00:d5:%02x:%02x'/>%%s</interface>", v.Bridge(), a[2], a[3])
	if v.driver == "lxc" {
		init := cmp.Or(o.Init, "/sbin/web")
		if o.Failing {
			init = "/bin/nosuch"
		}
		init = "<init>" + init + "</init>"
		for _, a := range o.Args {
			init += "<initarg>" + a + "</initarg>"
		}
		return fmt.Sprintf("<domain type='lxc'><name>%s</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"+
			"<os><type>exe</type>%s<initenv name='IP'>%s</initenv></os>"+
			"<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>%s"+
			"<devices><emulator>/usr/lib/libvirt/libvirt_lxc</emulator><filesystem type='mount'><source dir='%s'/><target dir='/'/></filesystem>"+
			"%s<console type='pty'/>%s</devices></domain>\n", name, init, v.addrs[name], o.Raw, v.rootfs(), fmt.Sprintf(nic, ""), o.Devices)
	}
	kernel, more := filepath.Join(v.slot.dir, "vmlinuz"), ""
	if o.Failing {
		kernel += "-nosuch"
	}
	if o.Fill {
		more = " fill=1"
		disk := filepath.Join(v.Root(), "full", name+".img") // exists in the daemon's mount namespace only, and is made by it
		o.Devices += fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>", disk)
	}
	return fmt.Sprintf("<domain type='qemu'><name>%s</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>"+
		"<os><type arch='x86_64' machine='pc'>hvm</type><kernel>%s</kernel><initrd>%s</initrd><cmdline>console=ttyS0 panic=-1 quiet nokaslr mitigations=off tsc=reliable no_timer_check ip=%s%s</cmdline></os>"+
		"<features><acpi/></features><on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>%s"+
		"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>%s<serial type='file'><source path='%s'/></serial>"+
		"<video><model type='vga'/></video><memballoon model='none'/>%s</devices></domain>\n",
		name, kernel, filepath.Join(v.slot.dir, "initrd.gz"), v.addrs[name], more, o.Raw, fmt.Sprintf(nic, "<model type='virtio'/>"), v.Console(name), o.Devices)
}

// Console is the file that a VM's serial console goes to.
func (v *Libvirt) Console(name string) string { return filepath.Join(v.slot.dir, name+".console") }

// MakeFull makes the disk of a domain with Fill: larger than the file system it lies on.
func (v *Libvirt) MakeFull(name string) {
	v.t.Helper()
	_, err := run(quick, "nsenter", "--mount", "--target", strconv.Itoa(v.daemon.Process.Pid), "--", "truncate", "--size=8M", filepath.Join(v.Root(), "full", name+".img"))
	v.must(err)
}

package rig

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LibvirtOptions say what a domain is like.
type LibvirtOptions struct {
	Autostart bool
	Failing   bool     // its start fails
	Init      string   // of a container, another than the rig's own
	Args      []string // of that init
	Fill      bool     // a VM with a disk behind which there is no room, see [Libvirt.FillDisk]
	Firmware  bool     // a VM without a system: it runs at once, and does nothing
	Once      bool     // one whose firmware finds nothing, and then restarts it, which ends it
	Network   string   // one of libvirt's, instead of the rig's bridge
	NoNetwork bool
	Devices   string // further XML of its devices
	Raw       string // further XML of the domain
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

// KillController kills the libvirt_lxc that holds a container. The cgroups that it and its container are in are then nobody's:
// they are written down, so that they go with the rig.
func (v *Libvirt) KillController(name string) {
	v.t.Helper()
	pid := v.ControllerPID(name)
	f, err := os.OpenFile(filepath.Join(v.Root(), "cgroups"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	v.must(err)
	defer func() { _ = f.Close() }()
	for _, dir := range append(cgroupsOf(v.InitPID(name)), cgroupsOf(pid)...) {
		_, err := fmt.Fprintln(f, dir)
		v.must(err)
	}
	v.must(syscall.Kill(pid, syscall.SIGKILL))
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
	if v.driver == "lxc" {
		return v.containerXML(name, o)
	}
	return v.vmXML(name, o)
}

func (v *Libvirt) nicXML(name string, o LibvirtOptions, more string) string {
	source := "<interface type='bridge'><source bridge='" + v.Bridge() + "'/>"
	switch {
	case o.NoNetwork:
		return ""
	case o.Network != "":
		source = "<interface type='network'><source network='" + o.Network + "'/>"
	}
	a := v.addrs[name].As4()
	return fmt.Sprintf("%s<mac address='52:54:00:d5:%02x:%02x'/>%s</interface>", source, a[2], a[3], more)
}

func (v *Libvirt) containerXML(name string, o LibvirtOptions) string {
	init := cmp.Or(o.Init, "/sbin/web")
	if o.Failing {
		init = "/bin/nosuch"
	}
	init = "<init>" + init + "</init>"
	for _, a := range o.Args {
		init += "<initarg>" + a + "</initarg>"
	}
	// Without privnet a container that has no card lives in this host's network, where its init would take eth0 for its own.
	return fmt.Sprintf("<domain type='lxc'><name>%s</name><memory unit='MiB'>32</memory><vcpu>1</vcpu><features><privnet/></features>"+
		"<os><type>exe</type>%s<initenv name='IP'>%s</initenv></os>"+
		"<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>%s"+
		"<devices><emulator>/usr/lib/libvirt/libvirt_lxc</emulator><filesystem type='mount'><source dir='%s'/><target dir='/'/></filesystem>"+
		"%s<console type='pty'/>%s</devices></domain>\n", name, init, v.addrs[name], o.Raw, v.rootfs(), v.nicXML(name, o, ""), o.Devices)
}

func (v *Libvirt) vmXML(name string, o LibvirtOptions) string {
	kernel := filepath.Join(v.slot.dir, "vmlinuz")
	if o.Failing {
		kernel += "-nosuch"
	}
	system, memory, reboot := fmt.Sprintf("<kernel>%s</kernel><initrd>%s</initrd><cmdline>console=ttyS0 panic=-1 quiet nokaslr mitigations=off tsc=reliable no_timer_check ip=%s</cmdline>",
		kernel, filepath.Join(v.slot.dir, "initrd.gz"), v.addrs[name]), 128, "restart"
	if o.Firmware || o.Once {
		system, memory = "", 16
	}
	if o.Once {
		system, reboot = "<bios rebootTimeout='0'/>", "destroy"
	}
	if o.Fill {
		disk := filepath.Join(v.Root(), "full", name+".img") // exists in the daemon's mount namespace only, and is made by it
		o.Devices += fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>", disk)
	}
	return fmt.Sprintf("<domain type='qemu'><name>%s</name><memory unit='MiB'>%d</memory><vcpu>1</vcpu>"+
		"<os><type arch='x86_64' machine='pc'>hvm</type>%s</os>"+
		"<features><acpi/></features><on_poweroff>destroy</on_poweroff><on_reboot>%s</on_reboot><on_crash>destroy</on_crash>%s"+
		"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>%s<serial type='file'><source path='%s'/></serial>"+
		"<video><model type='vga'/></video><memballoon model='none'/>%s</devices></domain>\n",
		name, memory, system, reboot, o.Raw, v.nicXML(name, o, "<model type='virtio'/>"), v.Console(name), o.Devices)
}

// Console is the file that a VM's serial console goes to.
func (v *Libvirt) Console(name string) string { return filepath.Join(v.slot.dir, name+".console") }

// MakeFull makes the disk of a domain with Fill: larger than the file system it lies on.
func (v *Libvirt) MakeFull(name string) {
	v.t.Helper()
	v.inMounts(v.daemon.Process.Pid, "truncate", "--size=8M", filepath.Join(v.Root(), "full", name+".img"))
}

// MakeRoom makes that file system larger. It is the one that the VM sees: a daemon that was started anew has another.
func (v *Libvirt) MakeRoom(name string) {
	v.t.Helper()
	v.inMounts(v.InitPID(name), "mount", "-o", "remount,size=16m", filepath.Join(v.Root(), "full"))
}

// inMounts runs a command in the mount namespace of a process.
func (v *Libvirt) inMounts(pid int, argv ...string) {
	v.t.Helper()
	_, err := run(quick, append([]string{"nsenter", "--mount", "--target", strconv.Itoa(pid), "--"}, argv...)...)
	v.must(err)
}

// FillDisk has a VM with Fill write to its disk.
func (v *Libvirt) FillDisk(name string) { v.t.Helper(); v.ask(name, "fill") }

// Reboot has a VM reboot itself, from inside.
func (v *Libvirt) Reboot(name string) { v.t.Helper(); v.ask(name, "reboot") }

// ask has a VM do something, by its web server.
func (v *Libvirt) ask(name, what string) {
	v.t.Helper()
	res, err := http.Get("http://" + v.addrs[name].String() + "/cgi-bin/" + what) //nolint:noctx // bounded by the test
	v.must(err)
	v.must(res.Body.Close())
}

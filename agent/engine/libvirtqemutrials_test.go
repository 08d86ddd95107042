package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// The trials of VMs, on a real libvirtd with qemu, without KVM.
func libvirtQemuTrials() stager {
	return stages("libvirt qemu", virtVMs, nil, map[trial]stand[*rig.Libvirt]{
		found:         virtBy(virtFound(" qemu")),
		missing:       virtBy(virtMissing, virtStorageFull),
		rebooted:      virtBy(virtRebootsVM),
		ignores:       virtBy(virtDeafVM),
		failsToStart:  virtBy(virtFailsVM),
		startLies:     virtBy(virtLiesVM),
		locked:        virtBy(virtJobs, virtSaved),
		staleLock:     {never: virtNoStale},
		daemonStopped: virtBy(virtDaemonStopped),
		daemonHung:    virtBy(virtDaemonHung),
		daemonAnew:    virtBy(virtDaemonAnew),
		oneHangs:      virtBy(virtHookHangs, virtFrozen),
		renamed:       virtBy(virtRenamed),
		halfMade:      {never: virtNoTemplates},
		breaks:        virtBy(virtBreaks),
		addresses:     virtBy(virtAddressesOfVM),
		whoStopped:    virtBy(virtIntentsOfVM, virtPoweredOff),
		others:        virtBy(virtOthers),
		strange:       virtBy(virtStrange),
		oneProcess:    virtBy(virtCosts),
		takesOver:     virtBy(virtTakesOver),
		keeps:         virtBy(virtKeepsOfVM, virtHostileConsole),
	})
}

func virtVMs(t *testing.T) *rig.Libvirt {
	r := libvirtRig(t, "qemu")
	r.Make("web1", rig.LibvirtOptions{Fill: true})
	r.MakeFull("web1")
	r.Make("web2", virtCheap(r))
	r.Start("web1")
	r.Start("web2")
	return r
}

// A disk whose storage is full stops its VM, which is told with the disk, and goes on when there is room.
func virtStorageFull(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	virtBooted(r)
	r.FillDisk("web1")
	eventually(t, "the full storage stops it", func() bool { return find(t, list(t, i), "web1").State == health.Broken })
	if s := look(t, i, "web1"); s.State != health.Broken || !strings.Contains(s.Detail, "I/O error") || !strings.Contains(s.Detail, "vda: no space") || s.Init.PID == 0 {
		t.Errorf("a VM without room: %+v", s)
	}
	r.MakeRoom("web1")
	r.Virsh("resume", "web1")
	virtBooted(r)
	if s := look(t, i, "web1"); s.State != health.Running || strings.Contains(s.Detail, "vda") {
		t.Errorf("with room again: %+v", s)
	}
}

// A VM that reboots is one life for its host: its process goes on.
func virtRebootsVM(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	virtBooted(r)
	was := find(t, list(t, i), "web1")
	boots := func() int {
		b, err := os.ReadFile(r.Console("web1"))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("READY"))
	}
	before := boots()
	r.Reboot("web1")
	for until := time.Now().Add(virtBoot()); boots() == before && time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init != was.Init {
			t.Errorf("%+v", s)
		}
	}
	if boots() == before {
		t.Error("it has not booted again")
	}
}

// virtBoot is how long a boot may take: 4 s, and 25 s where eight packages are tested at a time.
func virtBoot() time.Duration { return scripted.Patience(2 * time.Minute) }

func virtBooted(r *rig.Libvirt) { r.WaitHTTP("web1", virtBoot()) }

// Firmware does not hear the power button.
func virtDeafVM(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "web2")
	a := i.Do(context.Background(), health.VerbStop, "web2", time.Second)
	if s := look(t, i, "web2"); a.Err == "" || !strings.Contains(a.Cause, "did not follow") || s.State != health.Running || s.Init != was.Init {
		t.Errorf("%+v; now %+v", a, s)
	}
}

// What keeps VMs from starting, and the innermost words of it.
func virtFailsVM(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	image := filepath.Join(t.TempDir(), "used.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	disk := func(path, format string) string {
		return fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>", format, path)
	}
	cheap := func(devices string) rig.LibvirtOptions {
		return rig.LibvirtOptions{Firmware: true, NoNetwork: true, Devices: devices}
	}
	screen := fmt.Sprintf("<graphics type='vnc' port='%d' autoport='no' listen='127.0.0.1'/>", 5900+os.Getpid()%90)
	virtDefine(t, r, "user", cheap(disk(image, "raw")+screen))
	r.Start("user")
	defer r.Virsh("destroy", "user")
	virtRefuses(t, r, i, map[string]virtFailure{
		"kernel":  {rig.LibvirtOptions{Failing: true, NoNetwork: true}, "vmlinuz-nosuch: No such file or directory"},
		"disk":    {cheap(disk("/nosuch.img", "raw")), "Cannot access storage file '/nosuch.img': No such file or directory"},
		"in use":  {cheap(disk(image, "raw")), "Is another process using the image [" + image + "]?"},
		"format":  {cheap(disk(r.Definition("web2"), "qcow2")), "Image is not in qcow2 format"},
		"bridge":  {cheap("<interface type='bridge'><source bridge='brNOPE'/></interface>"), "Cannot get interface MTU on 'brNOPE': No such device"},
		"network": {rig.LibvirtOptions{Firmware: true, Network: "nonet"}, "no network with matching name 'nonet'"},
		"port":    {cheap(screen), "Failed to reserve port 59"},
		"device":  {cheap("<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0x9' slot='0x9' function='0'/></source></hostdev>"), "PCI"},
		"hook":    {cheap(""), "hook says no"},
	})
}

// Firmware that finds nothing to boot restarts its VM, which ends it: a start that was answered with exit 0.
func virtLiesVM(t *testing.T, r *rig.Libvirt) {
	virtDefine(t, r, "brief", rig.LibvirtOptions{Once: true, NoNetwork: true})
	i, _ := libvirtOpen(t, r, 0)
	if a := i.Do(context.Background(), health.VerbStart, "brief", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "brief", health.Stopped)
}

// A backup holds its VM for as long as it lasts; what, and since when, is told, by whom is not.
func virtJobs(t *testing.T, r *rig.Libvirt) {
	dir := t.TempDir()
	image, job := filepath.Join(dir, "disk.img"), filepath.Join(dir, "backup.xml")
	o := virtCheap(r)
	o.Devices = fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>", image)
	text := fmt.Sprintf("<domainbackup mode='pull'><server transport='unix' socket='%s/nbd'/><disks><disk name='vda' backup='yes' type='file'><scratch file='%s/scratch'/></disk></disks></domainbackup>", dir, dir)
	for path, b := range map[string][]byte{image: make([]byte, 1<<20), job: []byte(text)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	virtDefine(t, r, "busy", o)
	r.Start("busy")
	virtBooted(r)
	i, w := libvirtOpen(t, r, 0)
	if s := find(t, list(t, i), "busy"); s.Lock != nil {
		t.Fatalf("%+v", s.Lock)
	}
	r.Virsh("backup-begin", "busy", job)
	first := look(t, i, "busy")
	if first.State != health.Running || first.Lock == nil || first.Lock.Operation != "backup" || time.Since(first.Lock.Since).Abs() > time.Minute || first.Lock.Dead {
		t.Errorf("%+v, lock %+v", first, first.Lock)
	}
	if s := find(t, list(t, i), "busy"); s.Lock == nil || !s.Lock.Since.Equal(first.Lock.Since) {
		t.Errorf("lock %+v, then %+v", first.Lock, s.Lock)
	}
	r.Virsh("domjobabort", "busy")
	eventually(t, "the list sees its end", func() bool { return find(t, list(t, i), "busy").Lock == nil })
	before := w.reads.Load()
	if list(t, i); w.reads.Load()-before != 1 {
		t.Error("the list is not steady")
	}
}

// What is saved waits to go on, and a start lets it.
func virtSaved(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	list(t, i)
	r.Virsh("managedsave", "web3")
	if s := find(t, list(t, i), "web3"); s.State != health.Stopped || s.Lock == nil || s.OnPurpose != "" {
		t.Errorf("saved: %+v, lock %+v", s, s.Lock)
	}
	r.Start("web3")
	if s := look(t, i, "web3"); s.State != health.Running || s.Lock != nil {
		t.Errorf("restored: %+v", s)
	}
}

// Only one that is off can be renamed. It is the same VM under another name.
func virtRenamed(t *testing.T, r *rig.Libvirt) {
	virtDefine(t, r, "old", virtCheap(r))
	t.Cleanup(func() { r.Remove("new") })
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "old")
	if out, err := r.Try("domrename", "web2", "web9"); err == nil {
		t.Errorf("one that runs was renamed: %s", out)
	}
	r.Virsh("domrename", "old", "new")
	if s := look(t, i, "old"); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
	l := list(t, i)
	if s := find(t, l, "new"); s.Mark != was.Mark || s.State != health.Stopped || peek(l, "old") != nil {
		t.Errorf("%+v, was %+v", s, was)
	}
}

// By this host's neighbours, by libvirt's own DHCP (which firmware asks to boot from), and none.
func virtAddressesOfVM(t *testing.T, r *rig.Libvirt) {
	r.MakeNetwork("pool")
	virtDefine(t, r, "leased", rig.LibvirtOptions{Firmware: true, Network: "pool"})
	r.Start("leased")
	virtBooted(r)
	i, _ := libvirtOpen(t, r, 0)
	l := list(t, i)
	if s := find(t, l, "web1"); !slices.Equal(virtAddrs(s), []string{r.Addr("web1").String()}) || !slices.Equal(s.Links, []string{r.Bridge()}) {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "web2"); len(s.Addrs) != 0 || len(s.Links) != 0 {
		t.Errorf("%+v", s)
	}
	virtLeased(t, r)
}

func virtIntentsOfVM(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	virtDestroyed(t, r, i, "web3")
	if err := syscall.Kill(r.InitPID("web3"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitState(t, i, "web3", health.Stopped)
	if s := find(t, list(t, i), "web3"); s.OnPurpose != "" || !strings.Contains(s.Detail, "from outside, by process") {
		t.Errorf("its process was ended by us: %+v", s)
	}
	r.Start("web3")
	awaitState(t, i, "web3", health.Running)
	r.Kill9("web3")
	awaitState(t, i, "web3", health.Stopped)
	if s := look(t, i, "web3"); s.OnPurpose != "" || !strings.Contains(s.Detail, "crashed") {
		t.Errorf("kill -9: %+v", s)
	}
	r.Start("web3")
	r.Virsh("destroy", "web3") // a daemon that restarts forgets why; the log of the VM does not
	r.KillDaemon()
	r.StartDaemon()
	if got := r.Virsh("domstate", "--reason", "web3"); got != "shut off (unknown)" {
		t.Logf("libvirt itself remembers: %q", got)
	}
	other, _ := libvirtOpen(t, r, 0)
	if s := find(t, list(t, other), "web3"); s.State != health.Stopped || s.OnPurpose == "" || !strings.Contains(s.Detail, "destroyed") {
		t.Errorf("destroyed before the daemon restarted: %+v", s)
	}
}

// A guest powers off because we asked it to, and because a person did.
func virtPoweredOff(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	virtBooted(r)
	list(t, i)
	if a := i.Do(context.Background(), health.VerbStop, "web1", time.Minute); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("powered off because we asked: %+v", s)
	}
	r.MakeFull("web1") // the daemon was started anew, and with it the file system of the disk
	r.Start("web1")
	virtBooted(r)
	awaitState(t, i, "web1", health.Running) // this life has been seen: its end is not that of the one we stopped
	r.Virsh("shutdown", "web1")
	awaitState(t, i, "web1", health.Stopped)
	if s := find(t, list(t, i), "web1"); s.OnPurpose == "" {
		t.Errorf("powered off: %+v", s)
	}
	r.Start("web1")
}

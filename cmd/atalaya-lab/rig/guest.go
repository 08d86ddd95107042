package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// guestKernels is where packages.sh unpacks Debian's cloud kernel.
const guestKernels = "/var/cache/atalaya-lab/kernel"

// guestModules are those that the guest needs, in the order in which they are loaded.
func guestModules() []string {
	return []string{
		"drivers/acpi/button", "drivers/input/evdev", "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
		"drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
		"drivers/block/virtio_blk",
	}
}

// guestInit brings up the network and a web server, and hears the power button.
const guestInit = `#!/bin/sh
/bin/mount -t proc proc /proc; /bin/mount -t sysfs sys /sys; /bin/mount -t devtmpfs dev /dev
export PATH=/bin
while read -r m; do insmod /m/$m.ko; done < /m/order
ip=$(sed 's/.* ip=\([0-9.]*\).*/\1/' /proc/cmdline)
ifconfig lo 127.0.0.1 up; ifconfig eth0 $ip netmask 255.255.255.0 up
acpid -d -c /etc/acpi -l /dev/null &
echo READY $ip; echo "READY $ip" > /dev/tty0
exec httpd -f -p 80 -h /www
`

// answering begins a script that a guest's web server runs.
const answering = "#!/bin/sh\nprintf 'Content-type: text/plain\\r\\n\\r\\nok\\n'\n"

// guestKernel is the unpacked kernel of this machine's rigs; "" when there is none.
func guestKernel() string {
	found, _ := filepath.Glob(guestKernels + "/boot/vmlinuz-*")
	slices.Sort(found)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// makeGuest puts a kernel and an initial file system for VMs into the folder.
func makeGuest(dir string) error {
	kernel := guestKernel()
	if kernel == "" {
		return errors.New("build the guest: no kernel in " + guestKernels)
	}
	if err := copyFile(kernel, filepath.Join(dir, "vmlinuz"), 0o644); err != nil {
		return err
	}
	root := filepath.Join(dir, "guest")
	if err := makeRootfs(root); err != nil {
		return err
	}
	for _, d := range []string{"m", "etc/acpi/PWRF", "var/run", "www/cgi-bin"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	release := filepath.Base(kernel)[len("vmlinuz-"):]
	order := ""
	for _, m := range guestModules() {
		name := filepath.Base(m) + ".ko"
		if err := copyFile(filepath.Join(guestKernels, "lib/modules", release, "kernel", m+".ko"), filepath.Join(root, "m", name), 0o644); err != nil {
			return err
		}
		order += filepath.Base(m) + "\n"
	}
	scripts := map[string]string{
		"init": guestInit, "etc/acpi/PWRF/00000080": "#!/bin/sh\n/bin/poweroff -f\n",
		"www/cgi-bin/reboot": answering + "(/bin/reboot -f) >/dev/null 2>&1 &\n", "www/cgi-bin/fill": answering + "(/bin/dd if=/dev/zero of=/dev/vda bs=64k count=64) >/dev/null 2>&1 &\n",
	}
	if err := writeFiles(root, scripts); err != nil {
		return err
	}
	if err := writeFiles(root, map[string]string{"m/order": order}); err != nil {
		return err
	}
	for script := range scripts {
		if err := os.Chmod(filepath.Join(root, script), 0o755); err != nil {
			return err
		}
	}
	return packGuest(root, filepath.Join(dir, "initrd.gz"))
}

// packGuest makes the archive that a kernel unpacks.
func packGuest(root, to string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("build the guest: %w", err)
	}
	const script = `cd "$1" && find . | "$2" cpio -o -H newc 2>/dev/null | gzip -1 > "$3"`
	_, err = run(quick, "sh", "-c", script, "pack", root, busybox, to)
	return err
}

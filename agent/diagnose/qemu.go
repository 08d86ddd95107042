package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// qemuSignatures are failures of QEMU itself, which libvirt, Proxmox, LXD and Incus pass on.
func qemuSignatures() []signature {
	return []signature{
		{
			name: "qemu image locked", engine: "qemu", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Failed to get (?:shared )?"(\w+)" lock`),
			because:  `its disk image is open in another process on the host, or on another host that shares the storage`,
			disproof: `"fuser" (or "lsof") shows nobody at the image, here and on other hosts.`,
			cure:     `Find who has the image open: a second start of the same machine, a backup, qemu-nbd, another host. Two at once destroy it.`,
			source:   `public file id 41392756352`,
			sample:   `qemu-img: Could not open '/home/chehabmosaad/myOwnLab.qcow2': Failed to get shared "write" lock`,
			near:     `Could not open '/root/win2012.iso': Permission denied`,
		},
		{
			name: "qcow2 corrupt", engine: "qemu", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`qcow2: Image is corrupt; cannot be opened`),
			because:  `its disk image is damaged`,
			disproof: `"qemu-img check" finds no error in it.`,
			cure:     `Copy the image first, then "qemu-img check -r all"; find out what damaged it (a host that crashed, two at once, a full disk).`,
			source:   `public file id 6912927345`,
			sample:   `qcow2: Image is corrupt; cannot be opened read/write`,
			near:     `qcow2: Image is corrupt: L2 table offset 0x2a2a2a00 unaligned (L1 index: 0); further non-fatal corruption events will be suppressed`,
		},
		{
			name: "qcow2 feature", engine: "qemu", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`uses a qcow2 feature which is not supported by this qemu version`),
			because:  `its disk image was made by a newer QEMU than the one on this host`,
			disproof: `"qemu-img info" of this host reads the image.`,
			cure:     `Upgrade QEMU on the host, or convert the image ("qemu-img amend -o compat=0.10") where it was made.`,
			source:   `public file id 34142388064`,
			sample:   `qemu-kvm: -drive file=/var/lib/libvirt/images/vm.qcow2,if=none,id=drive-virtio-disk0,format=qcow2,cache=none: 'drive-virtio-disk0' uses a qcow2 feature which is not supported by this qemu version`,
			near:     `qemu-kvm: -drive file=/root/win2012.iso,if=none,id=drive-ide0-0-1,readonly=on,format=raw: could not open disk image /root/win2012.iso`,
		},
		{
			name: "kvm missing", engine: "qemu", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Could not access KVM kernel module: ([A-Z][a-z ]+)`),
			because:  `the host's kernel offers no virtualization ($1)`,
			disproof: `"ls -l /dev/kvm" on the host shows the device, open to QEMU.`,
			cure:     `Load kvm_intel or kvm_amd; if that fails, enable virtualization in the firmware.`,
			source:   `public file id 20428670426`,
			sample:   `Could not access KVM kernel module: No such file or directory`,
			near:     `qemu-system-x86_64: failed to initialize KVM: No such file or directory`,
		},
		{
			name: "qemu memory", engine: "qemu", layer: Host, confidence: High, retry: health.Maybe,
			match:    regexp.MustCompile(`cannot set up guest memory '([^']+)': Cannot allocate memory`),
			because:  `the host has not enough free memory for it`,
			disproof: `"free" on the host shows more than its memory.`,
			cure:     `Free memory on the host, or give it less: the host has promised more than it has.`,
			source:   `agent/engine/testdata/libvirt/start-no-memory.stderr`,
			sample:   `cannot set up guest memory 'pc.ram': Cannot allocate memory`,
			near:     `error: Failed to start domain 'bad5'`,
		},
		{
			name: "qemu image permission", engine: "qemu", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Could not open '([^']+)': Permission denied`),
			because:  `the host's virtualization software may not open "$1"`,
			disproof: `"sudo -u libvirt-qemu head -c1 $1" on the host works.`,
			cure:     `Correct owner, mode and security label of "$1" and of the folders above it.`,
			source:   `public file id 5545680268`,
			sample:   `qemu-kvm: -drive file=/root/win2012.iso,if=none,id=drive-ide0-0-1,readonly=on,format=raw: could not open disk image /root/win2012.iso: Could not open '/root/win2012.iso': Permission denied`,
			near:     `Could not access KVM kernel module: Permission denied`,
		},
		{
			name: "qemu processor feature", engine: "qemu", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`host doesn't support requested feature: (\S+)`),
			because:  `the host's processor lacks what its configuration asks for ($1)`,
			disproof: `It starts on this host with the same configuration.`,
			cure:     `Choose a processor type that this host has; it may come from a host with a newer processor.`,
			source:   `public file id 71611061151`,
			sample:   `host doesn't support requested feature: CPUID...ECX.aes`,
			near:     `Host doesn't support requested features`,
		},
		{
			name: "qemu vcpu", engine: "qemu", layer: Host, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`kvm_init_vcpu: kvm_arch_init_vcpu failed \(\d+\): (.+)`),
			because:  `the host's kernel could not make a virtual processor for it ($1)`,
			disproof: `Another virtual machine starts on this host now.`,
			cure:     `See the kernel's log of the host; on processors with unlike cores, pin it to cores of one kind.`,
			source:   `public file id 39738844724`,
			sample:   `kvm: kvm_init_vcpu: kvm_arch_init_vcpu failed (0): Invalid argument`,
			near:     `start failed: QEMU exited with code 1`,
		},
		{
			name: "qemu passed-through device", engine: "qemu", layer: Host, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`vfio ([0-9a-f:.]+): Failed to set up TRIGGER eventfd`),
			because:  `the host cannot hand the device $1 through to it`,
			disproof: `Without that device it does not start either.`,
			cure:     `See who else uses the interrupt of $1 on the host (/proc/interrupts), and the kernel's log.`,
			source:   `public file id 12650836615`,
			sample:   `vfio 0000:01:00.0: Failed to set up TRIGGER eventfd signaling for interrupt INTX-0: VFIO_DEVICE_SET_IRQS failure: Device or resource busy`,
			near:     `vfio 00000000-0000-0000-0000-000000000102: failed to get region 0 info: Input/output error`,
		},
		{
			name: "qemu screen", engine: "qemu", layer: Host, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Failed to start VNC server: Failed to bind socket: (.+)`),
			because:  `the host could not open the port of its screen ($1)`,
			disproof: `Nothing on the host uses that port, and the address is the host's.`,
			cure:     `See which address and port its configuration names for VNC or SPICE, and whether the host still has them.`,
			source:   `public file id 4709313293`,
			sample:   `kvm: -vnc 192.168.33.5:85: Failed to start VNC server: Failed to bind socket: Cannot assign requested address`,
			near:     `start failed: command`,
		},
		{
			name: "qemu device twice", engine: "qemu", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Can't create (\w+) unit (\d+), bus supports only (\d+) units`),
			because:  `its configuration has more $1 devices than a machine of its kind can have`,
			disproof: `Without the last of them it does not start either.`,
			cure:     `Take a device away, or move it to another bus (SCSI, VirtIO).`,
			source:   `public file id 128145486`,
			sample:   `kvm: -device ide-cd,bus=ide.0,unit=1,drive=drive-ide1,id=ide1,bootindex=103: Can't create IDE unit 1, bus supports only 1 units`,
			near:     `start failed: QEMU exited with code 1`,
		},
	}
}

package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// kernelHardware are lines in which the kernel of the host says that its hardware failed. Who rents the host cannot change
// that, so these alone blame the provider. Root before symptom: the first that matches is the cause of those after it.
func kernelHardware() []signature {
	return []signature{
		{
			name: "memory error", from: FactKernel, explains: Host, layer: Provider, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^EDAC MC\d+: \d+ UE (.+)`),
			because:  `the memory of the machine gave an error that could not be corrected ($1)`,
			disproof: `The machine's own log of events (BMC, "ipmitool sel list") has no memory error.`,
			cure:     `The provider has to replace the memory module that the line names.`,
			source:   `public file id 42108819169`,
			sample:   `EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (xxx xxx)`,
			near:     `EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#0_DIMM#0`,
		},
		{
			name: "machine check", from: FactKernel, explains: Host, layer: Provider, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`^mce: \[Hardware Error\]: (Machine check.*)`),
			because:  `the machine reported a hardware error ($1)`,
			disproof: `"ras-mc-ctl --errors" or the BMC shows that it was corrected.`,
			cure:     `The provider has to look at the machine: processor, memory, mainboard.`,
			source:   `public file id 16547129602`,
			sample:   `mce: [Hardware Error]: Machine check events logged`,
			near:     `mce->status: 0x942031000400011b`,
		},
		{
			name: "disk medium error", from: FactKernel, explains: Storage, layer: Provider, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^(?:blk_update_request: |print_req_error: )?critical (medium|target) error, dev (\w+), sector`),
			because:  `the disk "$2" of the host cannot read or write some of its blocks any more ($1 error)`,
			disproof: `"smartctl -a /dev/$2" shows no pending or reallocated sectors.`,
			cure:     `The provider has to replace the disk "$2"; secure the data before it gets worse.`,
			source:   `https://github.com/longhorn/longhorn/issues/193`,
			sample:   `blk_update_request: critical medium error, dev sdb, sector 0`,
			near:     `blk_update_request: I/O error, dev mtdblock1, sector 0`,
		},
		{
			name: "nvme down", from: FactKernel, explains: Storage, layer: Provider, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^nvme (\w+): controller is down; will reset`),
			because:  `the disk controller "$1" of the host stopped answering`,
			disproof: `"nvme list" shows "$1", and the kernel's log no reset of it.`,
			cure:     `The provider has to look at the disk "$1": power saving, firmware, slot, or a new one.`,
			source:   `public file id 61706923327`,
			sample:   `nvme nvme2: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10`,
			near:     `nvme nvme2: Disabling device after reset failure:`,
		},
		{
			name: "ata exception", from: FactKernel, explains: Storage, layer: Provider, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`^(ata\d+(?:\.\d+)?): exception Emask`),
			because:  `the disk at "$1" of the host failed a command, or its cable did`,
			disproof: `"smartctl -a" of that disk shows neither pending sectors nor CRC errors.`,
			cure:     `The provider has to look at the disk at "$1" and its cable.`,
			source:   `public file id 56791886019`,
			sample:   `ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen`,
			near:     `ata3: lost interrupt (Status 0x50)`,
		},
		{
			name: "raid lost a disk", from: FactKernel, explains: Storage, layer: Provider, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`^md/raid\w*:(\w+): Disk failure on (\w+), disabling device`),
			because:  `the disk "$2" fell out of the host's array "$1"`,
			disproof: `"mdadm --detail /dev/$1" shows all disks as active.`,
			cure:     `The provider has to replace the disk "$2"; until then the array has less or no redundancy, and is slow while it rebuilds.`,
			source:   `public file id 29474038729`,
			sample:   `md/raid1:md0: Disk failure on sdb1, disabling device.`,
			near:     `md/raid1:md0: Operation continuing on 1 devices.`,
		},
		{
			name: "network card hangs", from: FactKernel, explains: Network, layer: Provider, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`^(\w+) [0-9a-f:.]+ (\w+): Detected Hardware Unit Hang`),
			because:  `the network card "$2" of the host hung`,
			disproof: `"ethtool -S $2" counts no resets, and other traffic through "$2" goes on.`,
			cure:     `The provider has to look at the card "$2" and its driver ($1); "ethtool -K $2 tso off gso off" helps some of them.`,
			source:   `public file id 42589987723`,
			sample:   `e1000e 0000:00:1f.6 eth0: Detected Hardware Unit Hang:`,
			near:     `TDH                  <0>`,
		},
	}
}

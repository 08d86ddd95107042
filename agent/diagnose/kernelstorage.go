package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// kernelStorage are lines in which the kernel of the host says that its storage failed: devices, then file systems.
func kernelStorage() []signature {
	return []signature{
		{
			name: "thin pool full", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^device-mapper: thin: (\S+): switching pool to out-of-data-space`),
			because:  `the thin pool $1 that holds disks of the host's containers is full`,
			disproof: `"lvs" on the host shows Data% well below 100.`,
			cure:     `Extend the pool or remove snapshots; then check the file systems that met the error.`,
			source:   `public file id 61390485549`,
			sample:   `device-mapper: thin: 252:4: switching pool to out-of-data-space (queue IO) mode`,
			near:     `device-mapper: thin: 253:5: reached low water mark for data device: sending event.`,
		},
		{
			name: "zfs pool suspended", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^WARNING: Pool '([^']+)' has encountered an uncorrectable I/O failure and has been suspended`),
			because:  `the storage pool "$1" is suspended after I/O errors, and all that uses it hangs`,
			disproof: `"zpool status $1" on the host says ONLINE.`,
			cure:     `"zpool status $1" names the failing disk; when it is back, "zpool clear $1".`,
			source:   `public file id 54628321877`,
			sample:   `WARNING: Pool 'firstpool' has encountered an uncorrectable I/O failure and has been suspended.`,
			near:     `zio pool=backuppool vdev=/dev/disk/by-id/wwn-0x5000c500c4cf55a8-`,
		},
		{
			name: "nfs server silent", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.Maybe,
			match:    regexp.MustCompile(`^nfs: server (\S+) not responding, still trying`),
			because:  `the NFS server $1 does not answer, and whatever reads from it hangs`,
			disproof: `"showmount -e $1" on the host answers.`,
			cure:     `See the server $1 and the network to it; what hangs goes on when it answers.`,
			source:   `public file id 23301959047`,
			sample:   `nfs: server 10.100.0.60 not responding, still trying`,
			near:     `nfs: server .... OK`,
		},
		{
			name: "ceph monitor", from: FactKernel, explains: Storage, layer: Storage, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`^libceph: (mon\d+) (?:\(\d\))?(\S+) (?:connect error|socket closed)`),
			because:  `the Ceph monitor $2 does not answer`,
			disproof: `"ceph -s" answers and shows no monitor down.`,
			cure:     `See the Ceph cluster and the network to it.`,
			source:   `public file id 43211647996`,
			sample:   `libceph: mon1 10.19.115.5:6789 connect error`,
			near:     `libceph: mon0 (1)90.155.74.19:6789 session established`,
		},
		{
			name: "block i/o error", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^(?:blk_update_request: |print_req_error: )?I/O error, dev (\w+), sector`),
			because:  `the disk "$1" gives I/O errors`,
			disproof: `The kernel's log of the host has no error of "$1" at the time of the failure.`,
			cure:     `See what "$1" is (lsblk): a local disk is to be checked with smartctl, a remote one at its server.`,
			source:   `https://github.com/longhorn/longhorn/issues/12470`,
			sample:   `I/O error, dev sda, sector 2466368 op 0x1:(WRITE) flags 0x4000 phys_seg 273 prio class 2`,
			near:     `EXT4-fs warning (device sda): ext4_end_bio:342: I/O error 10 writing to inode 13 starting block 308296)`,
		},
		{
			name: "buffer i/o error", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^Buffer I/O error on dev(?:ice)? ([\w-]+), logical block`),
			because:  `the disk "$1" gives I/O errors`,
			disproof: `The kernel's log of the host has no error of "$1" at the time of the failure.`,
			cure:     `See what "$1" is (lsblk), and the lines before it in the kernel's log.`,
			source:   `https://github.com/longhorn/longhorn/issues/193`,
			sample:   `Buffer I/O error on dev sdb, logical block 0, lost async page write`,
			near:     `sd 4:0:0:1: [sdb] tag#1 Add. Sense: Unrecovered read error`,
		},
		{
			name: "xfs corrupt", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^XFS \(([^)]+)\): (?:Corruption detected|Corruption of in-memory data)`),
			because:  `the file system on "$1" is damaged`,
			disproof: `"xfs_repair -n /dev/$1" finds nothing.`,
			cure:     `Unmount it and run xfs_repair; find out what damaged it before it is used again.`,
			source:   `public file id 39835179303`,
			sample:   `XFS (dm-0): Corruption detected. Unmount and run xfs_repair`,
			near:     `XFS (pmem1): log mount/recovery failed: error`,
		},
		{
			name: "xfs i/o error", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^XFS \(([^)]+)\): metadata I/O error in`),
			because:  `the file system on "$1" cannot read or write its own tables`,
			disproof: `The disk below "$1" has no error in the kernel's log.`,
			cure:     `See the disk below "$1" first, then unmount it and run xfs_repair.`,
			source:   `public file id 17719917705`,
			sample:   `XFS (vdiskc1): metadata I/O error in "xfs_buf_ioend+0x28c/0x600 [xfs]" at daddr 0x15f26420 len 32 error 5`,
			near:     `XFS (loop1): xfs_dabuf_map: bno 8388608 inode 128`,
		},
		{
			name: "btrfs critical", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^BTRFS critical \(device ([^)]+)\): (corrupt \w+|unable to find logical)`),
			because:  `the file system on "$1" is damaged ($2)`,
			disproof: `"btrfs check --readonly" finds nothing.`,
			cure:     `Save the data, then "btrfs scrub" and "btrfs check"; memory errors cause this as often as disks do.`,
			source:   `public file id 18529923519`,
			sample:   `BTRFS critical (device dm-6): corrupt leaf:`,
			near:     `BTRFS info (device vdb): relocating block group 30408704`,
		},
		{
			name: "ext4 error", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^EXT4-fs error \(device ([^)]+)\): (\w+)`),
			because:  `the file system on "$1" is damaged`,
			disproof: `"e2fsck -n" of it, unmounted, finds nothing.`,
			cure:     `Unmount it and run e2fsck; see the disk below "$1" first.`,
			source:   `https://github.com/coreos/bugs/issues/1309`,
			sample:   `EXT4-fs error (device sda9): ext4_lookup:1580: inode #10426189: comm dockerd: deleted inode referenced: 10426462`,
			near:     `EXT4-fs warning (device sda): ext4_end_bio:342: I/O error 10 writing to inode 13 starting block 308296)`,
		},
		{
			name: "ext4 read-only", from: FactKernel, explains: Storage, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`^EXT4-fs \(([^)]+)\): Remounting filesystem read-only`),
			because:  `the file system on "$1" was made read-only after an error`,
			disproof: `"findmnt" on the host shows it as rw.`,
			cure:     `See the error before it in the kernel's log; unmount, e2fsck, mount again.`,
			source:   `https://github.com/longhorn/longhorn/issues/193`,
			sample:   `EXT4-fs (sdb): Remounting filesystem read-only`,
			near:     `EXT4-fs (sda1): error count: 5`,
		},
	}
}

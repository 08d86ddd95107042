package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// The second half of OpenVZ's: its quota, its disk images, its limits, and the exit codes that come without words.
func vzStorageSignatures() []signature {
	return []signature{
		{
			name: "vz quota beneath", engine: "openvz", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`vzquota : \(error\) Quota \w+ syscall for id \d+: Inappropriate ioctl for device`),
			because:  `the host's disk quota does not work on the file system that holds it`,
			disproof: `"vzquota stat" works for another container on the same file system.`,
			cure:     `Put its private area on ext4 without bind mount in between, or set DISK_QUOTA=no for it.`,
			source:   "public file id 47172185581",
			sample:   `vzquota : (error) Quota getstat syscall for id 101: Inappropriate ioctl for device`,
			near:     `vzquota init failed [3]`,
		},
		{
			name: "vz quota corrupt", engine: "openvz", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`vzquota : \(error\) quota file is corrupted`),
			because:  `the host's quota file for it is corrupted, as after a crash of the host`,
			disproof: `"vzquota show" reads its quota file without an error.`,
			cure:     `"vzquota drop CTID" on the host, then start it: the quota is counted anew, which takes some minutes and loses nothing.`,
			source:   "public file id 13069293922",
			sample:   `vzquota : (error) quota file is corrupted`,
			near:     `vzquota : (error) Quota getstat syscall for id 101: Inappropriate ioctl for device`,
		},
		{
			name: "vz quota failed", engine: "openvz", layer: Storage, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`vzquota (on|init|off|setlimit) failed \[(\d+)\]`),
			because:  `the host could not set up its disk quota (vzquota $1 ended with $2)`,
			disproof: `"vzquota show" for it works on the host.`,
			cure:     `Read what vzquota says above that line; "vzquota off" or "vzquota drop" clear what a crash left behind.`,
			source:   "public file id 47172185581",
			sample:   `vzquota init failed [3]`,
			near:     `Initializing quota ...`,
		},
		{
			name: "ploop beneath", engine: "openvz", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Can't add image (\S+): unsupported underlying filesystem`),
			because:  `its disk image "$1" lies on a file system that ploop cannot use`,
			disproof: `"$1" lies on ext4 (or another file system that ploop names as supported).`,
			cure:     `Move the image to a supported file system; see what changed the mount below it.`,
			source:   "public file id 39718102414 (kolyshkin/ploop lib/ploop.c, the path filled in)",
			sample:   `Can't add image /vz/private/101/root.hdd/root.hdd: unsupported underlying filesystem`,
			near:     `Can't open file /vz/private/101/root.hdd/root.hdd`,
		},
		{
			name: "ploop in use", engine: "openvz", layer: Engine, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`Can't add image (\S+): Device or resource busy`),
			because:  `its disk image "$1" is still opened on the host, by a backup or by what is left of its last life`,
			disproof: `"ploop list" on the host does not show the image.`,
			cure:     `"ploop list" names the device that holds it; let the backup end, or unmount what is left ("ploop umount").`,
			source:   "public file id 39718102414 (kolyshkin/ploop lib/ploop.c, path and errno filled in)",
			sample:   `Can't add image /vz/private/101/root.hdd/root.hdd: Device or resource busy`,
			near:     `Can't add image /vz/private/101/root.hdd/root.hdd: unsupported underlying filesystem`,
		},
		{
			name: "ploop descriptor", engine: "openvz", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Failed to read (\S*DiskDescriptor\.xml)`),
			because:  `the description of its disk, "$1", is missing or damaged on the host`,
			disproof: `"ploop info" reads it.`,
			cure:     `"ploop restore-descriptor" makes it anew from the image; see also whether the storage below is mounted.`,
			source:   "https://github.com/kolyshkin/vzctl/blob/0254ec14c45b94007b500f02ee7cfa0c8a736dfe/src/lib/image.c (the path filled in)",
			sample:   `Failed to read /vz/private/101/root.hdd/DiskDescriptor.xml`,
			near:     `Failed to mount image: %s [%d]`,
		},
		{
			name: "vz limits unset", engine: "openvz", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Not enough parameters, (diskspace|diskinodes) quota not set`),
			because:  `its configuration on the host sets no limit for $1`,
			disproof: `Its configuration has the limit.`,
			cure:     `Set it: "vzctl set CTID --$1 VALUE --save"; a configuration that lost it was overwritten or cut.`,
			source:   "https://github.com/kolyshkin/vzctl/blob/0154b000e527d2608b6b3d8f7b5b441cc997c5db/src/lib/quota.c",
			sample:   `Error: Not enough parameters, diskspace quota not set`,
			near:     `Error: Not enough parameters, private not set`,
		},
		{
			name: "vz address in use", engine: "openvz", layer: Network, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Unable to add (?:ip|IP) ([0-9a-fA-F.:]+): Address already in use`),
			because:  `its address $1 is already given to something else on this host`,
			disproof: `No other container on the host has $1 (vzlist -a -o ctid,ip).`,
			cure:     `Find who has $1 ("vzlist -a -o ctid,ip | grep $1"): often a copy of this container. Take it from one of the two.`,
			source:   "public file id 25326966619",
			sample:   `Unable to add ip 192.168.0.161: Address already in use`,
			near:     `Failed to start the Container`,
		},
		{
			name: "vz beancounters refuse", engine: "openvz", from: FactSighting, layer: Guest, confidence: Low, retry: health.Maybe,
			match:    regexp.MustCompile(`its beancounters refused since it was first seen: (.+)`),
			because:  `it wants more than its own limits on the host allow ($1)`,
			disproof: `The limits are lower than what was agreed for it: then it is the provider's.`,
			cure:     `See which limit it is in /proc/user_beancounters, find what grew inside, or have the limit raised.`,
			source:   "agent/engine/vzhost.go",
			sample:   `its beancounters refused since it was first seen: numproc 17 times`,
			near:     `called running, but its init 13015 is gone: it is just ending`,
		},
		{
			name: "vz out of resources", engine: "openvz", exit: 6, layer: Guest, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`exit 6: not enough resources`),
			because:  `its own limits on the host refused what its start needs`,
			disproof: `No failcnt of it in /proc/user_beancounters grew; or the limits are lower than what was agreed.`,
			cure:     `See which failcnt of it grew in /proc/user_beancounters, and have that limit raised.`,
			source:   "agent/engine/vzcodes.go",
			sample:   `exit 6: not enough resources`,
			near:     `exit 7: the kernel refused to make it`,
		},
		{
			name: "vz no disk space", engine: "openvz", exit: 46, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`exit 46: no disk space`),
			because:  `there is no room for it on the host's disk`,
			disproof: `"df -h" and "df -i" on the host show room where its private area is.`,
			cure:     `Free space on the host.`,
			source:   "agent/engine/vzcodes.go",
			sample:   `exit 46: no disk space`,
			near:     `exit 47: bad template: no init or no shell in it`,
		},
	}
}

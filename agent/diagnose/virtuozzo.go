package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// virtuozzoSignatures are failures of Virtuozzo 7 and OpenVZ 7 (vzctl 7, prlctl), from their source and public reports;
// none was run here. What they have of old, openvz.go knows.
func virtuozzoSignatures() []signature {
	return []signature{
		{
			name: "vz7 licence", engine: "virtuozzo", exit: 12, layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`exit 12: no licence`),
			because:  `the host's virtualization software has no valid licence, and starts nothing without one`,
			disproof: `"vzlicview" on the host shows an active licence, or another container starts now.`,
			cure:     `Whoever runs the host has to renew the licence ("vzlicupdate", "vzlicload").`,
			source:   "agent/engine/vzcodes.go",
			sample:   `exit 12: no licence`,
			near:     `exit 13: its capabilities could not be set`,
		},
		{
			name: "vz7 elsewhere", engine: "virtuozzo", exit: 141, layer: Operator, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`another node of the cluster owns it`),
			because:  `it belongs to another host of the cluster now`,
			disproof: `No other host of the cluster has it registered.`,
			cure:     `Find where it runs (shaman stat, prlctl list on the other hosts); never start it twice on shared storage.`,
			source:   "agent/engine/vzcodes.go",
			sample:   `exit 141: another node of the cluster owns it`,
			near:     `exit 140: it could not be registered`,
		},
		{
			name: "vz7 file system error", engine: "virtuozzo", from: FactSighting, layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`its file system reported an error, so it was stopped: (.+): look at the disk`),
			because:  `its file system on the host reported an error, and the host stopped it for that ($1)`,
			disproof: `The kernel's log of the host has no error of its disk at that time.`,
			cure:     `See the kernel's log for the disk, check the image (ploop check, fsck), and only then start it.`,
			source:   "agent/engine/virtuozzosee.go (the event filled in)",
			sample:   `its file system reported an error, so it was stopped: fserror on ploop12345p1: look at the disk before it is started`,
			near:     `called running, but its init 13015 is gone: it is just ending`,
		},
		{
			name: "vz7 dispatcher down", engine: "virtuozzo", layer: Engine, confidence: High, retry: health.Yes,
			match:    regexp.MustCompile(`Unable to connect to Parallels Service`),
			because:  `the host's virtualization service (prl-disp) does not answer`,
			disproof: `"prlctl list" on the host answers.`,
			cure:     `"systemctl status prl-disp" on the host, and start it; its containers go on running without it.`,
			source:   "public file id 70088943619",
			sample:   `Login failed: Unable to connect to Parallels Service.`,
			near:     `Failed to get VM config: The virtual machine could not be found.`,
		},
		{
			name: "vz7 not registered", engine: "virtuozzo", layer: Engine, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`The virtual machine could not be found`),
			because:  `the host's virtualization software does not know it any more`,
			disproof: `"prlctl list -a" on the host shows it.`,
			cure:     `If its files are still there, "prlctl register PATH" brings it back; else find out who deleted or moved it.`,
			source:   "public file id 14390328009",
			sample:   `Failed to get VM config: The virtual machine could not be found.`,
			near:     `Login failed: Unable to connect to Parallels Service.`,
		},
		{
			name: "vz7 processor pool", engine: "virtuozzo", layer: Engine, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`Error syncing node and pool features`),
			because:  `the host cannot agree with its pool about the features of its processor`,
			disproof: `"cpupools status" on the host shows no error.`,
			cure:     `See "cpupools" on the host: the storage of the cluster, or the cluster itself, may not answer.`,
			source:   "https://github.com/OpenVZ/libvzctl/blob/00cb6118f164e0350f293141a61845f315983b9e/lib/env.c",
			sample:   `Error syncing node and pool features.`,
			near:     `Container is already running`,
		},
		{
			name: "vz7 venet", engine: "virtuozzo", layer: Host, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Unable to create venet iface`),
			because:  `the host's kernel could not make its network device (venet)`,
			disproof: `Another container with venet starts on this host now.`,
			cure:     `See whether the module vznetdev is loaded for the kernel that runs.`,
			source:   "https://github.com/OpenVZ/libvzctl/blob/00cb6118f164e0350f293141a61845f315983b9e/lib/env.c",
			sample:   `Unable to create venet iface`,
			near:     `Failed to mount /proc`,
		},
	}
}

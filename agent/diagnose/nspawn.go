package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// nspawnSignatures are failures of systemd-nspawn and of systemd around it: systemd 252 of Debian 12, run
// (agent/engine/testdata/nspawn, testdata/sessions.txt), and public reports.
func nspawnSignatures() []signature {
	return []signature{
		{
			name: "nspawn no tree", engine: "nspawn", layer: Storage, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Directory (\S+) doesn't look like (?:an OS root directory|it has an OS tree)`),
			because:  `its folder "$1" on the host holds no operating system`,
			disproof: `"ls $1/usr" on the host shows its files.`,
			cure:     `See whether the disk below "$1" is mounted; if it is, the files were moved or deleted: restore them.`,
			source:   `agent/engine/testdata/nspawn/journal-bad1.json`,
			sample:   `Directory /var/lib/machines/bad1 doesn't look like an OS root directory (os-release file is missing). Refusing.`,
			near:     `Machine image 'nosuch' does not exist.`,
		},
		{
			name: "nspawn no image", engine: "nspawn", layer: Storage, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Machine image '([^']+)' does not exist`),
			because:  `its image "$1" is not there on the host`,
			disproof: `"machinectl list-images" on the host shows it.`,
			cure:     `See whether the disk below /var/lib/machines is mounted; else find out who moved or deleted it.`,
			source:   `testdata/sessions.txt`,
			sample:   `Machine image 'nosuch' does not exist.`,
			near:     `Directory /var/lib/machines/bad1 doesn't look like an OS root directory (os-release file is missing). Refusing.`,
		},
		{
			name: "nspawn bridge missing", engine: "nspawn", layer: Network, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Failed to add interface (\S+) to bridge (\S+): No such device`),
			because:  `the network bridge "$2" that it is attached to does not exist on the host`,
			disproof: `"ip link show $2" on the host shows the bridge, and the start fails all the same.`,
			cure:     `Bring "$2" back, and order the unit after what makes it.`,
			source:   `public file id 28522372042`,
			sample:   `Failed to add interface vb-milahuuuc365 to bridge br0: No such device`,
			near:     `Failed to create /var/log/journal: Value too large for defined data type`,
		},
		{
			name: "nspawn owners", engine: "nspawn", layer: Storage, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Failed to create (\S+): Value too large for defined data type`),
			because:  `the owners of its files do not fit the range that the host gives it ("$1" cannot be made)`,
			disproof: `"stat" of its root folder shows owners within its range.`,
			cure:     `Its files belong to another range of users than before: "--private-users-ownership=chown" once, or the old range.`,
			source:   `public file id 2535660811`,
			sample:   `Failed to create /var/log/journal: Value too large for defined data type`,
			near:     `Automatic UID/GID adjusting is only supported for UID/GID ranges starting at multiples of 2^16 with a range of 2^16`,
		},
		{
			name: "nspawn user range", engine: "nspawn", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Automatic UID/GID adjusting is only supported for UID/GID ranges`),
			because:  `its settings ask for a range of users that systemd cannot adjust`,
			disproof: `PrivateUsers= of it starts at a multiple of 65536.`,
			cure:     `Choose a PrivateUsers= that starts at a multiple of 65536, with 65536 users.`,
			source:   `public file id 25214464791`,
			sample:   `Automatic UID/GID adjusting is only supported for UID/GID ranges starting at multiples of 2^16 with a range of 2^16`,
			near:     `Failed to create /var/log/journal: Value too large for defined data type`,
		},
		{
			name: "nspawn registered", engine: "nspawn", layer: Engine, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`Failed to register machine: Machine '([^']+)' already exists`),
			because:  `a machine with its name, "$1", is still registered on the host`,
			disproof: `"machinectl list" on the host does not show "$1".`,
			cure:     `"machinectl terminate $1" ends what is left of its last life; or two of the same name are started.`,
			source:   `public file id 7665277718`,
			sample:   `Failed to register machine: Machine 'rootfs' already exists`,
			near:     `Failed to register machine: %s`,
		},
		{
			name: "unit survives", engine: "nspawn", survives: true, layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`(\S+): Processes still around after (?:final )?SIGKILL`),
			because:  `the host killed its processes and some of them did not end, which only the host's kernel can bring about`,
			disproof: `"systemd-cgls" on the host shows no process in $1.`,
			cure:     stuckCure,
			source:   `https://github.com/systemd/systemd/issues/30863`,
			sample:   `user@0.service: Processes still around after final SIGKILL. Entering failed mode.`,
			near:     `user@0.service: Failed with result 'timeout'.`,
		},
		{
			name: "unit program missing", engine: "nspawn", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Failed at step EXEC spawning (\S+): (.+)`),
			because:  `the host lacks the program that runs it ("$1": $2)`,
			disproof: `"$1" is there on the host and can be run.`,
			cure:     `Restore "$1": its package may have been removed or upgraded (systemd-container, for one).`,
			source:   `public file id 56826741671`,
			sample:   `dell-linux-assistant.service: Failed at step EXEC spawning /usr/bin/dell-linux-assistantd: No such file or directory`,
			near:     `xibalba.service: Main process exited, code=exited`,
		},
		{
			name: "unit dependency", engine: "nspawn", layer: Host, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`Dependency failed for (.+)\.`),
			because:  `something on the host that it is ordered to need did not start`,
			disproof: `"systemctl list-dependencies --failed" of its unit shows nothing.`,
			cure:     `"systemctl --failed" on the host names it: a mount, a network, a device.`,
			source:   `public file id 41884009958`,
			sample:   `Dependency failed for Docker Application Container Engine.`,
			near:     `Stopped Docker Application Container Engine.`,
		},
		{
			name: "unit too often", engine: "nspawn", layer: Engine, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`(\S+): Start request repeated too quickly`),
			because:  `systemd gave up on it, after it failed several times in a short time`,
			disproof: `"systemctl show -p Result" of its unit does not say start-limit-hit.`,
			cure:     `The cause is in the journal of the first failure. "systemctl reset-failed $1" lets it be started again.`,
			source:   `public file id 22486506352`,
			sample:   `zammad-web-1.service: Start request repeated too quickly.`,
			near:     `zammad-web-1.service: Failed with result 'exit-code'.`,
		},
	}
}

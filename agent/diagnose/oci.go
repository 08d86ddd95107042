package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// ociSignatures are failures of the runtimes beneath Docker and Podman (runc, crun) and of their storage.
func ociSignatures() []signature {
	return []signature{
		{
			name: "oci init missing", engine: "oci", layer: Guest, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`exec: "([^"]+)": stat \S+: no such file or directory`),
			because:  `the program "$1" that it is to run is missing in its image`,
			disproof: `"$1" is in the image: then a mount from the host hides it.`,
			cure:     `Correct the command of the container, or the image; a volume mounted over the folder hides what is in it.`,
			source:   `agent/engine/testdata/docker/start-no-init.stderr`,
			sample:   `Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/no/such/init": stat /no/such/init: no such file or directory: unknown`,
			near:     `exec: "bash": executable file not found in $PATH: unknown`,
		},
		{
			name: "oci program not found", engine: "oci", layer: Guest, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`exec: "([^"]+)": executable file not found in \$PATH`),
			because:  `the program "$1" that it is to run is missing in its image`,
			disproof: `"$1" is in the image, in a folder of its PATH.`,
			cure:     `Correct the command of the container, or the image.`,
			source:   `public file id 8989789438`,
			sample:   `docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "bash": executable file not found in $PATH: unknown.`,
			near:     `exec: "/no/such/init": stat /no/such/init: no such file or directory: unknown`,
		},
		{
			name: "oci wrong processor", engine: "oci", layer: Guest, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`exec user process(?: caused)?: exec format error`),
			because:  `its image is for another kind of processor than the host's, or its program is none`,
			disproof: `"docker image inspect" shows the architecture of the host.`,
			cure:     `Fetch or build the image for this processor.`,
			source:   `public file id 15819913175`,
			sample:   `standard_init_linux.go:228: exec user process caused: exec format error`,
			near:     `standard_init_linux.go:228: exec user process caused: no such file or directory`,
		},
		{
			name: "oci interpreter missing", engine: "oci", layer: Guest, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`exec user process(?: caused)?: no such file or directory`),
			because:  `the interpreter of its start script is missing in its image (or the script has Windows line ends)`,
			disproof: `The script starts in the image by hand.`,
			cure:     `See the first line of the script, and its line ends; a program may also need a library that is missing.`,
			source:   `public file id 420113930`,
			sample:   `standard_init_linux.go:228: exec user process caused: no such file or directory`,
			near:     `standard_init_linux.go:228: exec user process caused: exec format error`,
		},
		{
			name: "oci folder on file", engine: "oci", layer: Engine, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`Are you trying to mount a directory onto a file`),
			because:  `a folder of the host is to be mounted over a file of it, or the other way round`,
			disproof: `Both are of the same kind.`,
			cure:     `The file that is to be mounted is missing on the host, and a folder of its name was made in its place: remove that and put the file back.`,
			source:   `public file id 46912456226`,
			sample:   `... not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type.`,
			near:     `error while creating mount source path`,
		},
		{
			name: "oci threaded cgroup", engine: "oci", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`cannot enter cgroupv2 "([^"]+)" with domain controllers`),
			because:  `the host's control group "$1" is in a mode that takes no containers`,
			disproof: `"cat $1/cgroup.type" on the host says domain.`,
			cure:     `The host is a container itself, without delegated control groups; or something made "$1" threaded.`,
			source:   `public file id 27358252188`,
			sample:   `unable to apply cgroup configuration: cannot enter cgroupv2 "/sys/fs/cgroup/docker" with domain controllers`,
			near:     `unable to apply cgroup configuration: failed to write 6086: openat2 /sys/fs/cgroup/user.slice/user-1000.slice/trixie/cgroup.procs: operation not permitted`,
		},
		{
			name: "oci controller missing", engine: "oci", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile("(?:controller `(\\w+)` is not available|the requested cgroup controller `\\w+` is not available)"),
			because:  `the host offers no control of the kind that its limits need`,
			disproof: `"cat /sys/fs/cgroup/cgroup.controllers" on the host lists it.`,
			cure:     `Enable the controller at boot of the host (or delegate it to the user), or take that limit away.`,
			source:   `public file id 70925198848`,
			sample:   "Error: crun: controller `pids` is not available under /sys/fs/cgroup/non-systemd/machine.slice/libpod-c362.scope/container/cgroup.controllers",
			near:     `Error: crun: unknown version specified in config`,
		},
		{
			name: "oci cgroup refused", engine: "oci", layer: Host, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`unable to apply cgroup configuration: (.+)`),
			because:  `the host refuses it its control group`,
			disproof: `Another container starts on this host now.`,
			cure:     `See the control groups of the host ("findmnt -t cgroup2"), who owns them, and whether the host is a container itself.`,
			source:   `public file id 56261532857`,
			sample:   `runc run failed: unable to start container process: unable to apply cgroup configuration: failed to write 6086: openat2 /sys/fs/cgroup/user.slice/user-1000.slice/trixie/cgroup.procs: operation not permitted`,
			near:     `unable to apply Intel RDT con`,
		},
		{
			name: "oci overlay", engine: "oci", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`error creating overlay mount to (\S+): (.+)`),
			because:  `the layers of its root file system cannot be put together on the host ($2)`,
			disproof: `"docker run" of the same image works.`,
			cure:     `"invalid argument" means a missing or foreign layer, or a file system below that cannot carry overlays; "busy" a leftover mount. See the kernel's log.`,
			source:   `public file id 28024435581`,
			sample:   `error creating overlay mount to /var/lib/docker/overlay2/6972b20001d7b95f642db6a7ba5d25ce4803c89029c4a3029fbe55b7b377513c/merged: invalid argument`,
			near:     `error creating container storage: the container name`,
		},
	}
}

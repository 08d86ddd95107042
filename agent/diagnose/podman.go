package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// podmanSignatures are failures of Podman: 4.3.1 of Debian 12, broken on purpose and run (testdata/sessions.txt), and
// public reports. What it passes on of the runtime is in oci.go.
func podmanSignatures() []signature {
	return []signature{
		{
			name: "podman chain exists", engine: "podman", layer: Network, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`netavark(?: \(exit code \d+\))?: code: \d+, msg: iptables: [Cc]hain already exists`),
			because:  `what Podman left in the host's firewall stands in the way`,
			disproof: `"iptables -S" on the host shows no chain NETAVARK of its network.`,
			cure:     `"podman network reload --all", or flush the NETAVARK chains: a firewall that was reloaded by itself leaves half of them.`,
			source:   `public file id 56058092603`,
			sample:   `Error: netavark: code: 1, msg: iptables: Chain already exists.`,
			near:     `Error: netavark: code: 3, msg: modprobe: ERROR: could not insert 'ip_tables': Operation not permitted`,
		},
		{
			name: "podman module", engine: "podman", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`netavark: code: \d+, msg: modprobe: ERROR: could not insert '([^']+)'`),
			because:  `the host's kernel lacks the module "$1" that its network needs`,
			disproof: `"lsmod" on the host shows "$1".`,
			cure:     `"modprobe $1" on the host; if there is none for the running kernel, the host has not been booted since an update.`,
			source:   `public file id 5676505292`,
			sample:   `Error: netavark: code: 3, msg: modprobe: ERROR: could not insert 'ip_tables': Operation not permitted`,
			near:     `Error: netavark: code: 1, msg: iptables: Chain already exists.`,
		},
		{
			name: "podman locks", engine: "podman", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`allocation failed; exceeded num_locks \((\d+)\)`),
			because:  `Podman has given out all its $1 locks, to containers and volumes that nobody removed`,
			disproof: `"podman ps -a" and "podman volume ls" show far fewer than $1.`,
			cure:     `Remove what is not needed ("podman volume prune", "podman container prune"); num_locks in containers.conf raises the limit, with "podman system renumber".`,
			source:   `public file id 59736678452`,
			sample:   `Error: allocating lock for new container: allocation failed; exceeded num_locks (2048)`,
			near:     `Error: creating container storage: the container name "nodered_nodered_1" is already in use by 557756c5b134746b00c128f36f01627635d2f01b491127ea4a206e8381af0310.`,
		},
		{
			name: "podman address taken", engine: "podman", layer: Network, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`requested ip address (\S+) is already allocated to container ID ([0-9a-f]{12})`),
			because:  `its address $1 is given to another container of this host ($2)`,
			disproof: `"podman inspect $2" shows another address, or no such container.`,
			cure:     `Stop that one or give one of the two another address; if it does not exist any more, "podman rm -f" of it frees the address.`,
			source:   `testdata/sessions.txt`,
			sample:   `Error: unable to start container "9a6e436c10fddedd8cd42299204e5a6a56401ccfd19ae7d500d6b6d62dab9db8": IPAM error: requested ip address 10.79.0.11 is already allocated to container ID 8b3991b9122d75b5b070cef569e8e34065e8a0a9b29f3f02ae9f2f79a08f5879`,
			near:     `Error: unable to find network with name or ID nosuchnet: network not found`,
		},
		{
			name: "podman network missing", engine: "podman", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`unable to find network with name or ID ([^:]+):`),
			because:  `the Podman network "$1" that it belongs to does not exist any more on the host`,
			disproof: `"podman network ls" on the host shows it.`,
			cure:     `Make the network anew with its old name and settings.`,
			source:   `testdata/sessions.txt`,
			sample:   `Error: unable to find network with name or ID nosuchnet: network not found`,
			near:     `Error: no container with name or ID "nosuch" found: no such container`,
		},
		{
			name: "podman stale", engine: "podman", from: FactSighting, layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`can be neither started nor stopped, only removed and made anew`),
			because:  `the host's container software lost track of it: its process has ended, and its record still says stopping`,
			disproof: `Its process still lives on the host.`,
			cure:     `"podman rm --force" of it on the host, and make it anew with the same settings: volumes stay, what was written elsewhere in it is lost.`,
			source:   `agent/engine/ocisighting.go`,
			sample:   `podman says stopping, but its process 21340 has ended and nobody will tell it: it can be neither started nor stopped, only removed and made anew (podman rm --force)`,
			near:     `podman says running, but its process 21340 has ended: it is just ending`,
		},
		{
			name: "podman improper state", engine: "podman", layer: Engine, confidence: Medium, retry: health.Maybe,
			match:    regexp.MustCompile(`must be in Created or Stopped state to be started: container state improper`),
			because:  `the host's container software has it in a state in which it cannot be started: paused, or an operation on it did not end`,
			disproof: `"podman ps -a" shows it as exited.`,
			cure:     `Paused: "podman unpause". Stopping for long: whoever stopped it was cut off; "podman rm -f" and make it anew.`,
			source:   `testdata/sessions.txt`,
			sample:   `Error: unable to start container "7855ff6aa5091db05b95970cf7f20269b75f5b92d879fa7b051f8dfad2963783": container 7855ff6aa5091db05b95970cf7f20269b75f5b92d879fa7b051f8dfad2963783 must be in Created or Stopped state to be started: container state improper`,
			near:     `Error: can only kill running containers. c80b53c198b64f263ced53016407f969cdbaf49218926161e46db1254a374ab0 is in state exited: container state improper`,
		},
		{
			name: "podman user map", engine: "podman", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`cannot set up namespace using "([^"]+/new[ug]idmap)"`),
			because:  `the host does not let its user map other users (by $1)`,
			disproof: `"podman unshare true" works for that user on the host.`,
			cure:     `$1 must be setuid root (or have its capability), and /etc/subuid and /etc/subgid a range for the user; no-new-privileges forbids it.`,
			source:   `public file id 55497966284`,
			sample:   `Error: cannot set up namespace using "/usr/bin/newuidmap": exit status 1`,
			near:     `Error: error creating container storage: the container name is already in use`,
		},
		{
			name: "podman low port", engine: "podman", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`rootlessport cannot expose privileged port (\d+)`),
			because:  `the host does not let its user open port $1`,
			disproof: `Port $1 is not below net.ipv4.ip_unprivileged_port_start of the host.`,
			cure:     `Set net.ipv4.ip_unprivileged_port_start to $1 or less on the host, or use a higher port; an update may have reset it.`,
			source:   `public file id 26786160`,
			sample:   `Error response from daemon: rootlessport cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80' to /etc/sysctl.conf (currently 1024), or choose a larger port number (>= 1024)`,
			near:     `bind: address already in use`,
		},
	}
}

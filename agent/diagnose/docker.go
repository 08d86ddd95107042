package diagnose

import (
	"regexp"

	"atalaya/agent/health"
)

// dockerSignatures are failures of the Docker daemon: 20.10.24 of Debian 12, broken on purpose and run
// (agent/engine/testdata/docker, testdata/sessions.txt), and public reports. What it passes on of the runtime is in oci.go.
func dockerSignatures() []signature {
	return []signature{
		{
			name: "docker rules lost", engine: "docker", layer: Network, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`iptables: No chain/target/match by that name|Chain 'DOCKER' does not exist`),
			because:  `the firewall rules that Docker keeps on the host are gone`,
			disproof: `"iptables -t nat -S DOCKER" on the host shows the chain.`,
			cure:     `A firewall was reloaded and took Docker's rules with it: "systemctl restart docker" makes them anew (with live-restore, containers go on).`,
			source:   `https://github.com/openresty/docker-openresty/issues/75`,
			sample:   `Error response from daemon: driver failed programming external connectivity on endpoint nginx (d0bfd56dc4cf4550ec3733eca45307831cd31f477f8542946432905edb38cf52):  (iptables failed: iptables --wait -t nat -A DOCKER -p tcp -d 0/0 --dport 8689 -j DNAT --to-destination 192.168.0.2:80 ! -i docker0: iptables: No chain/target/match by that name.`,
			near:     `Bind for 0.0.0.0:3002 failed: port is already allocated`,
		},
		{
			name: "docker port taken", engine: "docker", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`Bind for (\S+) failed: port is already allocated`),
			because:  `the port $1 of the host is already given to another container`,
			disproof: `"docker ps" on the host shows nobody with that port.`,
			cure:     `Find who has it ("docker ps", "ss -ltnp"): often a second copy of this container. Free the port or choose another.`,
			source:   `public file id 15604565072`,
			sample:   `Bind for 0.0.0.0:3002 failed: port is already allocated`,
			near:     `network nosuch not found.`,
		},
		{
			name: "docker being removed", engine: "docker", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`container is marked for removal and cannot be started`),
			because:  `its removal was begun on the host and did not end`,
			disproof: `"docker ps -a" shows it in another state than removing or dead.`,
			cure:     `Find out who removes it; if nobody does, "docker rm -f" and make it anew: its volumes stay.`,
			source:   `public file id 55120154`,
			sample:   `container is marked for removal and cannot be started`,
			near:     `cannot start a paused container, try unpause instead`,
		},
		{
			name: "docker stale mount", engine: "docker", layer: Storage, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`error while creating mount source path '([^']+)': mkdir \S+: file exists`),
			because:  `"$1", which is to be mounted into it, is a dead mount on the host`,
			disproof: `"ls $1" on the host works.`,
			cure:     `"umount -l $1" and mount it again: the disk or share behind it was lost and came back as another.`,
			source:   `public file id 60817011600`,
			sample:   `Error response from daemon: error while creating mount source path '/mnt/media': mkdir /mnt/media: file exists`,
			near:     `Error response from daemon: error while creating mount source path '/path/to/data': chown /path/to/data: permission denied`,
		},
		{
			name: "docker mount source", engine: "docker", layer: Storage, confidence: Medium, retry: health.No,
			match:    regexp.MustCompile(`error while creating mount source path '([^']+)': `),
			because:  `"$1", which is to be mounted into it, is missing and cannot be made on the host`,
			disproof: `"ls $1" on the host shows it.`,
			cure:     `See whether the disk or share that holds "$1" is mounted, and writable for the daemon.`,
			source:   `public file id 66026645085`,
			sample:   `Error response from daemon: error while creating mount source path '/path/to/data': chown /path/to/data: permission denied`,
			near:     `docker: Error response from daemon: error while creating mount source path: permission denied`,
		},
		{
			name: "docker device driver", engine: "docker", layer: Host, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`could not select device driver "([^"]*)" with capabilities`),
			because:  `the host cannot hand devices of the kind "$1" to containers any more`,
			disproof: `"docker info" on the host lists the runtime.`,
			cure:     `Install the container toolkit of "$1" on the host and restart Docker; a driver upgrade may have removed it.`,
			source:   `public file id 48325652361`,
			sample:   `Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]]`,
			near:     `could not select device driver "nvidia"`,
		},
		{
			name: "docker network missing", engine: "docker", layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`network (\S+) not found`),
			because:  `the Docker network "$1" that it belongs to does not exist any more on the host`,
			disproof: `"docker network ls" on the host shows it.`,
			cure:     `Make the network anew with its old name and settings, then connect and start the container.`,
			source:   `testdata/sessions.txt`,
			sample:   `docker: Error response from daemon: network nosuch not found.`,
			near:     `Error response from daemon: No such container: nope`,
		},
		{
			name: "docker no exit event", engine: "docker", survives: true, layer: Engine, confidence: High, retry: health.No,
			match:    regexp.MustCompile(`tried to kill container, but did not receive an exit event`),
			because:  `the host killed it and never learned that it ended, which nothing inside a container can bring about`,
			disproof: `Its process is gone on the host, and "docker ps" says so.`,
			cure:     stuckCure,
			source:   `https://github.com/docker/for-mac/issues/6850`,
			sample:   `Error response from daemon: Could not kill running container ef21e590981d84c54d3f3dfc61ca4bc7e43433bf15e888e0ab42f9575088595f, cannot remove - tried to kill container, but did not receive an exit event`,
			near:     `Error response from daemon: Cannot kill container: job: Container 6c981de18bd0632189d2ddaf5eb578696b2d3841fb7dbde23ea49e20f2b3c1f5 is not running`,
		},
		{
			name: "docker zombie", engine: "docker", survives: true, layer: Engine, confidence: High, retry: health.Maybe,
			match:    regexp.MustCompile(`PID (\d+) is zombie and can not be killed`),
			because:  `its process $1 has ended and the host's container software does not take notice`,
			disproof: `Process $1 is gone on the host.`,
			cure:     `On the host, see who is the parent of $1 ("ps -o ppid= $1"): the shim of the container or its runtime hangs; "systemctl restart docker" often frees it.`,
			source:   `public file id 61064858479`,
			sample:   `could not kill container: container f1488cd9c901 PID 90915 is zombie and can not be killed.`,
			near:     `Use the --init option ...`,
		},
		{
			name: "docker daemon down", engine: "docker", layer: Engine, confidence: High, retry: health.Yes,
			match:    regexp.MustCompile(`Cannot connect to the Docker daemon at (\S+?)\.? `),
			because:  `the host's Docker daemon does not answer`,
			disproof: `"docker ps" on the host answers.`,
			cure:     `"systemctl status docker" on the host, and start it.`,
			source:   `agent/engine/testdata/docker/no-daemon.stderr`,
			sample:   `Cannot connect to the Docker daemon at unix:///run/rig/nosuch.sock. Is the docker daemon running?`,
			near:     `Error response from daemon: No such container: nope`,
		},
	}
}

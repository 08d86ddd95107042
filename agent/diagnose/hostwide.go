package diagnose

import (
	"fmt"
	"strings"

	"atalaya/agent/health"
)

// hostFaults tell the layer of a fault of the host by the words that agent/host and agent/engine say it in; the first that
// fits counts.
var hostFaults = []struct{ words, layer, cure string }{
	{"does not answer: ", Engine, "Start the engine's service again, and read its log first: journalctl -u NAME."},
	{"the file system ", Storage, "Make room, or see the kernel's log for errors of the disk: df -h, df -i, dmesg."},
	{"the host's disks ", Storage, "See which disk is slow or failing: iostat -x 1, smartctl -a, dmesg."},
	{"tracked connections", Network, "Raise net.netfilter.nf_conntrack_max, and see who opens so many: conntrack -L."},
	{"the host is cut off", Network, "See the uplink and its gateway: ip link, ip route; then ask whoever runs the network."},
	{" is missing", Network, "Bring the interface up again, and see who took it down: journalctl -u networking -u systemd-networkd -u NetworkManager."},
	{" is down", Network, "Bring the interface up again, and see who took it down: journalctl -u networking -u systemd-networkd -u NetworkManager."},
	{"", Host, "Give the host what it lacks, and see who used it up: top, and the vitals in the evidence."},
}

// JudgeHost says which layer an event of the whole host lies in. Where nothing is known to be wrong with the host, what its
// containers share is to blame, and not each of them; more is not known.
func JudgeHost(host string, e health.HostEvent) health.Verdict {
	if len(e.Faults) == 0 {
		return health.Verdict{Layer: Undetermined, Confidence: Low, RetryHelps: health.Maybe,
			Sentence: fmt.Sprintf("On host %s %s: what they share is to blame, and not each of them.", host, e.Reason),
			Disproof: "Causes of their own in the evidence of several of them.",
			Cure:     "Look at what they share: storage, network, memory of the host, a service that all of them need."}
	}
	v := health.Verdict{Confidence: High, RetryHelps: health.Maybe, Proof: e.Faults,
		Sentence: fmt.Sprintf("Host %s cannot do what its containers need: %s.", host, strings.Join(e.Faults, "; ")),
		Disproof: "The same failures after this is mended."}
	for _, f := range hostFaults {
		if strings.Contains(e.Faults[0], f.words) {
			v.Layer, v.Cure = f.layer, f.cure
			break
		}
	}
	return v
}

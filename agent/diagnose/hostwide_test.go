package diagnose

import (
	"strings"
	"testing"

	"atalaya/agent/health"
)

// Each fault that agent/host and the agent itself tell of has its layer and a cure; many failures without one have neither.
func TestJudgeHost(t *testing.T) {
	t.Parallel()
	for fault, layer := range map[string]string{
		"bridge br0 is missing":                                            Network,
		"bridge br0 is down":                                               Network,
		"interface eth1 is missing":                                        Network,
		"the file system /var is full":                                     Storage,
		"the file system / has no inodes left":                             Storage,
		"the file system / has become read-only":                           Storage,
		"the host's memory is exhausted":                                   Host,
		"the kernel is killing processes for want of memory":               Host,
		"the host's disks do not keep up: all that reads or writes stalls": Storage,
		"the table of tracked connections is full: new ones are dropped":   Network,
		"the host is cut off: the uplink eth0 has no carrier":              Network,
		"the host is cut off: its default route is gone":                   Network,
		"the engine docker does not answer: list docker containers: …":     Engine,
	} {
		v := JudgeHost("h1", health.HostEvent{Reason: fault, Faults: []string{fault}})
		if v.Layer != layer || v.Confidence != High || v.Cure == "" || !strings.Contains(v.Sentence, fault) || len(v.Proof) != 1 {
			t.Errorf("%q: %+v, want %s", fault, v, layer)
		}
	}
	v := JudgeHost("h1", health.HostEvent{Reason: "3 of 9 containers fail since 00:00:21"})
	if v.Layer != Undetermined || v.Confidence != Low || !strings.Contains(v.Sentence, "3 of 9") {
		t.Errorf("%+v", v)
	}
}

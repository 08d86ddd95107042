package diagnose

import (
	"fmt"
	"regexp"
	"strings"

	"atalaya/agent/health"
)

// memcgKill and globalKill are the kernel's lines about an out-of-memory kill (mm/oom_kill.c, run on Linux 6.18).
var (
	memcgKill  = regexp.MustCompile(`oom-kill:constraint=CONSTRAINT_MEMCG,.*\btask_memcg=([^,]+),task=([^,]+),`)
	globalKill = regexp.MustCompile(`oom-kill:constraint=CONSTRAINT_NONE,.*\btask_memcg=([^,]+),task=([^,]+),`)
)

// outOfMemory tells a guest that outgrew its own limit from a host that ran out of memory.
func outOfMemory(f Facts) (health.Verdict, bool) {
	if f.Cgroup == "" || f.Failure == WontStart {
		return health.Verdict{}, false
	}
	own := genuine(f.Kernel)
	for i := len(own) - 1; i >= 0; i-- {
		line := own[i]
		if m := memcgKill.FindStringSubmatch(line); m != nil && within(m[1], f.Cgroup) {
			return health.Verdict{
				Layer: Guest, Confidence: High, RetryHelps: health.Yes,
				Sentence: fmt.Sprintf("%s because it used up its own memory limit, and the kernel killed %q in it.", f.cannot(), m[2]),
				Proof:    []string{"the kernel's log: " + quoted(line) + f.in(FactKernel)},
				Disproof: "The limit is lower than what was agreed for this container: then it is the provider's.",
				Cure:     "Find what grew in the container, or give it more memory.",
			}, true
		}
		if m := globalKill.FindStringSubmatch(line); m != nil && within(m[1], f.Cgroup) {
			return health.Verdict{
				Layer: Host, Confidence: High, RetryHelps: health.Yes,
				Sentence: fmt.Sprintf("%s because the host itself ran out of memory, and the kernel killed %q in it.", f.cannot(), m[2]),
				Proof:    []string{"the kernel's log: " + quoted(line) + f.in(FactKernel)},
				Disproof: "This container alone used nearly all of the host's memory, having no limit.",
				Cure:     "Free memory on the host: it has promised more than it has.",
			}, true
		}
	}
	return health.Verdict{}, false
}

// within says that a cgroup is the container's, or lies below it.
func within(cgroup, container string) bool {
	return cgroup == container || strings.HasPrefix(cgroup, strings.TrimSuffix(container, "/")+"/")
}

// byProbe judges one that runs and does not serve. Running is not alive.
func byProbe(f Facts) (health.Verdict, bool) {
	if f.Failure != Sick || f.Probe.Probe == "" {
		return health.Verdict{}, false
	}
	switch f.Inside {
	case health.Pass:
		return health.Verdict{
			Layer: Network, Confidence: Medium, RetryHelps: health.No,
			Sentence: fmt.Sprintf("Container %s serves, but cannot be reached from its host: the network in between fails.", f.name()),
			Proof: []string{
				probeWords(f),
				fmt.Sprintf("the same probe passes from inside the container's own network%s", f.in(FactProbe)),
			},
			Disproof: "A firewall or a bind address inside the container keeps the host out: then it is the guest's.",
			Cure:     "Look at bridge, routes, neighbours and firewall between the host and the container.",
		}, true
	case health.Fail:
		return health.Verdict{
			Layer: Guest, Confidence: High, RetryHelps: health.Yes,
			Sentence: fmt.Sprintf("Container %s runs, but its service does not answer, not even from inside its own network.", f.name()),
			Proof: []string{
				probeWords(f),
				fmt.Sprintf("it fails from inside the container's own network as well%s", f.in(FactProbe)),
			},
			Disproof: "The service waits for the host: its processes are in uninterruptible sleep (state D), on disk or share.",
			Cure:     "Restart the service or the container; its own logs say why it hangs.",
		}, true
	}
	return byAnswer(f)
}

// An answer is what the words of a failed probe prove by themselves.
type answer struct {
	words      []string
	layer      string
	confidence string
	sentence   string // after "Container X "
	disproof   string
	cure       string
	retry      health.Tri
}

// answers: something that answers proves the way to it.
var answers = []answer{
	{[]string{"connection refused"}, Guest, Medium, "is reached, but nothing in it listens at the probed port",
		"Another machine has the container's address, or a firewall answers for it.",
		"See whether its service is running, and on which address it listens.", health.Yes},
	{[]string{"status 5", "http 5"}, Guest, High, "is reached, and its web server answers with an error of its own",
		"The error comes from a proxy in between, not from the container.", "The web server's own error log says why.", health.Maybe},
	{[]string{"certificate"}, Guest, High, "is reached, but its TLS certificate is not accepted",
		"The clock of this host is wrong, or its list of authorities is old.", "Renew or correct the certificate.", health.No},
}

// byAnswer judges by what came back. Silence proves nothing: a full queue, a firewall and a dead link look the same.
func byAnswer(f Facts) (health.Verdict, bool) {
	low := strings.ToLower(f.Probe.Detail)
	for _, a := range answers {
		if !names(low, a.words) {
			continue
		}
		return health.Verdict{
			Layer: a.layer, Confidence: a.confidence, RetryHelps: a.retry, Disproof: a.disproof, Cure: a.cure,
			Sentence: fmt.Sprintf("Container %s %s.", f.name(), a.sentence), Proof: []string{probeWords(f)},
		}, true
	}
	if len(f.Sighting.Addrs) == 0 && f.Sighting.State == health.Running {
		return health.Verdict{
			Layer: Undetermined, Confidence: Low,
			Sentence: fmt.Sprintf("Container %s runs but has no network address: it hangs in its own start-up, or gets no address from the network.", f.name()),
			Proof:    []string{"the engine shows no address" + f.in(FactSighting), probeWords(f)},
			Cure:     "Read its console first: a guest that hangs while booting shows it there. Then look at the DHCP server.",
		}, true
	}
	return health.Verdict{}, false
}

// probeWords is the failing probe's word as proof.
func probeWords(f Facts) string {
	s := fmt.Sprintf("probe %q fails from the host", f.Probe.Probe)
	if f.Probe.Detail != "" {
		s += ": " + quoted(f.Probe.Detail)
	}
	return s + f.in(FactProbe)
}

package web

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/health"
)

// viewWithin is how long a scrape waits for the agent's view.
const viewWithin = time.Second

// A Collector turns the agent's view into metrics, anew at each scrape: nothing that is gone leaves a series behind. It
// is safe for concurrent use. While the decision loop does not give its view within 1 s, atalaya_view_up is 0 and
// everything that comes from the view is absent, rather than old. docs/metrics.md explains each metric.
type Collector struct {
	view    func(context.Context) (health.View, error)
	version string
}

// NewCollector makes a Collector of what view gives.
func NewCollector(version string, view func(context.Context) (health.View, error)) *Collector {
	return &Collector{view: view, version: version}
}

// A family is one metric with its labels.
type family struct{ desc *prometheus.Desc }

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("atalaya_"+name, help, labels, nil)}
}

// Descs are made at each call: package variables would have to be mutable, and 20 small values cost nothing.
type families struct {
	build, viewUp, mode, closed, configStale           family
	instanceUp, instanceDegraded                       family
	instanceListed, instanceLooked                     family
	containers                                         family
	up, state, phase, wanted, held, incident, attempts family
	window, backupGood, backupBad                      family
	probeUp, probeFailing, probeTook, probeExpires     family
}

func newFamilies() families {
	c := []string{"engine", "instance", "container"}
	with := func(l ...string) []string { return append(append([]string(nil), c...), l...) }
	return families{
		build:            gauge("build_info", "1, with the version of the agent.", "version"),
		viewUp:           gauge("view_up", "1 if the decision loop gave its view within a second; while it is 0, what is known of containers is absent."),
		mode:             gauge("mode", "1 for the mode of the whole agent: observe, alert or heal.", "mode"),
		closed:           gauge("host_closed", "1 while nothing is started, because the host or an engine is going down or coming up."),
		configStale:      gauge("config_stale", "1 while the configuration file, as it was read last, does not hold: it was refused, or parts of it wait for a restart of the agent."),
		instanceUp:       gauge("instance_up", "1 if the latest list of an engine's instance succeeded.", "engine", "instance"),
		instanceDegraded: gauge("instance_degraded", "1 while an instance is watched in another way, because a list of all hangs.", "engine", "instance"),
		instanceListed:   gauge("instance_last_list_timestamp_seconds", "When the tool of an instance last listed all; absent before that.", "engine", "instance"),
		instanceLooked:   gauge("instance_last_look_timestamp_seconds", "When it was last known how all containers of an instance are, also without asking its tool; absent before that.", "engine", "instance"),
		containers:       gauge("containers", "Containers that are watched, by phase.", "phase"),
		up:               gauge("container_up", "1 if the container runs.", c...),
		state:            gauge("container_state", "1 for what the engine says of the container.", with("state")...),
		phase:            gauge("container_phase", "1 for where the container stands with the agent.", with("phase")...),
		wanted:           gauge("container_wanted", "1 if the container should be running, by its engine, the configuration or a person.", c...),
		held:             gauge("container_held", "1 while a person said hands off.", c...),
		incident:         gauge("container_incident_open", "1 while an incident of the container is open.", c...),
		attempts:         gauge("container_attempts", "Attempts of the current budget that are spent.", c...),
		window:           gauge("container_in_window", "1 while a maintenance window is open for the container.", c...),
		backupGood:       gauge("container_last_good_backup_timestamp_seconds", "When the last good backup was begun that is known; absent where none is.", c...),
		backupBad:        gauge("container_backup_failing", "1 while scheduled backups of the container fail or are overdue; absent where none are scheduled.", c...),
		probeUp:          gauge("probe_up", "1 if the probe passed when it ran last, 0 if it failed; absent when it was unsure or has not run.", with("probe")...),
		probeFailing:     gauge("probe_failing", "1 while the probe counts as failing: fail_after failures, without pass_after passes since.", with("probe")...),
		probeTook:        gauge("probe_duration_seconds", "How long the latest run of the probe took; absent as atalaya_probe_up is.", with("probe")...),
		probeExpires:     gauge("probe_certificate_expiry_timestamp_seconds", "When the first certificate expires of the chain that the probe met last; absent where it met none.", with("probe")...),
	}
}

// Describe sends every metric that there may be.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	f := newFamilies()
	for _, x := range []family{f.build, f.viewUp, f.mode, f.closed, f.configStale, f.instanceUp, f.instanceDegraded, f.instanceListed, f.instanceLooked, f.containers,
		f.up, f.state, f.phase, f.wanted, f.held, f.incident, f.attempts, f.window, f.backupGood, f.backupBad, f.probeUp, f.probeFailing, f.probeTook, f.probeExpires} {
		ch <- x.desc
	}
}

// Collect asks for the view and sends what it holds.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), viewWithin)
	defer cancel()
	s := sink{ch: ch, families: newFamilies()}
	s.send(s.build, 1, c.version)
	v, err := c.view(ctx)
	s.send(s.viewUp, truth(err == nil))
	if err != nil {
		return
	}
	s.send(s.mode, 1, string(v.Mode))
	s.send(s.closed, truth(v.Closed != ""))
	s.send(s.configStale, truth(v.Config.Refused != "" || len(v.Config.Waiting) > 0))
	for _, i := range v.Instances {
		s.send(s.instanceUp, truth(i.Err == "" && !i.Looked.IsZero()), i.Engine, i.Instance)
		s.send(s.instanceDegraded, truth(i.Degraded != ""), i.Engine, i.Instance)
		s.moment(s.instanceListed, i.Listed, i.Engine, i.Instance)
		s.moment(s.instanceLooked, i.Looked, i.Engine, i.Instance)
	}
	names := labelNames(v.Containers)
	phases := map[health.Phase]int{}
	for n, k := range v.Containers {
		phases[k.Phase]++
		s.container(k, names[n])
	}
	for _, p := range health.Phases() {
		s.send(s.containers, float64(phases[p]), string(p))
	}
}

// A sink sends metrics of one scrape.
type sink struct {
	families
	ch chan<- prometheus.Metric
}

func (s sink) send(f family, value float64, labels ...string) {
	for i := range labels {
		labels[i] = valid(labels[i])
	}
	s.ch <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, value, labels...)
}

// moment sends a time, unless it never was.
func (s sink) moment(f family, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.send(f, float64(at.UnixMilli())/1000, labels...)
	}
}

func (s sink) container(k health.ContainerView, name string) {
	who := func(more ...string) []string { return append([]string{k.Ref.Engine, k.Ref.Instance, name}, more...) }
	s.send(s.up, truth(k.State == health.Running), who()...)
	s.send(s.state, 1, who(string(k.State))...)
	s.send(s.phase, 1, who(string(k.Phase))...)
	s.send(s.wanted, truth(k.Intent.Want == health.Yes), who()...)
	s.send(s.held, truth(k.Hold != nil), who()...)
	s.send(s.incident, truth(k.Incident != ""), who()...)
	s.send(s.attempts, float64(k.Attempts), who()...)
	s.send(s.window, truth(k.Window != nil), who()...)
	if b := k.Backup; b != nil {
		s.moment(s.backupGood, b.Good, who()...)
		s.send(s.backupBad, truth(b.Incident != ""), who()...)
	}
	for _, p := range k.Signals {
		s.moment(s.probeExpires, p.Expires, who(p.Probe)...)
		s.send(s.probeFailing, truth(p.Failing), who(p.Probe)...)
		if p.Outcome == health.Pass || p.Outcome == health.Fail {
			s.send(s.probeUp, truth(p.Outcome == health.Pass), who(p.Probe)...)
			s.send(s.probeTook, math.Round(float64(p.Took)*1000)/1e6, who(p.Probe)...) // a Millis holds whole microseconds
		}
	}
}

// labelNames gives each container its name for people, or its id where the name is that of another of the same instance,
// too: two series of the same labels are none.
func labelNames(all []health.ContainerView) []string {
	taken := map[health.Ref]int{}
	at := func(k health.ContainerView, name string) health.Ref {
		return health.Ref{Engine: k.Ref.Engine, Instance: k.Ref.Instance, ID: name}
	}
	for _, k := range all {
		taken[at(k, k.Name)]++
		if k.Ref.ID != k.Name {
			taken[k.Ref]++
		}
	}
	out := make([]string, len(all))
	for i, k := range all {
		if out[i] = k.Name; k.Name == "" || taken[at(k, k.Name)] > 1 {
			out[i] = k.Ref.ID
		}
	}
	return out
}

// valid gives text as a label value may be. Bytes that are not UTF-8 are shown as \xNN, so that they stay apart.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[0])
		} else {
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

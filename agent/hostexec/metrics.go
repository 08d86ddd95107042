package hostexec

import "github.com/prometheus/client_golang/prometheus"

// metrics are bounded by form: no label is taken from a command line.
type metrics struct {
	commands  *prometheus.CounterVec
	seconds   *prometheus.CounterVec
	timeouts  *prometheus.CounterVec
	abandoned prometheus.Counter
	direct    prometheus.Counter
}

// newMetrics registers with r, which may be nil. stuck is asked at each scrape.
func newMetrics(r prometheus.Registerer, stuck, unfinished func() float64) *metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atalaya_hostexec_" + name, Help: help}, []string{"kind"})
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "atalaya_hostexec_" + name, Help: help})
	}
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "atalaya_hostexec_" + name, Help: help}, f)
	}
	m := &metrics{
		commands:  vec("commands_total", "Host commands begun, by kind: read, change, stream."),
		seconds:   vec("command_seconds_total", "Time that callers waited for host commands, by kind."),
		timeouts:  vec("timeouts_total", "Host commands that passed their limit, by kind."),
		abandoned: one("abandoned_total", "Children that did not end when killed, and were abandoned."),
		direct:    one("direct_starts_total", "Changing commands started by the agent itself although it is a systemd service."),
	}
	if r != nil {
		r.MustRegister(m.commands, m.seconds, m.timeouts, m.abandoned, m.direct,
			gauge("stuck_commands", "Abandoned children in uninterruptible sleep now.", stuck),
			gauge("unfinished_commands", "Changing commands of this agent that run now.", unfinished))
	}
	return m
}

// count accounts for one finished call.
func (m *metrics) count(kind string, t Transcript) {
	m.commands.WithLabelValues(kind).Inc()
	m.seconds.WithLabelValues(kind).Add(t.Took.Seconds())
	if t.TimedOut {
		m.timeouts.WithLabelValues(kind).Inc()
	}
}

package host

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	changes *prometheus.CounterVec
	asked   *prometheus.HistogramVec
	failed  *prometheus.CounterVec
}

// The sources of what is known.
const (
	fromBus       = "dbus"
	fromSystemctl = "systemctl"
	fromLinks     = "netlink"
	fromGauge     = "gauge"
)

// newMetrics registers with r; a nil r keeps the metrics to ourselves.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		changes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_host_changes_total",
			Help: "Changes of the host that concern containers, by source (dbus, systemctl, netlink or gauge).",
		}, []string{"source"}),
		asked: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atalaya_host_ask_duration_seconds",
			Help:    "Time until systemd answered, by way (dbus or systemctl).",
			Buckets: []float64{.0005, .001, .002, .005, .01, .05, .25, 1, 5},
		}, []string{"way"}),
		failed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_host_failures_total",
			Help: "Failures to ask systemd or to follow the interfaces, by source (dbus, systemctl, netlink).",
		}, []string{"source"}),
	}
}

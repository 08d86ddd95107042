package sentinel

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	watched   prometheus.Gauge
	deaths    *prometheus.CounterVec
	overflows prometheus.Counter
	fallbacks prometheus.Counter
}

// newMetrics registers with r; a nil r keeps the metrics to ourselves.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		watched: f.NewGauge(prometheus.GaugeOpts{
			Name: "atalaya_sentinel_watched_processes",
			Help: "Init processes whose death would be noticed now.",
		}),
		deaths: f.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_sentinel_deaths_total",
			Help: "Deaths of init processes noticed, by sensor (pidfd, proc, poll).",
		}, []string{"sensor"}),
		overflows: f.NewCounter(prometheus.CounterOpts{
			Name: "atalaya_sentinel_overflows_total",
			Help: "Times the kernel dropped exit events and every watched process was looked at again.",
		}),
		fallbacks: f.NewCounter(prometheus.CounterOpts{
			Name: "atalaya_sentinel_fallbacks_total",
			Help: "Times a sensor failed while running and polling took over.",
		}),
	}
}

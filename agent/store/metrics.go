package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commits *prometheus.CounterVec
	took    prometheus.Histogram
	owed    prometheus.Gauge
	lost    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atalaya_store_commits_total",
			Help: "Transactions of the decision loop that were tried, by result."}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "atalaya_store_commit_seconds",
			Help:    "How long a transaction of the decision loop took until it was on disk, or failed.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}}),
		owed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "atalaya_store_owed_batches",
			Help: "Batches that are not known to be on disk yet. More than a few for long: the disk is full or does not answer."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "atalaya_store_set_aside_total",
			Help: "Malformed databases that were set aside while in use."}),
	}
	for _, result := range []string{"ok", "failed"} {
		m.commits.WithLabelValues(result)
	}
	if r != nil {
		r.MustRegister(m.commits, m.took, m.owed, m.lost)
	}
	return m
}

func (m *metrics) observe(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.commits.WithLabelValues(result).Inc()
	m.took.Observe(took.Seconds())
}

package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/store"
)

type metrics struct {
	sends   *prometheus.CounterVec
	took    *prometheus.HistogramVec
	pending *prometheus.GaugeVec
	dead    *prometheus.GaugeVec
	oldest  *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atalaya_notify_sends_total",
			Help: "Tries to deliver an alert, by channel and what came of it: sent, failed, later, refused, gave_up."}, []string{"channel", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "atalaya_notify_send_seconds",
			Help:    "How long a try took.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2, 5, 10, 30, 60}}, []string{"channel"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atalaya_notify_pending_alerts",
			Help: "Alerts that are queued and not delivered."}, []string{"channel"}),
		dead: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atalaya_notify_dead_letters",
			Help: "Alerts that were refused or given up; see atalaya status."}, []string{"channel"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atalaya_notify_oldest_pending_timestamp_seconds",
			Help: "When the oldest alert that is not delivered was queued."}, []string{"channel"}),
	}
	if r != nil {
		r.MustRegister(m.sends, m.took, m.pending, m.dead, m.oldest)
	}
	return m
}

// known makes the series of a configured channel exist before anything happens to it.
func (m *metrics) known(channel string) {
	for _, result := range []string{"sent", "failed", "later", "refused", "gave_up"} {
		m.sends.WithLabelValues(channel, result)
	}
	m.took.WithLabelValues(channel)
	m.pending.WithLabelValues(channel)
	m.dead.WithLabelValues(channel)
}

func (m *metrics) tried(channel, result string, took time.Duration) {
	m.sends.WithLabelValues(channel, result).Inc()
	m.took.WithLabelValues(channel).Observe(took.Seconds())
}

// backlog shows bs; a channel that is not among them has none.
func (m *metrics) backlog(bs []store.Backlog, channels []string) {
	m.pending.Reset()
	m.dead.Reset()
	m.oldest.Reset()
	for _, c := range channels {
		m.pending.WithLabelValues(c)
		m.dead.WithLabelValues(c)
	}
	for _, b := range bs {
		m.pending.WithLabelValues(b.Channel).Set(float64(b.Pending))
		m.dead.WithLabelValues(b.Channel).Set(float64(b.Dead))
		if !b.Oldest.IsZero() {
			m.oldest.WithLabelValues(b.Channel).Set(float64(b.Oldest.UnixMilli()) / 1000)
		}
	}
}

package evidence

import "github.com/prometheus/client_golang/prometheus"

// How an item ended, for the metric.
const (
	outcomeTaken  = "taken"
	outcomeCut    = "cut"
	outcomeFailed = "failed"
	outcomeLate   = "late"
)

type metrics struct {
	captures prometheus.Counter
	items    *prometheus.CounterVec
	held     prometheus.Histogram
	seal     prometheus.Histogram
	failed   prometheus.Counter
	bytes    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, hung func() float64) *metrics {
	m := &metrics{
		captures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atalaya_evidence_captures_total", Help: "Evidence captures begun.",
		}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_evidence_items_total", Help: "Pieces of evidence asked for, by what came of them.",
		}, []string{"outcome"}),
		held: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atalaya_evidence_hold_seconds", Help: "How long evidence held up an action.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .5, 1},
		}),
		seal: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atalaya_evidence_seal_seconds", Help: "How long packing and writing a bundle took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atalaya_evidence_seal_failures_total", Help: "Bundles that could not be written.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atalaya_evidence_sealed_bytes_total", Help: "Bytes of sealed bundles written.",
		}),
	}
	for _, o := range []string{outcomeTaken, outcomeCut, outcomeFailed, outcomeLate} {
		m.items.WithLabelValues(o)
	}
	if reg != nil {
		reg.MustRegister(m.captures, m.items, m.held, m.seal, m.failed, m.bytes,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "atalaya_evidence_hung_items",
				Help: "Pieces of evidence that passed their deadline and still hang, a read in uninterruptible sleep for one.",
			}, hung))
	}
	return m
}

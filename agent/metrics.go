package agent

import "github.com/prometheus/client_golang/prometheus"

// metrics of the loop itself; what is known of containers is collected from the view at scrape time, by web.
type metrics struct {
	lists        *prometheus.CounterVec
	deaths       *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	jobs         *prometheus.CounterVec
	incidents    *prometheus.CounterVec
	probes       *prometheus.CounterVec
	noticed      prometheus.Histogram
	recovered    prometheus.Histogram
	commit       prometheus.Histogram
	storeFailing prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		lists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_lists_total", Help: "Lists of containers, by engine and outcome; unasked: nothing had moved, and the tool was not asked."}, []string{"engine", "outcome"}),
		deaths: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_deaths_total", Help: "Deaths of init processes that the kernel reported, by sensor."}, []string{"sensor"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_attempts_total", Help: "Starts and restarts that were ordered."}, []string{"action"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_scheduled_total", Help: "Scheduled backups and stops that have ended, by outcome: ok, failed."}, []string{"do", "outcome"}),
		incidents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_incidents_total", Help: "Incidents by what happened to them: open, escalate, resolve."}, []string{"turn"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atalaya_probes_total", Help: "Probes that were run, by outcome."}, []string{"outcome"}),
		noticed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atalaya_notice_seconds", Help: "From the kernel's notice of a death to the decision loop.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 14)}),
		recovered: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atalaya_recovery_seconds", Help: "From the notice of a failure to the resolution of its incident.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 14)}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atalaya_commit_seconds", Help: "Commits of the decision loop.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14)}),
		storeFailing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atalaya_store_failing", Help: "1 while the store cannot be written and healing goes on from memory."}),
	}
	if r != nil {
		r.MustRegister(m.lists, m.deaths, m.attempts, m.jobs, m.incidents, m.probes, m.noticed, m.recovered, m.commit, m.storeFailing)
	}
	return m
}

// Package schedule knows the times that people write in crontabs, also where the clocks change: it tells when maintenance
// windows are open, and when the jobs of containers are due, which the decision loop then orders. The agent's own jobs it
// runs itself.
//
// Of those, a job never overlaps with itself: while one run lasts, its further times are skipped and logged. A panic ends the run,
// not the agent. It remembers nothing over a restart and catches up nothing: a job that must not be missed asks for its
// own need when it runs. It is the only importer of cron.
package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"
)

// A Job is something to be done at certain times.
type Job struct {
	Name   string // unique
	Spec   Spec
	Jitter time.Duration                   // each time comes later by the same part of it, hashed from Seed and Name; 0: on time
	Seed   string                          // tells hosts apart that have the same jobs: the host's name
	Do     func(ctx context.Context) error // ctx ends when the schedule is stopped; an error is logged
}

// A Schedule is a set of jobs. It is safe for concurrent use.
type Schedule struct {
	log     *slog.Logger
	m       *metrics
	jobs    map[string]Job
	cron    *cron.Cron
	started sync.Once
}

// New checks the jobs. Run starts them.
func New(log *slog.Logger, r prometheus.Registerer, jobs ...Job) (*Schedule, error) {
	s := &Schedule{log: log, m: newMetrics(r), jobs: map[string]Job{}, cron: cron.New(cron.WithLogger(cron.DiscardLogger))}
	for _, j := range jobs {
		if _, twice := s.jobs[j.Name]; twice || j.Name == "" || j.Do == nil || j.Spec.next == nil {
			return nil, fmt.Errorf("schedule job %q: it needs a name of its own, a schedule and something to do", j.Name)
		}
		j.Spec = j.Spec.Jittered(j.Seed+"/"+j.Name, j.Jitter)
		s.jobs[j.Name] = j
	}
	return s, nil
}

// Next gives when the job of that name is due next after now; zero: there is no such job.
func (s *Schedule) Next(name string, now time.Time) time.Time { return s.jobs[name].Spec.Next(now) }

// Run runs the jobs at their times until ctx ends, and returns when the last of them has returned. It returns nil, and an
// error if it was called before.
func (s *Schedule) Run(ctx context.Context) error {
	first := false
	s.started.Do(func() { first = true })
	if !first {
		return fmt.Errorf("run the schedule: it runs already, or has run")
	}
	for _, j := range s.jobs {
		s.cron.Schedule(j.Spec, &run{s: s, job: j, ctx: ctx})
	}
	s.cron.Start()
	<-ctx.Done()
	<-s.cron.Stop().Done()
	return nil
}

// A run is a job as cron calls it.
type run struct {
	s    *Schedule
	job  Job
	ctx  context.Context //nolint:containedctx // cron hands none over
	busy atomic.Bool
}

// Run does the job once, unless it is still at it.
func (r *run) Run() {
	log := r.s.log.With("job", r.job.Name)
	if !r.busy.CompareAndSwap(false, true) {
		r.s.m.runs.WithLabelValues(r.job.Name, "skipped").Inc()
		log.Warn("schedule: a job is still at its last run: this one is skipped")
		return
	}
	defer r.busy.Store(false)
	if r.ctx.Err() != nil {
		return
	}
	began := time.Now()
	err := contained(r.ctx, r.job)
	r.s.m.took.WithLabelValues(r.job.Name).Set(time.Since(began).Seconds())
	if err != nil {
		r.s.m.runs.WithLabelValues(r.job.Name, "failed").Inc()
		log.Error("schedule: a job failed", "err", err)
		return
	}
	r.s.m.runs.WithLabelValues(r.job.Name, "ok").Inc()
	log.Debug("schedule: a job is done", "took", time.Since(began))
}

func contained(ctx context.Context, j Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked, which is a fault in atalaya: %v\n%s", p, debug.Stack())
		}
	}()
	return j.Do(ctx)
}

type metrics struct {
	runs *prometheus.CounterVec
	took *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atalaya_schedule_runs_total",
			Help: "Runs of scheduled jobs, by result: ok, failed, skipped because the last one was not done."}, []string{"job", "result"}),
		took: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atalaya_schedule_last_run_seconds",
			Help: "How long the latest run of a job took."}, []string{"job"}),
	}
	if r != nil {
		r.MustRegister(m.runs, m.took)
	}
	return m
}

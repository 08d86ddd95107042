package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a Watcher needs.
type Options struct {
	Runner     Runner                // asks by systemctl where the socket of systemd cannot be used; nil: never
	Log        *slog.Logger          // nil: silent
	Canaries   []string              // "host:port", of the world, that are asked whether this host is cut off; empty: nobody is asked
	Registerer prometheus.Registerer // nil: the metrics are kept to ourselves
}

// A Watcher knows, without starting a process, whether the host or an engine's service is going down or coming up, and
// which interfaces there are. It is safe for concurrent use.
type Watcher struct {
	run     Runner
	log     *slog.Logger
	metrics *metrics
	changes chan struct{}
	managed bool
	root    string // "/"
	links   *links
	gauge   *gauge

	canaries canaries

	mu        sync.Mutex
	bus       *bus // nil: not connected
	facts     facts
	asked     map[question]Word // what was said last, to know when it changes
	following bool              // Run keeps the facts current
	fresh     map[string]bool   // units of which the facts are current while following
	troubled  bool              // the last attempt to ask failed; said once
}

// A question is one engine's: the same units and autostarter get the same Word.
type question struct{ units, autostarter string }

// New gives a Watcher that answers at once; Run makes it tell of changes.
func New(o Options) *Watcher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	w := &Watcher{
		run: o.Runner, log: o.Log, metrics: newMetrics(o.Registerer), changes: make(chan struct{}, 1),
		root: "/", managed: managed("/"),
		asked: make(map[question]Word), fresh: make(map[string]bool),
		facts: facts{units: make(map[string]unit), boot: BootID(), booted: booted(now)},
	}
	w.links = newLinks(o.Log, w.metrics, w.linkChanged)
	w.gauge = newGauge(w.root)
	w.canaries.all = o.Canaries
	return w
}

// Run keeps what Word and Missing say current, and tells on Changes, until ctx ends. It must be called once at most; a
// Watcher that does not run asks anew for every Word.
func (w *Watcher) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { w.links.run(ctx) })
	all.Go(func() { w.gauge.run(ctx, func() { w.changed(fromGauge) }) })
	if w.managed {
		all.Go(func() { w.follow(ctx) })
	} else {
		w.log.Info("PID 1 is not systemd: nothing is known of shutdowns and restarts of engines")
	}
	all.Wait()
	return nil
}

// Changes holds one value when Word or Missing may say something else than before, for what they were asked before. It is
// never closed.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Missing gives a sentence for each of the links that the host lacks or that is down, sorted: "bridge br0 is missing".
// Nothing is said while the interfaces cannot be read. While Run runs it costs a map access, and what it says is as old as
// a message of the kernel on its way, some milliseconds; Changes tells when that has come.
func (w *Watcher) Missing(links []string) []string { return w.links.missing(links) }

// Strain is what the whole host suffers from, as of the latest reading, at most some seconds old. It is none while Run does
// not run.
func (w *Watcher) Strain() Strain { return w.gauge.now() }

func (w *Watcher) linkChanged() { w.changed(fromLinks) }

func (w *Watcher) changed(source string) {
	w.metrics.changes.WithLabelValues(source).Inc()
	select {
	case w.changes <- struct{}{}:
	default: // told already, and not yet heard
	}
}

package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/agent/secret"
)

// The bounds of a Recorder whose Options name none.
const (
	DefaultBefore   = 300 * time.Millisecond
	DefaultAfter    = 2 * time.Second
	DefaultLevel    = 1
	maxLevel        = 9
	DefaultMaxBytes = 2 << 20
)

// A Runner runs a command that only reads, within its own limit. *hostexec.Host is one.
type Runner interface {
	Read(ctx context.Context, c hostexec.Command) hostexec.Transcript
}

// A Budget is how long evidence may hold up an action, and how long the round after it may take.
type Budget struct{ Before, After time.Duration }

// A Tuning is what may be changed of a Recorder while it works.
type Tuning struct {
	Budget Budget // zero fields: DefaultBefore, DefaultAfter; Before below zero: nothing waits
	Level  int    // of compression, 1 (fast) to 9 (small); 0: DefaultLevel
}

func (t Tuning) complete() Tuning {
	if t.Budget.Before >= 0 {
		t.Budget.Before = orDefault(t.Budget.Before, DefaultBefore)
	}
	t.Budget.After = orDefault(t.Budget.After, DefaultAfter)
	t.Level = min(orDefault(t.Level, DefaultLevel), maxLevel)
	return t
}

// Options are what a Recorder needs. Only Dir and Runner must be given.
type Options struct {
	Dir        string // of the bundles; made 0700
	Runner     Runner
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tuning     Tuning
	Secrets    *secret.Set // what must not get into a bundle; nil: none known
	Version    string      // of the agent, for the manifest
	MaxBytes   int64       // of one bundle; 0: DefaultMaxBytes
}

// A Recorder takes and seals evidence. It is safe for concurrent use; captures share its slots, so that a host on which
// everything dies at once still has a core left for starting it again.
type Recorder struct {
	o       Options
	tuning  atomic.Pointer[Tuning]
	metrics *metrics
	slots   chan struct{} // at most this many items compute at a time
	hung    atomic.Int64  // collectors that did not come back by their deadline, and have not yet
	sealing sync.Mutex    // one at a time: packing takes a core, and part numbers are given out
}

// New makes the folder, removes what an interrupted sealing left there, and is ready.
func New(o Options) (*Recorder, error) {
	if o.Dir == "" || o.Runner == nil {
		return nil, errors.New("evidence: a folder and a runner are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Secrets == nil {
		o.Secrets = new(secret.Set)
	}
	o.MaxBytes = orDefault(o.MaxBytes, DefaultMaxBytes)
	if o.Tuning.Level > maxLevel {
		return nil, fmt.Errorf("evidence: compression level %d: levels are 1 (fast) to 9 (small)", o.Tuning.Level)
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, err
	}
	removeLeftovers(o.Dir, o.Log)
	r := &Recorder{o: o, slots: make(chan struct{}, min(4, max(2, runtime.GOMAXPROCS(0))))}
	r.Tune(o.Tuning)
	r.metrics = newMetrics(o.Registerer, func() float64 { return float64(r.hung.Load()) })
	return r, nil
}

// Tune has what is taken or sealed from now on follow t. A level above 9 is taken as 9.
func (r *Recorder) Tune(t Tuning) {
	t = t.complete()
	r.tuning.Store(&t)
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// makeDir makes the folder of the bundles, readable by its owner alone also where it was there before.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the evidence folder %q: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs x
		return fmt.Errorf("close the evidence folder %q to others: %w", dir, err)
	}
	return nil
}

// tempPrefix begins the names of bundles that are not sealed yet.
const tempPrefix = ".sealing-"

func removeLeftovers(dir string, log *slog.Logger) {
	left, _ := filepath.Glob(filepath.Join(globQuote(dir), tempPrefix+"*")) // the pattern is ours
	for _, path := range left {
		if err := os.Remove(path); err == nil {
			log.Warn("removed an evidence bundle whose sealing was interrupted", "path", path)
		}
	}
}

// globQuote makes every character of s stand for itself in a pattern.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// A Request is what Begin is asked to take.
type Request struct {
	Incident string // its id; names the bundle
	Part     int    // 1, 2, … within the incident; 0: 1. A part that is sealed already is never replaced: the next free one is taken
	Ref      health.Ref
	Name     string // of the container, for people
	Host     health.Host
	Reason   string
	Failed   time.Time // the first sign of the failure: all times in the bundle count from it. Zero: now
	Init     health.Process
	Cgroup   string // as CgroupOf gave it while the init lived
	Items    []Item // the first round, in the order in which they are to be taken
}

// Begin starts taking everything at once, what is Volatile first, and returns at once.
func (r *Recorder) Begin(q Request) *Capture {
	now := time.Now()
	if q.Failed.IsZero() {
		q.Failed = now
	}
	q.Part = max(q.Part, 1)
	ctx, cancel := context.WithCancel(context.Background())
	c := &Capture{r: r, q: q, began: now, ctx: ctx, cancel: cancel}
	c.volatile = c.start(before, q.Items, 0).volatile
	r.metrics.captures.Inc()
	return c
}

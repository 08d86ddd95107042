package sentinel

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/health"
)

// Options are what a Sentinel needs; the zero value works.
type Options struct {
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are kept to ourselves
	// Force names one sensor (pidfd, proc, poll) that is used or refused; empty takes the best one that works here.
	Force string
	// PollEvery is the period of the polling sensor; 0 means DefaultPollEvery.
	PollEvery time.Duration
	// buffer is the size in bytes of the process connector's receive buffer; 0 means procBuffer.
	buffer int
}

// DefaultPollEvery is how often the polling sensor looks: half a second, which costs 0.2 % of a core with 200 processes.
const DefaultPollEvery = 500 * time.Millisecond

// An Event is the death of a watched process. At is when the kernel told of it, within the wall clock and the monotonic
// one.
type Event struct {
	Ref   health.Ref
	Death health.Death
	At    time.Time
}

// A Sentinel watches one init process per container and reports its death once. It is safe for concurrent use, holds one
// file descriptor per process at most, and needs two goroutines however many there are.
type Sentinel struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	queue   *queue

	mu     sync.Mutex
	sensor sensor
	name   string // of the sensor
	last   token
	refs   map[health.Ref]watch
	tokens map[token]health.Ref
	ended  bool // Run has returned
}

// A watch is one process held for one container.
type watch struct {
	token token
	init  health.Process
}

// New takes the best sensor that works here: pidfd (Linux 5.3), else the exit events of the process connector (needs
// CAP_NET_ADMIN and the initial pid namespace), else polling. It fails only where one is forced that does not work.
func New(o Options) (*Sentinel, error) {
	if o.PollEvery <= 0 {
		o.PollEvery = DefaultPollEvery
	}
	if o.buffer <= 0 {
		o.buffer = procBuffer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sentinel{
		o: o, log: o.Log, metrics: newMetrics(o.Registerer), queue: newQueue(),
		refs: make(map[health.Ref]watch), tokens: make(map[token]health.Ref),
	}
	if err := s.choose(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sentinel) choose() error {
	names := []string{sensorPidfd, sensorProc, sensorPoll}
	if s.o.Force != "" {
		names = []string{s.o.Force}
	}
	for _, name := range names {
		sensor, err := s.open(name)
		if err == nil {
			s.sensor, s.name = sensor, name
			return nil
		}
		if s.o.Force != "" {
			return fmt.Errorf("notice deaths by %q: %w", name, err)
		}
		s.log.Warn("a sensor of deaths does not work here, taking the next", "sensor", name, "err", err)
	}
	return errors.New("notice deaths: no sensor works here")
}

func (s *Sentinel) open(name string) (sensor, error) {
	switch name {
	case sensorPidfd:
		return newPidfds()
	case sensorProc:
		return newProc(s.o.buffer, func() {
			s.metrics.overflows.Inc()
			s.log.Warn("the kernel dropped exit events, looked at every watched process again")
		})
	case sensorPoll:
		return newPoll(s.o.PollEvery), nil
	}
	return nil, errors.New("no such sensor; use pidfd, proc or poll")
}

// Sensor names how deaths are noticed: pidfd, proc or poll.
func (s *Sentinel) Sensor() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// Events gives the deaths, each once. A slow reader delays them and loses none: what waits is bounded by the number of
// watches. The channel is never closed.
func (s *Sentinel) Events() <-chan Event { return s.queue.out }

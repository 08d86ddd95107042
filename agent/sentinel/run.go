package sentinel

import (
	"context"
	"errors"
	"sync"
	"time"

	"atalaya/agent/health"
)

// errEnded is the answer to Watch after Run has returned.
var errEnded = errors.New("the sentinel has ended")

// Run reports deaths until ctx ends, then frees everything it holds; it must be called once. A sensor that fails on the
// way is replaced by polling, and nothing that died meanwhile is missed.
func (s *Sentinel) Run(ctx context.Context) error {
	var delivery sync.WaitGroup
	delivery.Go(func() { s.queue.run(ctx) })
	defer delivery.Wait()
	defer s.end()
	for {
		err := s.current().run(ctx, s.dead)
		if err == nil {
			return nil
		}
		s.log.Error("a sensor of deaths failed, polling takes over", "sensor", s.Sensor(), "err", err)
		s.metrics.fallbacks.Inc()
		s.degrade()
	}
}

func (s *Sentinel) current() sensor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sensor
}

// degrade moves every watch to a polling sensor. What has died is reported at once.
func (s *Sentinel) degrade() {
	s.mu.Lock()
	old := s.sensor
	s.sensor, s.name = newPoll(s.o.PollEvery), sensorPoll
	var lost []token
	for _, w := range s.refs {
		if _, err := s.sensor.add(w.token, w.init); err != nil {
			lost = append(lost, w.token)
		}
	}
	s.mu.Unlock()
	old.close()
	for _, t := range lost {
		s.dead(t, time.Now())
	}
}

func (s *Sentinel) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.sensor.close()
	clear(s.refs)
	clear(s.tokens)
	s.metrics.watched.Set(0)
}

// dead turns what a sensor reports into an event, unless the watch has ended meanwhile.
func (s *Sentinel) dead(t token, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, ok := s.tokens[t]
	if !ok {
		return
	}
	death := health.Death{Init: s.refs[ref].init, Sensor: s.name}
	s.drop(ref)
	s.metrics.deaths.WithLabelValues(s.name).Inc()
	s.queue.push(Event{Ref: ref, Death: death, At: at})
}

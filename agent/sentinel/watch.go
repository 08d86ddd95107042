package sentinel

import (
	"fmt"

	"atalaya/agent/health"
)

// Watch holds p as the init process of ref and gives it with its start time filled in. Where p.Start is set, a pid that
// has another owner now is refused; where it is zero, whoever has the pid is taken. A process that has already ended is an
// error that wraps ErrDead, and no event will come of it. Watching the same process again does nothing; watching another
// one replaces it, and its predecessor is not reported from then on. Safe to call before and while Run runs; it costs
// some 10 µs.
func (s *Sentinel) Watch(ref health.Ref, p health.Process) (health.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return p, fmt.Errorf("watch %q: %w", ref, errEnded)
	}
	if held, ok := s.refs[ref]; ok && same(held.init, p) {
		return held.init, nil
	}
	s.last++
	t := s.last
	known, err := s.sensor.add(t, p)
	if err != nil {
		return p, fmt.Errorf("watch the init process of %q: %w", ref, err)
	}
	s.drop(ref)
	s.refs[ref] = watch{token: t, init: known}
	s.tokens[t] = ref
	s.metrics.watched.Set(float64(len(s.refs)))
	return known, nil
}

// Forget lets go of ref. Of a death that was noticed before, the event may still come.
func (s *Sentinel) Forget(ref health.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.drop(ref)
	}
}

// Holds says whether p is watched as the init process of ref at this moment: then its death cannot be missed, and no list
// is needed to learn that it lives. It costs one map access.
func (s *Sentinel) Holds(ref health.Ref, p health.Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.refs[ref]
	return ok && same(held.init, p)
}

// same compares a held process with one whose start time may not be known.
func same(held, p health.Process) bool {
	return held.PID == p.PID && (p.Start == 0 || held.Start == p.Start)
}

// drop ends the watch of ref, if there is one; s.mu is held.
func (s *Sentinel) drop(ref health.Ref) {
	if held, ok := s.refs[ref]; ok {
		s.sensor.remove(held.token)
		delete(s.tokens, held.token)
		delete(s.refs, ref)
		s.metrics.watched.Set(float64(len(s.refs)))
	}
}

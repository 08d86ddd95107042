package sentinel

import (
	"context"
	"sync"
	"time"

	"atalaya/agent/health"
)

// table is what the two sensors hold that have no handle on a process: its pid and start time, compared again and again.
type table struct {
	mu    sync.Mutex
	procs map[token]health.Process
	pids  map[int]int // how many watches are of a pid
}

func newTable() *table { return &table{procs: make(map[token]health.Process), pids: make(map[int]int)} }

func (s *table) add(t token, p health.Process) (health.Process, error) {
	p, err := identify(p)
	if err != nil {
		return p, err
	}
	s.mu.Lock()
	s.procs[t] = p
	s.pids[p.PID]++
	s.mu.Unlock()
	return p, nil
}

func (s *table) remove(t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.procs[t]
	if !ok {
		return
	}
	delete(s.procs, t)
	if s.pids[p.PID]--; s.pids[p.PID] == 0 {
		delete(s.pids, p.PID)
	}
}

// held says whether any watch is of this pid.
func (s *table) held(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pids[pid] > 0
}

// sweep looks at every process that is held, takes those out that have ended, and reports them.
func (s *table) sweep(dead func(token, time.Time)) {
	for t, p := range s.of(0) {
		if !Alive(p) {
			s.remove(t)
			dead(t, time.Now())
		}
	}
}

// of gives the watches of a pid, or all of them for pid 0.
func (s *table) of(pid int) map[token]health.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[token]health.Process)
	for t, p := range s.procs {
		if pid == 0 || p.PID == pid {
			found[t] = p
		}
	}
	return found
}

// poll is the sensor that works everywhere: it reads /proc/PID/stat of each process every so often. 200 processes cost
// about one millisecond a round.
type poll struct {
	*table
	every time.Duration
}

func newPoll(every time.Duration) *poll { return &poll{table: newTable(), every: every} }

func (s *poll) run(ctx context.Context, dead func(token, time.Time)) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sweep(dead)
		}
	}
}

func (s *poll) close() {}

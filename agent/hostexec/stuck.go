package hostexec

import (
	"slices"
	"sync"
)

// stuck are the reading commands that did not end when killed.
type stuck struct {
	mu     sync.Mutex
	groups []*group
}

func (s *stuck) add(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, g)
}

func (s *stuck) remove(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = slices.DeleteFunc(s.groups, func(x *group) bool { return x == g })
}

func (s *stuck) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.groups)
}

func (s *stuck) pending() []Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Pending, 0, len(s.groups))
	for _, g := range s.groups {
		out = append(out, Pending{Command: g.argv, PID: g.pid(), Start: g.start, Started: g.started})
	}
	return out
}

// abandon leaves a group to the kernel. The goroutine started here is the one that no caller can wait for: it ends when
// the kernel lets go of the child, and reaps it.
func (h *Host) abandon(g *group) {
	h.metrics.abandoned.Inc()
	h.stuck.add(g)
	h.log.Warn("abandoned a command that does not end when killed", "argv", g.argv, "pid", g.pid())
	go func() {
		<-g.exited
		g.kill() // whatever of its group is left
		g.reap()
		h.stuck.remove(g)
		h.log.Info("an abandoned command has ended", "argv", g.argv, "pid", g.pid())
	}()
}

// Stuck lists the commands that nothing can end: reading ones that outlived SIGKILL, and changing ones that are past
// their limit and in uninterruptible sleep at this moment. The Op of a reading one is zero. Safe for concurrent use.
func (h *Host) Stuck() []Pending {
	out := h.stuck.pending()
	for _, k := range h.kept() {
		if p := k.pending(); k.late() && p.PID != 0 && sleepsForGood(p.PID) {
			out = append(out, p)
		}
	}
	return out
}

package agent

import (
	"errors"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// memory is what the loop knows about a store that cannot be written. The store itself owes what it was given and writes
// it when the disk answers (see its package comment); until then each container gets one attempt.
type memory struct {
	err   error
	tried map[health.Ref]bool
}

func (m *memory) failing() bool { return m.err != nil }

// spend takes the one attempt.
func (m *memory) spend(ref health.Ref) {
	if m.tried == nil {
		m.tried = map[health.Ref]bool{}
	}
	m.tried[ref] = true
}

// room is what the host has room for: nothing for a container that had its one attempt. It waits, spends no budget
// meanwhile, and goes on when the store is well.
func (t *turn) room(g *guest) health.Room {
	if t.memory.failing() && t.memory.tried[g.ref] {
		return health.Room{Why: "the store cannot be written, and one attempt was made already"}
	}
	room := t.survey.Room(t.at, g.ref)
	room.Backups = t.backupsBusy(g)
	return room
}

// noted takes in how a commit went, and says so when that changed.
func (m *memory) noted(t *turn, err error) {
	var lost *store.LostError
	switch {
	case errors.As(err, &lost):
		t.log.Error("the database was malformed and is set aside; everything held in memory is written to a new one", "set_aside", lost.SetAside, "err", err)
		t.rewriteAll()
		err = nil
	case err != nil && m.err == nil:
		t.remarkAgent(agentNoStore)
		t.log.Error("the store cannot be written: healing goes on from memory, with one attempt per container", "err", err)
	case err == nil && m.err != nil:
		t.remarkAgent(agentHasStore)
		t.log.Info("the store can be written again")
		m.tried = nil
	}
	if err != nil {
		for _, w := range t.work { // what this turn sets going is the one attempt
			for _, act := range w.acts {
				if act.Kind == health.DoStart || act.Kind == health.DoRestart {
					m.spend(w.job.ref)
				}
			}
		}
	}
	m.err = err
	t.metrics.storeFailing.Set(boolean(err != nil))
}

// rewriteAll has the next turn write every state.
func (t *turn) rewriteAll() {
	t.inbox.put(func(next *turn) {
		for _, g := range next.guests {
			next.dirty[g] = true
			if in := g.state.Incident; in != nil {
				next.batch.Incidents = append(next.batch.Incidents, *in)
			}
		}
	})
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

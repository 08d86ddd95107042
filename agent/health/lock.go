package health

import (
	"fmt"
	"strings"
	"time"
)

// LockLimits are how old the lock of an operation may be until people are told. Nothing is broken because of its age.
type LockLimits struct {
	Backup   time.Duration `json:"backup"`
	Snapshot time.Duration `json:"snapshot"`
	Move     time.Duration `json:"move"`
	Other    time.Duration `json:"other"`
}

// DefaultLockLimits are far beyond what such an operation takes when it is well.
func DefaultLockLimits() LockLimits {
	return LockLimits{Backup: 6 * time.Hour, Snapshot: time.Hour, Move: 2 * time.Hour, Other: time.Hour}
}

// of chooses by the words that engines use.
func (l LockLimits) of(operation string) time.Duration {
	operation = strings.ToLower(operation)
	for _, c := range []struct {
		limit time.Duration
		words []string
	}{
		{l.Backup, []string{"backup", "backing", "dump", "export", "restore", "restoring"}},
		{l.Snapshot, []string{"snapshot", "checkpoint", "rollback", "merge", "commit"}},
		{l.Move, []string{"migrat", "move", "moving", "clone", "cloning", "copy", "copying", "convert"}},
	} {
		for _, w := range c.words {
			if strings.Contains(operation, w) {
				return c.limit
			}
		}
	}
	return l.Other
}

// A Locked is the lock that is there, as far as its age goes: not every engine tells since when.
type Locked struct {
	Operation string    `json:"operation,omitempty"`
	Holder    Process   `json:"holder,omitzero"`
	Since     time.Time `json:"since,omitzero"`
	Told      bool      `json:"told,omitempty"`
}

func (l Locked) same(k Locked) bool {
	return l.Operation == k.Operation && l.Holder == k.Holder && l.Since.Equal(k.Since) && l.Told == k.Told
}

// lockSeen follows which lock there is. That one is gone of which people were told is told, too.
func (m *machine) lockSeen() {
	l, was := m.s.Lock, m.s.Locked
	if l == nil {
		if m.s.Locked = (Locked{}); was.Told {
			m.do(Action{Kind: DoTell, Reason: fmt.Sprintf("the lock is gone (%s), after %s", was.Operation, round(m.at.Sub(was.Since)))})
		}
		return
	}
	if was.Operation == l.Operation && was.Holder == l.Holder && (l.Since.IsZero() || l.Since.Equal(was.Since)) {
		return
	}
	m.s.Locked = Locked{Operation: l.Operation, Holder: l.Holder, Since: l.Since}
	if l.Since.IsZero() || l.Since.After(m.at) {
		m.s.Locked.Since = m.at
	}
}

// lockOld tells, once, of a lock that is older than its operation should take.
func (m *machine) lockOld() {
	l := m.s.Locked
	limit := m.p.LockLimits.of(l.Operation)
	if m.s.Lock == nil || l.Told || limit <= 0 || !m.due(l.Since.Add(limit)) {
		return
	}
	m.s.Locked.Told = true
	what := "it"
	if m.s.RunState != Running {
		what = "it, and keeps it down"
	}
	m.do(Action{Kind: DoWarn, Reason: fmt.Sprintf("%s holds %s since %s, %s: %s. Nothing is done to it while that is so",
		l.Operation, what, l.Since.Format(time.RFC3339), round(m.at.Sub(l.Since)), holder(*m.s.Lock))})
}

// holder says whose lock it is, and whether that one lives.
func holder(l Lock) string {
	switch {
	case l.Holder.PID == 0 && l.Dead:
		return "whoever took it is gone"
	case l.Holder.PID == 0:
		return "the engine does not say who took it"
	case l.Dead:
		return fmt.Sprintf("pid %d, which took it, lives no more", l.Holder.PID)
	}
	return fmt.Sprintf("pid %d, which took it, is alive", l.Holder.PID)
}

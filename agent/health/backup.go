package health

import (
	"fmt"
	"time"
)

// KindBackup is the kind of an incident that tells of backups, and not of the container itself.
const KindBackup = "backup"

// Backups are what is known of the backups of a container that a schedule makes.
type Backups struct {
	Expected time.Time `json:"expected,omitzero"` // since when there should be any
	Good     time.Time `json:"good,omitzero"`     // when the last good one was begun
	By       string    `json:"by,omitempty"`      // the schedule that made it; or what the engine says of it
	Failed   time.Time `json:"failed,omitzero"`   // when the latest failed, if none was good since
	Err      string    `json:"err,omitempty"`     // why
	Incident *Incident `json:"incident,omitempty"`
}

// A BackupWord is what the engine says of the last backup of a container, made by whomever. Only good ones count.
type BackupWord struct {
	At   time.Time `json:"at"`             // when it was begun
	Said string    `json:"said,omitempty"` // where it is, or what it is called
}

// backupID is that of a run, and of the incident it may become: never that of the container's own case.
func (m *machine) backupID() string { return idAt(m.at, m.s.Ref, KindBackup) }

// backedUp takes in a good backup; id is that of the run that made it, if we did.
func (m *machine) backedUp(at time.Time, by, id string) {
	b := &m.s.Backup
	if !at.After(b.Good) {
		return
	}
	b.Good, b.By, b.Failed, b.Err = at, by, time.Time{}, ""
	if in := b.Incident; in == nil || in.ID != id {
		m.dropRun(id)
	}
	m.backupResolved(fmt.Sprintf("a good backup was begun at %s (%s)", at.Format(time.RFC3339), by))
}

func (m *machine) dropRun(id string) {
	if id != "" {
		m.do(Action{Kind: DoDrop, Case: id, Reason: "the backup is good"})
	}
}

func (m *machine) backupResolved(how string) {
	in := m.s.Backup.Incident
	if in == nil {
		return
	}
	in.Resolved, in.How = m.at, how
	m.do(Action{Kind: DoResolve, Case: in.ID, Reason: how, Incident: copied(in)})
	m.s.Backup.Incident = nil
}

// backupFailed takes in a failed one: the first is an incident, and a later one that fails otherwise is an update of it.
func (m *machine) backupFailed(r JobRun, err string) {
	b := &m.s.Backup
	b.Failed, b.Err = m.at, err
	what := fmt.Sprintf("%s failed: %s%s", r.Job.says(r.Do), err, b.last())
	if in := b.Incident; in != nil {
		news := gist(err) != gist(in.LastErr)
		in.Attempts++
		in.LastErr, in.Reason = err, what
		m.dropRun(r.ID)
		if news {
			m.do(Action{Kind: DoUpdate, Case: in.ID, Reason: what, Incident: copied(in)})
		}
		return
	}
	m.backupOpens(r.ID, r.Since, what, err)
}

func (m *machine) backupOpens(id string, since time.Time, what, err string) {
	in := &Incident{ID: id, Ref: m.s.Ref, Name: m.s.Name, Kind: KindBackup, Reason: what, Opened: since, Confirmed: m.at, LastErr: err, Window: m.s.Host.Window.Name}
	if err != "" {
		in.Attempts = 1
	}
	m.s.Backup.Incident = in
	m.do(Action{Kind: DoOpen, Case: id, Reason: what, Incident: copied(in)})
	m.do(Action{Kind: DoCapture, Case: id, Attempt: 1, Reason: what, After: true, Incident: copied(in)})
}

// last says which was the last good one, for people.
func (b Backups) last() string {
	if b.Good.IsZero() {
		return "; there has been no good one yet"
	}
	return fmt.Sprintf("; the last good one was begun at %s (%s)", b.Good.Format(time.RFC3339), b.By)
}

// overdueAfter is how old the last good backup may be; 0: any age. backs tells whether there is a schedule at all.
func (p Policy) overdueAfter() (after time.Duration, backs bool) {
	for _, jp := range p.Jobs {
		if jp.Do != VerbBackup {
			continue
		}
		backs = true
		if jp.Overdue > 0 && (after == 0 || jp.Overdue < after) {
			after = jp.Overdue
		}
	}
	return after, backs
}

// overdueAt is when backups are overdue; zero: never.
func (m *machine) overdueAt() time.Time {
	after, _ := m.p.overdueAfter()
	from := m.s.Backup.Expected
	if m.s.Backup.Good.After(from) {
		from = m.s.Backup.Good
	}
	if after == 0 || from.IsZero() || m.s.Backup.Incident != nil {
		return time.Time{}
	}
	return from.Add(after)
}

// backups follows whether backups are expected, and tells when they are overdue.
func (m *machine) backups() {
	b := &m.s.Backup
	if _, backs := m.p.overdueAfter(); !backs {
		m.backupResolved("its backups are no longer scheduled here")
		b.Expected, b.Failed, b.Err = time.Time{}, time.Time{}, ""
		return
	}
	if b.Expected.IsZero() {
		b.Expected = m.at
	}
	if at := m.overdueAt(); m.due(at) {
		m.backupOpens(m.backupID(), at, "its backup is overdue"+b.last(), "")
	}
}

func (b Backups) same(c Backups) bool {
	return b.Expected.Equal(c.Expected) && b.Good.Equal(c.Good) && b.By == c.By && b.Failed.Equal(c.Failed) && b.Err == c.Err && sameValue(b.Incident, c.Incident)
}

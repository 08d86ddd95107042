package health

import (
	"maps"
	"slices"
	"time"
)

// A JobPolicy is what is configured about one schedule, for one container.
type JobPolicy struct {
	Do      Verb          `json:"do"`                // VerbBackup, VerbStart, VerbStop or VerbRestart
	Limit   time.Duration `json:"limit,omitempty"`   // backup, stop: how long it may take; then it has failed
	CatchUp bool          `json:"catch_up"`          // what an agent that ended did not finish is begun again
	Overdue time.Duration `json:"overdue,omitempty"` // backup: without a good one for so long people are told; 0: never
}

// A Job is one run of a schedule that is due.
type Job struct {
	Name  string    `json:"name"`           // of the schedule
	Due   time.Time `json:"due"`            // by the host's clock; of one schedule each run is later than the one before
	Until time.Time `json:"until,omitzero"` // it is not begun any more then, because the next one is due
	Skip  JobSkip   `json:"skip,omitempty"` // only its time is noted
}

// JobSkip is why a run that was due is not begun.
type JobSkip string

// The reasons.
const (
	SkipNew    JobSkip = "new"    // the schedule is new for this container: it counts from here on
	SkipMissed JobSkip = "missed" // nobody was there at its time, and it is not to be caught up
)

// Jobs are where the schedules of a container stand.
type Jobs struct {
	Heard   map[string]time.Time `json:"heard,omitempty"`   // by schedule, the latest Due
	Waiting []Job                `json:"waiting,omitempty"` // due and not begun; at most one of each schedule, the first due first
	Why     string               `json:"why,omitempty"`     // why the first of them waits
	Told    string               `json:"told,omitempty"`    // which of them people were told of, and why
	Again   time.Time            `json:"again,omitzero"`    // no sooner is one begun
	Run     *JobRun              `json:"run,omitempty"`     // under way; nil: none
}

// A JobRun is a scheduled job under way.
type JobRun struct {
	Job     Job       `json:"job"`
	Do      Verb      `json:"do"`
	ID      string    `json:"id"` // that of the incident it may become
	Since   time.Time `json:"since"`
	Ordered bool      `json:"ordered,omitempty"` // the look before it was good, and the engine was told
	Done    bool      `json:"done,omitempty"`    // stop: the engine has answered, and what came of it is looked for
	Err     string    `json:"err,omitempty"`     // stop: its answer
	Asked   int       `json:"asked,omitempty"`   // stop: looks after it
	Was     Plan      `json:"was,omitzero"`      // what had been planned before
}

// A Plan is what a schedule wants of a container since it was due last.
type Plan struct {
	Want Tri    `json:"want,omitempty"`
	By   string `json:"by,omitempty"` // the schedule
}

// JobDone is what came of a job that was ordered.
type JobDone struct {
	ID    string `json:"id"`
	Err   string `json:"err,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// same compares what is worth a commit.
func (q Jobs) same(p Jobs) bool {
	return maps.EqualFunc(q.Heard, p.Heard, time.Time.Equal) && slices.EqualFunc(q.Waiting, p.Waiting, Job.same) &&
		q.Why == p.Why && q.Told == p.Told && q.Again.Equal(p.Again) && q.Run.same(p.Run)
}

func (j Job) same(k Job) bool {
	return j.Name == k.Name && j.Due.Equal(k.Due) && j.Until.Equal(k.Until) && j.Skip == k.Skip
}

func (r *JobRun) same(o *JobRun) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Job.same(o.Job) && r.Do == o.Do && r.ID == o.ID && r.Since.Equal(o.Since) && r.Ordered == o.Ordered && r.Done == o.Done &&
		r.Err == o.Err && r.Asked == o.Asked && r.Was == o.Was
}

func (q Jobs) clone() Jobs {
	q.Heard, q.Waiting, q.Run = maps.Clone(q.Heard), slices.Clone(q.Waiting), copied(q.Run)
	return q
}

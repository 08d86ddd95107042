package health

import (
	"fmt"
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

// jobAgain is how soon a job is tried again that could not be begun for a reason which makes no observation when it ends.
const jobAgain = 10 * time.Second

// maxWaiting bounds the jobs that wait for one container.
const maxWaiting = 16

// says is how a job is called in front of people.
func (j Job) says(do Verb) string { return fmt.Sprintf("%s by schedule %q", do, j.Name) }

func (j Job) full(do Verb) string {
	return fmt.Sprintf("%s, due %s,", j.says(do), j.Due.Format("2006-01-02 15:04 -07:00"))
}

func (m *machine) tell(format string, args ...any) {
	m.do(Action{Kind: DoTell, Reason: fmt.Sprintf(format, args...)})
}

// job takes in that a run is due.
func (m *machine) job(j Job) {
	jp, ok := m.p.Jobs[j.Name]
	if !ok || j.Skip != SkipNew && !j.Due.After(m.s.Jobs.Heard[j.Name]) {
		return
	}
	if m.s.Jobs.Heard == nil {
		m.s.Jobs.Heard = map[string]time.Time{}
	}
	m.s.Jobs.Heard[j.Name] = j.Due
	switch r := m.s.Jobs.Run; {
	case j.Skip == SkipNew:
		return
	case j.Skip == SkipMissed:
		m.tell("%s was missed: no agent was at work then, and catch_up is no", j.full(jp.Do))
		return
	case m.p.Mode != ModeHeal:
		m.tell("%s is left out: mode is %q", j.full(jp.Do), m.p.Mode)
		return
	case r != nil && r.Job.Name == j.Name:
		m.tell("%s is left out: the run before is still at it, since %s", j.full(jp.Do), r.Since.Format(time.RFC3339))
		return
	}
	m.giveUp(func(w Job) bool { return w.Name == j.Name }, "the next run is due")
	if len(m.s.Jobs.Waiting) < maxWaiting {
		m.s.Jobs.Waiting = append(m.s.Jobs.Waiting, j)
	}
}

// giveUp leaves out what waits.
func (m *machine) giveUp(which func(Job) bool, why string) {
	m.s.Jobs.Waiting = slices.DeleteFunc(m.s.Jobs.Waiting, func(w Job) bool {
		if !which(w) {
			return false
		}
		if jp, ok := m.p.Jobs[w.Name]; ok {
			m.tell("%s is left out: %s, and it could not be begun (%s)", w.full(jp.Do), why, m.s.Jobs.Why)
		}
		return true
	})
}

// jobs begins what waits, if nothing is in the way, and ends what never answers.
func (m *machine) jobs() {
	q := &m.s.Jobs
	maps.DeleteFunc(q.Heard, func(name string, _ time.Time) bool { _, ok := m.p.Jobs[name]; return !ok })
	m.jobsNext()
	if len(q.Heard) == 0 { // as they are read back from the store
		q.Heard = nil
	}
	if len(q.Waiting) == 0 {
		q.Waiting, q.Why, q.Told = nil, "", ""
	}
}

func (m *machine) jobsNext() {
	q := &m.s.Jobs
	m.giveUp(func(w Job) bool {
		_, ok := m.p.Jobs[w.Name]
		return !ok || m.due(w.Until)
	}, "its time is over")
	m.jobLate()
	if q.Run != nil || len(q.Waiting) == 0 || !q.Again.IsZero() && !m.due(q.Again) {
		return
	}
	for i, j := range q.Waiting {
		why, told := m.postponed(m.p.Jobs[j.Name].Do)
		if why == "" {
			q.Waiting = slices.Delete(q.Waiting, i, i+1)
			q.Again = time.Time{}
			m.begin(j)
			return
		}
		if i == 0 {
			q.Why, q.Again = why, time.Time{}
			if !told {
				q.Again = m.at.Add(jobAgain)
			}
		}
		if key := j.Name + ": " + why; i == 0 && told && q.Told != key {
			q.Told = key
			m.tell("%s is postponed: %s", j.full(m.p.Jobs[j.Name].Do), why)
		}
	}
}

// postponed says why a job cannot be begun now; told, whether people should know. What makes no observation when it ends is
// not told.
func (m *machine) postponed(do Verb) (why string, told bool) {
	s := &m.s
	if do == VerbStart && m.handsOff() == "" && !m.inWindow() {
		return "", false // it is wanted from now on, and started as what is wanted is
	}
	switch {
	case s.Incident != nil:
		return "incident " + s.Incident.ID + " is open: " + s.Incident.Reason, true
	case s.Case != nil, s.Phase == Checking:
		return "it is being looked at: " + s.Why, false
	case m.handsOff() != "":
		return m.handsOff(), s.Hold != nil || s.Lock == nil
	case m.inWindow() && (do == VerbStart || do == VerbRestart):
		return m.windowWhy(), true
	case s.Flap.On && do == VerbRestart:
		return m.flapping(), true
	case s.RunState != Running && s.RunState != Stopped:
		return fmt.Sprintf("the engine says that it is %q", s.RunState), false
	case do == VerbBackup && m.room.Backups != "":
		return m.room.Backups, false
	}
	return "", false
}

// begin begins a job: a start by wanting it, a restart like one of a sick container, the others by a fresh look.
func (m *machine) begin(j Job) {
	do := m.p.Jobs[j.Name].Do
	switch {
	case do == VerbStart:
		m.plannedStart(j)
	case do == VerbStop && m.s.RunState == Stopped:
		m.s.Plan = Plan{Want: No, By: j.Name}
		m.reconsider()
	case do == VerbRestart && m.s.RunState == Stopped:
		m.tell("%s is left out: it does not run", j.full(do))
	case do == VerbRestart:
		id := m.newID()
		m.s.Case = &Case{ID: id, Kind: CasePlan, Since: m.at, Confirmed: m.at, Begun: m.at, What: j.says(do), Ordered: true, Plan: &j}
		m.s.Granted = true // it is no failure, and takes nothing of the budget
		m.enter(Checking, m.s.Case.What)
		m.ask()
	default:
		m.s.Jobs.Run = &JobRun{Job: j, Do: do, ID: m.backupID(), Since: m.at, Was: m.s.Plan}
		m.ask()
	}
}

// plannedStart makes a container wanted, unless a person said otherwise.
func (m *machine) plannedStart(j Job) {
	if m.s.Want == No {
		m.tell("%s is left out: atalaya unwant, by %s", j.full(VerbStart), m.s.WantBy)
		return
	}
	m.s.Plan = Plan{Want: Yes, By: j.Name}
	m.wantedNow(j.says(VerbStart))
}

// wantedNow has a container looked at that somebody wants to run, which is worth an attempt of its own.
func (m *machine) wantedNow(why string) {
	m.s.Actor, m.s.Absent, m.s.Overruled = nil, false, m.s.RunState != Running
	m.s.Granted = m.s.RunState == Stopped
	m.hope(why)
	fresh := m.s.Case == nil
	m.reconsider()
	if fresh && m.s.Case != nil {
		m.s.Case.Ordered = true
	}
}

// planned decides about a scheduled restart, by a fresh look.
func (m *machine) planned() {
	ph, why := m.barrier()
	switch {
	case ph == "" && !m.s.Flap.On:
		m.attempt(VerbRestart)
	case ph == "":
		m.rest(Deferred, m.flapping())
	case ph == Deferred:
		m.rest(Deferred, why)
	default:
		m.tell("%s is left out: %s", m.s.Case.Plan.full(VerbRestart), why)
		m.endCase(why)
		m.up()
	}
}

// planFailed ends a scheduled restart that changed nothing: the container would not stop, and nothing is wrong with it but that.
func (m *machine) planFailed(why string) bool {
	c := m.s.Case
	if c.Kind != CasePlan || c.Plan == nil || m.s.Incident != nil {
		return false
	}
	if m.s.RunState != Running {
		c.fails()
		return false
	}
	m.do(Action{Kind: DoWarn, Reason: fmt.Sprintf("%s failed: %s; it still runs", c.Plan.full(VerbRestart), why)})
	m.endCase("it could not be stopped")
	m.up()
	return true
}

// jobPutOff lets a scheduled restart wait again that is not to be made now.
func (m *machine) jobPutOff(ph Phase) {
	c := m.s.Case
	if ph != Deferred || c == nil || c.Kind != CasePlan || c.Plan == nil || c.Tried > 0 {
		return
	}
	m.s.Jobs.Waiting = append([]Job{*c.Plan}, m.s.Jobs.Waiting...)
	m.s.Jobs.Again = m.at.Add(jobAgain)
	m.endCase("postponed")
}

// jobLooked goes on with a job by the answer of a look.
func (m *machine) jobLooked() {
	r := m.s.Jobs.Run
	switch {
	case r == nil:
	case !r.Ordered:
		m.jobOrder()
	case r.Done && m.s.RunState == Stopped:
		m.jobEnds("")
		if ph, why := m.barrier(); ph != "" && ph != Alerted {
			m.rest(ph, why)
		}
	case r.Done && r.Asked >= 3:
		m.jobEnds("it still runs")
	}
}

// jobOrder orders what was about to be begun, if it still may be.
func (m *machine) jobOrder() {
	r := m.s.Jobs.Run
	if m.s.RunState == Stopped { // where nobody knew, it is a failure
		m.seenStopped()
	}
	if why, _ := m.postponed(r.Do); why != "" || r.Do == VerbStop && m.s.RunState == Stopped {
		m.jobBack()
		return
	}
	r.Ordered, r.Since = true, m.at
	if r.Do == VerbStop { // set before: whatever becomes of us, a stop that worked was on purpose
		m.s.Plan, m.s.Overruled = Plan{Want: No, By: r.Job.Name}, true
	}
	m.do(Action{Kind: DoJob, Job: r.Job.Name, Verb: r.Do, Case: r.ID, Attempt: 1, Reason: r.Job.says(r.Do)})
}

// jobBack lets a job wait again that was not ordered yet.
func (m *machine) jobBack() {
	r := m.s.Jobs.Run
	m.s.Jobs.Run = nil
	m.s.Jobs.Waiting = append([]Job{r.Job}, m.s.Jobs.Waiting...)
	if m.s.Case == nil {
		m.s.Jobs.Again = m.at.Add(jobAgain)
	}
}

// jobDone takes in the answer. That of a stop proves nothing: a look follows.
func (m *machine) jobDone(d JobDone) {
	r := m.s.Jobs.Run
	if r == nil || r.ID != d.ID || !r.Ordered || r.Done {
		return
	}
	why := d.Err
	if d.Cause != "" && why != "" {
		why = d.Cause
	}
	m.s.Fresh = m.at
	if r.Do == VerbStop {
		r.Done, r.Err = true, why
		m.jobAsk()
		return
	}
	m.jobEnds(why)
}

func (m *machine) jobAsk() {
	m.s.Jobs.Run.Asked++
	if m.s.Looking == nil {
		m.ask()
	}
}

// jobEnds ends the run that is under way; err says why it failed.
func (m *machine) jobEnds(err string) {
	r := *m.s.Jobs.Run
	m.s.Jobs.Run = nil
	switch {
	case r.Do == VerbBackup && err == "":
		m.backedUp(r.Since, r.Job.Name, r.ID)
	case r.Do == VerbBackup:
		m.backupFailed(r, err)
	case err != "":
		if r.Err != "" {
			err += " (" + r.Err + ")"
		}
		m.s.Plan, m.s.Overruled = r.Was, false
		m.do(Action{Kind: DoWarn, Reason: fmt.Sprintf("%s failed: %s; it is as wanted as before", r.Job.full(r.Do), err)})
		m.do(Action{Kind: DoDrop, Case: r.ID, Reason: err})
	default:
		m.do(Action{Kind: DoDrop, Case: r.ID, Reason: "it is stopped"})
		return
	}
	m.reconsider()
}

// jobLate ends a run whose answer never comes, and asks again after a stop.
func (m *machine) jobLate() {
	r := m.s.Jobs.Run
	switch {
	case r == nil:
	case !r.Ordered && (m.s.Case != nil || m.s.Looking == nil):
		m.jobBack()
	case !r.Ordered:
	case m.due(m.jobLimit(r)):
		m.jobEnds("nobody answered in time")
	case r.Done && m.s.Looking == nil && m.due(m.jobNextLook(r)):
		m.jobAsk()
	}
}

// jobLimit is when a run is given up: the command itself has noticed before.
func (m *machine) jobLimit(r *JobRun) time.Time {
	return r.Since.Add(m.p.Jobs[r.Job.Name].Limit + 2*m.p.StartWithin)
}

func (m *machine) jobNextLook(r *JobRun) time.Time {
	return m.s.Fresh.Add(time.Duration(r.Asked) * time.Second)
}

// jobsWake visits when the jobs want to be looked at.
func (m *machine) jobsWake(at func(time.Time)) {
	q := m.s.Jobs
	if r := q.Run; r != nil && r.Ordered {
		at(m.jobLimit(r))
		if r.Done && m.s.Looking == nil {
			at(m.jobNextLook(r))
		}
	}
	if q.Run == nil && len(q.Waiting) > 0 {
		at(q.Again)
	}
	for _, j := range q.Waiting {
		at(j.Until)
	}
}

// jobBorn takes over what an earlier agent had under way: nobody will answer for it.
func (m *machine) jobBorn() {
	r := m.s.Jobs.Run
	if r == nil {
		return
	}
	m.s.Jobs.Run = nil
	jp, ok := m.p.Jobs[r.Job.Name]
	switch {
	case !ok:
	case !r.Ordered || jp.CatchUp:
		m.s.Jobs.Waiting = append([]Job{r.Job}, m.s.Jobs.Waiting...)
	default:
		m.tell("%s was under way when the agent ended, and what came of it is not known", r.Job.full(r.Do))
	}
}

// working says which job is under way, for people; empty: none.
func (m *machine) working() string {
	r := m.s.Jobs.Run
	if r == nil || !r.Ordered {
		return ""
	}
	return fmt.Sprintf("%s since %s", r.Job.says(r.Do), r.Since.Format(time.RFC3339))
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

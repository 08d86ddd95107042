package health

import (
	"fmt"
	"time"
)

// A job under way: from the look before it to what came of it.

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

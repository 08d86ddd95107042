package health

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

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

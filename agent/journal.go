package agent

import (
	"encoding/json"
	"reflect"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// flushEvery is how old the length of a run that goes on may get before it is written. What ends a run is written at once;
// an agent that is killed loses so much of the end of a run in which nothing happened.
const flushEvery = 5 * time.Minute

// maxMarks bounds what one row grows to: a run that changes something each time is cut.
const maxMarks = 60

// The sensors of the journal, beside "probe:NAME". Each is one kind of observation, or of what the agent itself did.
const (
	sensorAgent  = store.Beginning // of no container: an agent began, went on, or took up other settings
	sensorState  = "state"         // how a container stood when one began, or went on
	sensorList   = "list"          // of an instance
	sensorEngine = "engine"        // a list's word about a container
	sensorLook   = "look"
	sensorKernel = "kernel"
	sensorDone   = "done"
	sensorOrder  = "order"
	sensorHost   = "host"   // the host's word for a container
	sensorBirth  = "birth"  //
	sensorTime   = "time"   // time has passed, and that changed something
	sensorJob    = "job"    // a schedule is due
	sensorEnded  = "ended"  // what it ordered has ended
	sensorBackup = "backup" // what an engine says of backups
	sensorStrain = "strain" // of no container: what is wrong with the host itself
	sensorEvent  = "event"  // of no container: what was told of the host
	sensorProbe  = "probe:" // and its name
)

// The outcomes of sensorAgent.
const (
	agentBegins   = "begins"   // the states that follow are what it loaded
	agentGoesOn   = "goes on"  // the same, while it runs: a replay may begin here
	agentSwapped  = "settings" // other settings hold from here on
	agentNoStore  = "store fails"
	agentHasStore = "store writes"
)

// A record is what a run holds for a replay: its first observation, whole, and when each of the others that changed
// something was made. Those that changed nothing came at an even pace between them.
type record struct {
	Sight  *health.Sighting  `json:"sight,omitempty"`
	Look   *health.Look      `json:"look,omitempty"`
	Asked  time.Time         `json:"asked,omitzero"` // look: when it was ordered; zero: it was not awaited any more
	Death  *health.Death     `json:"death,omitempty"`
	Done   *health.Done      `json:"done,omitempty"`
	Order  *health.Order     `json:"order,omitempty"`
	Host   *health.HostWord  `json:"host,omitempty"` // without what depends on other containers, and on windows
	Birth  *health.Birth     `json:"birth,omitempty"`
	Hold   *health.Hold      `json:"hold,omitempty"`  // birth: of a container that was not known
	State  *health.State     `json:"state,omitempty"` //
	Event  *health.HostEvent `json:"event,omitempty"` // agent: what befell the host then
	Strain *strain           `json:"strain,omitempty"`

	Job    *health.Job        `json:"job,omitempty"`
	Ended  *health.JobDone    `json:"ended,omitempty"`
	Backup *health.BackupWord `json:"backup,omitempty"`

	Marks []mark `json:"marks,omitempty"`
}

// A strain is what is wrong with the host itself.
type strain struct {
	Faults  []string `json:"faults,omitempty"`
	Choking string   `json:"choking,omitempty"`
}

// A mark is one observation of a run that changed something, or its first, with what was decided upon it.
type mark struct {
	N      int          `json:"n,omitempty"` // which of the run, from 0
	At     time.Time    `json:"at"`
	Order  int          `json:"o"`           // within its moment, see perTurn
	Detail string       `json:"d,omitempty"` // of a signal
	Phase  health.Phase `json:"p,omitempty"` // after it
	Deeds  []Deed       `json:"do,omitempty"`
}

// A Deed is an action of the core that changes a container, or that people are told of, as the journal keeps it.
type Deed struct {
	Kind    health.ActionKind `json:"kind"`
	Attempt int               `json:"attempt,omitempty"`
	Hard    bool              `json:"hard,omitempty"`
	Case    string            `json:"case,omitempty"`
	Opened  time.Time         `json:"opened,omitzero"` // of the incident
	Told    bool              `json:"told,omitempty"`  // an alert was queued: not in mode observe, nor of what belongs to an event of the host
	Reason  string            `json:"reason,omitempty"`
	About   string            `json:"about,omitempty"` // of an incident: its kind, if it is not about the container's life
}

// A placed deed is one of a container; of none: of the host.
type placed struct {
	ref health.Ref
	Deed
}

// A journal keeps every observation as runs: the same at the same pace is one row, however long it lasts.
type journal struct {
	runs    map[runKey]*going
	fresh   map[runKey]bool // with marks that are not written
	ended   []store.Run
	written time.Time
	at      time.Time // of the turn in which was observed last
	order   int       // within it
	begun   time.Time // of the latest beginning
	silent  bool      // a replay keeps none
}

type going struct {
	store.Run
	record
	fresh bool // longer than what is written of it
}

type runKey struct {
	ref    health.Ref
	sensor string
}

// A sensed observation is one as the journal takes it.
type sensed struct {
	ref                     health.Ref
	sensor, outcome, detail string
	period                  time.Duration // 0: it is never the same as the one before
	record
}

// perTurn is how many observations of one turn have numbers of their own. Turns of the same moment go on with their numbers.
const perTurn = 1 << 16

// turn begins another turn.
func (j *journal) turn(at time.Time) {
	if at.Equal(j.at) {
		j.order = (j.order/perTurn + 1) * perTurn
	} else {
		j.at, j.order = at, 0
	}
}

// next numbers what is observed in one turn.
func (j *journal) next() int {
	j.order++
	return j.order
}

// observe adds one observation. A pause of more than ten periods ends a run: nobody looked. The detail is that of the
// latest: it holds times and numbers that are never the same. What changed something is marked.
func (j *journal) observe(o sensed, m mark, changed bool) {
	if j.silent {
		return
	}
	if j.runs == nil {
		j.runs, j.fresh = map[runKey]*going{}, map[runKey]bool{}
	}
	k := runKey{o.ref, o.sensor}
	if changed {
		j.fresh[k] = true
	}
	r := j.runs[k]
	if r != nil && r.goesOn(o, m.At) {
		if changed {
			m.N = r.Count
			r.Marks = append(r.Marks, m)
		}
		r.Last, r.Detail = m.At, o.detail
		r.Count++
		r.fresh = true
		return
	}
	first := m.At
	if r != nil {
		j.ended = append(j.ended, r.row())
		if !first.After(r.First) { // two in one turn: a row is known by its first moment
			first = r.First.Add(1)
		}
	}
	o.Marks = []mark{m}
	j.runs[k] = &going{store.Run{Ref: o.ref, Sensor: o.sensor, Outcome: o.outcome, First: first, Last: m.At, Count: 1, Period: o.period, Detail: o.detail}, o.record, true}
}

// goesOn reports whether an observation is the same as the ones before.
func (r *going) goesOn(o sensed, at time.Time) bool {
	return r.Outcome == o.outcome && r.Period == o.period && o.period > 0 && at.Sub(r.Last) <= 10*o.period &&
		len(r.Marks) < maxMarks && sameSight(r.Sight, o.Sight)
}

// sameSight compares what two lists say of a container.
func sameSight(a, b *health.Sighting) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.At, y.At, x.Addrs, y.Addrs = time.Time{}, time.Time{}, nil, nil // no decision looks at addresses
	return reflect.DeepEqual(x, y)
}

// row is the run as it is stored.
func (r *going) row() store.Run {
	out := r.Run
	if r.Sensor == sensorList {
		return out
	}
	if data, err := json.Marshal(r.record); err == nil { // it holds nothing that does not marshal
		out.Data = data
	}
	return out
}

// drop ends the runs of a container that is gone.
func (j *journal) drop(ref health.Ref) {
	for k, r := range j.runs {
		if k.ref == ref {
			j.ended = append(j.ended, r.row())
			delete(j.runs, k)
			delete(j.fresh, k)
		}
	}
}

// due gives what is to be written now: what ended, and what is marked newly, with any commit; all, every five minutes or
// when the agent ends.
func (j *journal) due(at time.Time, now, end bool) []store.Run {
	all := end || at.Sub(j.written) >= flushEvery
	if !all && !now {
		return nil
	}
	out := j.ended
	j.ended = nil
	for k := range j.fresh {
		out = append(out, j.runs[k].row())
	}
	if all {
		for k, r := range j.runs {
			if r.fresh && !j.fresh[k] {
				out = append(out, r.row())
			}
			r.fresh = false
		}
		j.written = at
	}
	clear(j.fresh)
	return out
}

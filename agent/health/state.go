package health

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// Phase is where a container stands in the agent's dealings with it. The diagram is in docs/design.md.
type Phase string

// The phases.
const (
	New       Phase = "new"       // not seen running here yet: watched, never touched
	Up        Phase = "up"        // running, and nothing counts against it
	Checking  Phase = "checking"  // something says that it is down or sick; a fresh look is ordered
	Waiting   Phase = "waiting"   // an attempt is due: at Wake, or when the host has room
	Stopping  Phase = "stopping"  // being stopped by us, in order to be started
	Starting  Phase = "starting"  // a start is ordered and not answered
	Settling  Phase = "settling"  // answered; running and passing is awaited
	Exhausted Phase = "exhausted" // the budget is spent: escalated, still watched, tried seldom
	Alerted   Phase = "alerted"   // down or sick, told, and not ours to touch
	Deferred  Phase = "deferred"  // hands off: locked, paused, held, supervised, or the host is going down or coming up
	Off       Phase = "off"       // stopped on purpose, finished, or not wanted
	Gone      Phase = "gone"      // removed; forgotten with the next commit
)

// Phases lists every phase, in the order of the diagram.
func Phases() []Phase {
	return []Phase{New, Up, Checking, Waiting, Stopping, Starting, Settling, Exhausted, Alerted, Deferred, Off, Gone}
}

// A State is all that is remembered about one container. It is a plain value: stored as JSON, replayed, fuzzed.
type State struct {
	Ref   Ref       `json:"ref"`
	Name  string    `json:"name"`
	Mark  string    `json:"mark,omitempty"`
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"` // of the phase
	Why   string    `json:"why,omitempty"`
	Last  time.Time `json:"last"`            // time of the latest observation: what comes is never before it
	Wake  time.Time `json:"wake,omitzero"`   // Step again then, if nothing else came
	Due   time.Time `json:"due,omitzero"`    // of the phase: next look, next attempt, end of settling
	Queue bool      `json:"queue,omitempty"` // waiting only for room

	// What the engine said last.
	RunState   RunState `json:"state"`
	Detail     string   `json:"detail,omitempty"`
	Init       Process  `json:"init,omitzero"` // zero when it is not known to live
	Autostart  Tri      `json:"autostart,omitempty"`
	Config     string   `json:"config,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Lock       *Lock    `json:"lock,omitempty"`
	Supervisor string   `json:"supervisor,omitempty"`
	Elsewhere  bool     `json:"elsewhere,omitempty"`
	Locked     Locked   `json:"locked,omitzero"` // how long the lock has been there, and who was told
	Finished   bool     `json:"finished,omitempty"`
	OnPurpose  string   `json:"on_purpose,omitempty"` // stopped, and the engine has on record who wanted it
	Overruled  bool     `json:"overruled,omitempty"`  // that stop was ours, or a person wants it running since
	ToldOff    string   `json:"told_off,omitempty"`   // the OnPurpose that people were told of

	// What is known of its lives.
	Ran    bool      `json:"ran,omitempty"`          // this agent has seen it running here
	Life   time.Time `json:"life_since,omitzero"`    // since when this life is known
	Dead   Process   `json:"dead,omitzero"`          // the init that ended last
	Boot   string    `json:"boot,omitempty"`         // boot id in which it was last stepped
	Absent bool      `json:"absent,omitempty"`       // nobody watched since it was last seen running
	Actor  *Actor    `json:"stopped_by,omitempty"`   // who stopped it on purpose
	Host   HostWord  `json:"host,omitzero"`          // the host's latest word
	Fresh  time.Time `json:"fresh_after,omitzero"`   // a list answer asked for before this is stale
	Clear  time.Time `json:"healthy_since,omitzero"` // since when it is up without an incident
	Flap   Flap      `json:"flap,omitzero"`          // whether it changes too often

	// What people said.
	Want   Tri    `json:"want,omitempty"`
	WantBy string `json:"want_by,omitempty"`
	Hold   *Hold  `json:"hold,omitempty"`

	// What schedules do.
	Plan   Plan    `json:"plan,omitzero"`
	Jobs   Jobs    `json:"jobs,omitzero"`
	Backup Backups `json:"backup,omitzero"`

	Probes   map[string]ProbeState `json:"probes,omitempty"`
	Looking  *Looking              `json:"looking,omitempty"`
	LookSeq  int                   `json:"look_seq,omitempty"`
	Case     *Case                 `json:"case,omitempty"` // what is wrong now; nil when nothing is
	Incident *Incident             `json:"incident,omitempty"`
	Attempts []Attempt             `json:"attempts,omitempty"` // of the current budget window, oldest first
	Retry    time.Duration         `json:"retry,omitempty"`    // the budget is spent: how long until the next attempt
	Granted  bool                  `json:"granted,omitempty"`  // one attempt is allowed whatever budget and backoff say
	Barred   bool                  `json:"barred,omitempty"`   // alerted because policy or intent forbids more, which may change
}

// A Case is what is wrong with a container, from the first notice; it becomes an incident when it is confirmed.
type Case struct {
	ID    string    `json:"id"` // that of the incident it may become
	Kind  CaseKind  `json:"kind"`
	Since time.Time `json:"since"` // of the failure, as far as it was seen: sick, the first failure of the run
	Begun time.Time `json:"begun"` // since when it is being dealt with: later than Confirmed after a deferral

	Confirmed time.Time `json:"confirmed,omitzero"` // when it counted: sick, with the run's fail_after-th failure

	Sure  bool   `json:"sure,omitempty"`  // the kernel said so
	Probe string `json:"probe,omitempty"` // sick: which probe
	What  string `json:"what"`            // for people: "init 4711 died", "probe web fails: connection refused"
	Asked int    `json:"asked,omitempty"` // looks that brought no usable answer, in a row
	Tried int    `json:"tried,omitempty"` // attempts made for it
	Plan  *Job   `json:"plan,omitempty"`  // the schedule that has it restarted: nothing is wrong
	Open  bool   `json:"open,omitempty"`
	Ours  bool   `json:"ours,omitempty"` // it runs again by an attempt of ours

	Detail string  `json:"detail,omitempty"` // sick: what the probe met, as it was when that was confirmed
	Inside Outcome `json:"inside,omitempty"` // sick: what the same probe met then from inside the container

	Ordered bool `json:"ordered,omitempty"` // no failure: a person wants what was down; it becomes an incident if that fails
}

// CaseKind tells down from sick.
type CaseKind string

// The kinds.
const (
	CaseDown CaseKind = "down"
	CaseSick CaseKind = "sick"
	CasePlan CaseKind = "plan" // nothing is wrong: a schedule has it restarted
)

// A Looking is an ordered look that is not answered yet.
type Looking struct {
	Seq   int       `json:"seq"`
	Asked time.Time `json:"asked"`
}

// An Attempt is one start or restart of ours.
type Attempt struct {
	N    int       `json:"n"`
	Verb Verb      `json:"verb"`
	At   time.Time `json:"at"`
	Hard bool      `json:"hard,omitempty"` // restart: the graceful stop did not do, it was killed
	Done time.Time `json:"done,omitzero"`
	Err  string    `json:"err,omitempty"`

	Cause   string `json:"cause,omitempty"`
	Already bool   `json:"already,omitempty"`
}

// A ProbeState is what counts of the outcomes of one probe.
type ProbeState struct {
	Seq     uint64 `json:"seq"`               // of the last signal that was heard
	Fails   int    `json:"fails,omitempty"`   // in a row, up to fail_after
	Passes  int    `json:"passes,omitempty"`  // in a row, up to pass_after
	Ever    bool   `json:"ever,omitempty"`    // has passed at all: before that it never counts
	Life    bool   `json:"life,omitempty"`    // has passed in this life of the container
	Failing bool   `json:"failing,omitempty"` // failed fail_after times, and has not passed pass_after times since
	Detail  string `json:"detail,omitempty"`  // of the failure

	From time.Time `json:"from,omitzero"` // the first failure of the run that goes on
}

// Same reports whether two states differ in nothing that is worth a commit. The time of the last observation, the
// numbers of signals that changed nothing, and Wake, which any Step makes anew, are not.
func (s State) Same(t State) bool {
	return s.sameWord(t) && s.samePeople(t) && s.sameDealings(t) && sameProbes(s.Probes, t.Probes)
}

// The three parts of Same name every field, because reflection would cost more than the Step; a test knows them all.

func (s State) sameWord(t State) bool {
	return s.Ref == t.Ref && s.Name == t.Name && s.Mark == t.Mark && s.RunState == t.RunState && s.Detail == t.Detail &&
		s.Init == t.Init && s.Autostart == t.Autostart && s.Config == t.Config && slices.Equal(s.Tags, t.Tags) && sameValue(s.Lock, t.Lock) &&
		s.Supervisor == t.Supervisor && s.Elsewhere == t.Elsewhere && s.Locked.same(t.Locked) && s.Finished == t.Finished && s.OnPurpose == t.OnPurpose && s.Overruled == t.Overruled && s.ToldOff == t.ToldOff && s.Ran == t.Ran && s.Life.Equal(t.Life) && s.Dead == t.Dead &&
		s.Boot == t.Boot && s.Absent == t.Absent && s.Fresh.Equal(t.Fresh) && s.Clear.Equal(t.Clear) &&
		s.Flap.Bad == t.Flap.Bad && s.Flap.On == t.Flap.On // what time alone adds to it is made anew
}

func (s State) samePeople(t State) bool {
	return s.Want == t.Want && s.WantBy == t.WantBy && sameValue(s.Hold, t.Hold) &&
		(s.Actor == t.Actor || reflect.DeepEqual(s.Actor, t.Actor)) &&
		s.Host.Closed == t.Host.Closed && s.Host.Going == t.Host.Going && s.Host.Root == t.Host.Root && s.Host.Window.Same(t.Host.Window) &&
		s.Plan == t.Plan && s.Jobs.same(t.Jobs) && s.Backup.same(t.Backup) && slices.Equal(s.Host.Faults, t.Host.Faults)
}

func (s State) sameDealings(t State) bool {
	return s.Phase == t.Phase && s.Since.Equal(t.Since) && s.Why == t.Why && s.Due.Equal(t.Due) && s.Queue == t.Queue &&
		sameValue(s.Looking, t.Looking) && s.LookSeq == t.LookSeq && sameValue(s.Case, t.Case) && sameValue(s.Incident, t.Incident) &&
		slices.Equal(s.Attempts, t.Attempts) && s.Retry == t.Retry && s.Granted == t.Granted && s.Barred == t.Barred
}

func sameValue[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameProbes(a, b map[string]ProbeState) bool {
	return maps.EqualFunc(a, b, func(x, y ProbeState) bool {
		same := x.From.Equal(y.From)
		x.Seq, y.Seq, x.From, y.From = 0, 0, time.Time{}, time.Time{}
		return same && x == y
	})
}

// clone copies what Step may change in place.
func (s State) clone() State {
	s.Probes = maps.Clone(s.Probes)
	s.Attempts = slices.Clone(s.Attempts)
	s.Looking = copied(s.Looking)
	s.Case = copied(s.Case)
	s.Incident = copied(s.Incident)
	s.Jobs = s.Jobs.clone()
	s.Backup.Incident = copied(s.Backup.Incident)
	return s
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

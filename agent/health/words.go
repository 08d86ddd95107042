package health

import (
	"net/netip"
	"strconv"
	"time"
)

// A Ref names one container: the engine, which of its instances, and the id there. It is comparable and stays the same
// over restarts of the container and of the agent.
type Ref struct {
	Engine   string `json:"engine"`
	Instance string `json:"instance,omitempty"` // empty: the engine's default instance
	ID       string `json:"id"`
}

// String shows a Ref as people write it: "lxc/web1", or "lxc:backup/web1" where the instance is not the default. It is
// unique, because neither engine nor instance may hold ':' or '/', and no engine allows '/' in an id.
func (r Ref) String() string {
	if r.Instance == "" {
		return r.Engine + "/" + r.ID
	}
	return r.Engine + ":" + r.Instance + "/" + r.ID
}

// RunState is what an engine says of a container.
type RunState string

// The states. Missing means known before and not listed now, which is never the same as stopped. Removed means that its
// definition is gone too. Unknown means that the engine did not answer: no observation.
const (
	Running RunState = "running"
	Stopped RunState = "stopped"
	Paused  RunState = "paused"
	Busy    RunState = "busy"
	Broken  RunState = "broken"
	Missing RunState = "missing"
	Removed RunState = "removed"
	Unknown RunState = "unknown"
)

// Outcome is what one sensor found. Unsure never counts and never clears.
type Outcome string

// The outcomes.
const (
	Pass   Outcome = "pass"
	Fail   Outcome = "fail"
	Unsure Outcome = "unsure"
)

// Tri is yes, no, or not known.
type Tri string

// The three answers; the zero value means not known.
const (
	Maybe Tri = ""
	Yes   Tri = "yes"
	No    Tri = "no"
)

// A Process is one life of one process: the pid alone is reused, pid and start time together are not.
type Process struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks after boot, field 22 of /proc/PID/stat; 0 when it was not read
}

// String gives the pid in decimal.
func (p Process) String() string { return strconv.Itoa(p.PID) }

// Addr is one address of a container on one of its interfaces.
type Addr struct {
	Prefix netip.Prefix `json:"prefix"`
	Iface  string       `json:"iface,omitempty"`
	MAC    string       `json:"mac,omitempty"`
}

// A Lock is an operation that holds a container: a backup, a snapshot, a migration.
type Lock struct {
	Operation string    `json:"operation"`
	Holder    Process   `json:"holder,omitzero"`
	Since     time.Time `json:"since,omitzero"`
	Dead      bool      `json:"dead,omitempty"` // the holder no longer lives
}

// An Actor is a live process that was seen doing something to a container: stopping, moving, snapshotting, removing.
type Actor struct {
	Process Process  `json:"process"`
	Argv    []string `json:"argv"`
	UID     int      `json:"uid"`
	Login   int      `json:"login"` // login uid, -1 when unset
	Verb    Verb     `json:"verb"`

	Parents  []string `json:"parents,omitempty"`  // names of its parents, the nearest first: bash, sshd; process 1 left out
	Terminal string   `json:"terminal,omitempty"` // "pts/3"; empty: it has none
}

// Verb is what a command of an engine does to a container.
type Verb string

// The verbs. Those after Backup are never ordered by us: they are seen being done by others.
const (
	VerbStart    Verb = "start"
	VerbStop     Verb = "stop"
	VerbKill     Verb = "kill"
	VerbRestart  Verb = "restart"
	VerbRepair   Verb = "repair" // the engine's own safe cure for what a death leaves behind; it destroys no data
	VerbUnlock   Verb = "unlock" // breaks a lock that was left over; only where a person's configuration says so
	VerbBackup   Verb = "backup"
	VerbMove     Verb = "move"
	VerbSnapshot Verb = "snapshot"
	VerbRemove   Verb = "remove"
)

// A Sighting is what an engine says about one container at one moment.
type Sighting struct {
	Ref        Ref       `json:"ref"`
	Name       string    `json:"name"`             // for people; equals the id where the engine has no other
	Mark       string    `json:"mark,omitempty"`   // the engine's UUID or a creation mark: another mark is another container
	State      RunState  `json:"state"`            //
	Detail     string    `json:"detail,omitempty"` // the engine's own word (FROZEN), or why it is broken
	Init       Process   `json:"init,omitzero"`    // zero unless running and known
	Autostart  Tri       `json:"autostart,omitempty"`
	Config     string    `json:"config,omitempty"` // changes when the configuration of the container changes
	Lock       *Lock     `json:"lock,omitempty"`
	Supervisor string    `json:"supervisor,omitempty"` // another that starts it: "docker restart policy always"
	Elsewhere  bool      `json:"elsewhere,omitempty"`  // that one may start it on another host, so it is never overruled
	Addrs      []Addr    `json:"addrs,omitempty"`
	Links      []string  `json:"links,omitempty"` // host interfaces it needs: its bridges
	Tags       []string  `json:"tags,omitempty"`
	Finished   bool      `json:"finished,omitempty"`   // ended by itself, well, and nothing asks for it again: a job that is done
	OnPurpose  string    `json:"on_purpose,omitempty"` // stopped, and the engine's own record says that somebody wanted it: who or how
	Health     Outcome   `json:"health,omitempty"`     // what the engine's own health check says; empty: it has none
	At         time.Time `json:"at,omitzero"`          // when the engine was asked
}

// A Death is the kernel's word that an init process ended. It proves down; it never proves that a start is wanted.
type Death struct {
	Init   Process `json:"init"`
	Sensor string  `json:"sensor"` // pidfd, proc, poll
}

// A Signal is one outcome of one probe of one container.
type Signal struct {
	Probe   string        `json:"probe"`
	Seq     uint64        `json:"seq"` // grows by one for each run of this probe; counts once
	Outcome Outcome       `json:"outcome"`
	Detail  string        `json:"detail,omitempty"`
	Took    time.Duration `json:"took,omitempty"`
	Init    Process       `json:"init,omitzero"` // the life it was aimed at; of another life it is dropped
}

// Done is the outcome of one start, stop, kill or restart.
type Done struct {
	Attempt int    `json:"attempt"`
	Verb    Verb   `json:"verb"`
	Err     string `json:"err,omitempty"`     // empty when the engine said that it worked, which proves nothing
	Cause   string `json:"cause,omitempty"`   // the innermost words that the engine or its log gives
	Already bool   `json:"already,omitempty"` // the engine said "already running"
}

// A Look is the answer to an ordered look: what the engine says now, who was at it, and, where a probe was named, what
// that probe says from inside the container's own network namespace.
type Look struct {
	Seq      int       `json:"seq"`
	Sighting *Sighting `json:"sighting,omitempty"` // nil: the engine did not answer
	Err      string    `json:"err,omitempty"`
	Actor    *Actor    `json:"actor,omitempty"`
	Inside   Outcome   `json:"inside,omitempty"` // empty: not tried
	Host     *HostWord `json:"host,omitempty"`   // the host's word at the same moment
}

// An Order is a person's word.
type Order struct {
	Kind   OrderKind `json:"kind"`
	Until  time.Time `json:"until,omitzero"` // of a hold
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"` // user name and uid, from the socket's peer credentials
}

// OrderKind is what a person asked for.
type OrderKind string

// The orders.
const (
	OrderWant    OrderKind = "want"
	OrderUnwant  OrderKind = "unwant"
	OrderHold    OrderKind = "hold"
	OrderRelease OrderKind = "release"
	OrderForget  OrderKind = "forget" // watch it no longer, here; Reason is how an open incident ends
)

// A HostWord is what the host means for a container at this moment. The zero value means: nothing in the way.
type HostWord struct {
	Closed string   `json:"closed,omitempty"` // why nothing may be started now: shutting down, engine restarting, booting
	Going  bool     `json:"going,omitempty"`  // what stops now is stopped by the host or its engine, not on purpose
	Root   string   `json:"root,omitempty"`   // what it depends on and that fails: "lxc/db1 (db1), which is stopped"; empty: nothing of that
	Faults []string `json:"faults,omitempty"` // what this container needs and the host lacks: "bridge br0 is missing"; sorted
	Window Window   `json:"window,omitzero"`  // the maintenance window that is open for it
}

// Room says what the host has room for, by the places and the restart bucket. See Survey.
type Room struct {
	Start   bool   `json:"start"`
	Restart bool   `json:"restart"`
	Why     string `json:"why,omitempty"`
	Event   string `json:"event,omitempty"`   // id of the event of the whole host that a failure now belongs to
	Backups string `json:"backups,omitempty"` // why no scheduled backup may be begun; empty: it may
}

// An Observation is one thing that happened to one container, at one moment. Of the pointers at most one is set; none
// means that time has passed.
type Observation struct {
	At     time.Time
	Sight  *Sighting // a list's word
	Look   *Look     // the answer to an ordered look
	Death  *Death
	Signal *Signal
	Done   *Done
	Order  *Order
	Host   *HostWord   // the host's word changed, for this container
	Birth  *Birth      // the agent came up, or the clock stepped
	Job    *Job        // a run of a schedule is due
	Ended  *JobDone    // what came of one
	Backup *BackupWord // the engine knows of a good backup
	Room   Room        // always set by the caller
}

// Birth tells a State that it was loaded by a new agent.
type Birth struct {
	Boot    string `json:"boot"`    // boot id of the host
	Orderly bool   `json:"orderly"` // the agent before this one ended in order
}

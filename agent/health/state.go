package health

import "time"

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

// A State is all that is remembered about one container. It is a plain value: stored as JSON, replayed, fuzzed.
type State struct {
	Ref       Ref       `json:"ref"`
	Name      string    `json:"name"`
	Mark      string    `json:"mark,omitempty"`
	Phase     Phase     `json:"phase"`
	Since     time.Time `json:"since"` // of the phase
	Why       string    `json:"why,omitempty"`
	Last      time.Time `json:"last"` // time of the latest observation: what comes is never before it
	Wake      time.Time `json:"wake,omitzero"`
	RunState  RunState  `json:"state"` // the engine's latest word
	Detail    string    `json:"detail,omitempty"`
	Init      Process   `json:"init,omitzero"`
	LifeSince time.Time `json:"life_since,omitzero"` // since when this init is known
	Boot      string    `json:"boot,omitempty"`      // boot id in which it was last seen
}

package health

import "fmt"

// ActionKind is what the core orders.
type ActionKind string

// The actions.
const (
	DoLook     ActionKind = "look"     // ask the engine about this container, at once; see who is at it
	DoCapture  ActionKind = "capture"  // take evidence: before an attempt, after it, or of an incident nobody acts upon
	DoStart    ActionKind = "start"    //
	DoRestart  ActionKind = "restart"  // stop in order to start: gracefully, or Hard
	DoOpen     ActionKind = "open"     // the incident is open; alert
	DoUpdate   ActionKind = "update"   // something about it changed that the reader should know
	DoEscalate ActionKind = "escalate" // the budget is spent
	DoResolve  ActionKind = "resolve"  //
	DoTell     ActionKind = "tell"     // a notice without an incident
	DoWarn     ActionKind = "warn"     // one that a person should see to
	DoJob      ActionKind = "job"      // a scheduled backup or stop
	DoDrop     ActionKind = "drop"     // the case came to nothing: throw its evidence away
)

// An Action is one order of the core. Actions of one Step are carried out in their order.
type Action struct {
	Kind     ActionKind `json:"kind"`
	Look     int        `json:"look,omitempty"`    // look: the number that the answer carries
	Probe    string     `json:"probe,omitempty"`   // look: try this probe from inside, too
	Attempt  int        `json:"attempt,omitempty"` // capture, start, restart
	After    bool       `json:"after,omitempty"`   // capture: the second round
	Hard     bool       `json:"hard,omitempty"`    // restart: kill instead of asking
	First    []Verb     `json:"first,omitempty"`   // start: cures to be tried before it, where the engine has them
	Job      string     `json:"job,omitempty"`     // job: the schedule's name
	Verb     Verb       `json:"verb,omitempty"`    // job: what is to be done
	Case     string     `json:"case,omitempty"`    // the incident's id, open or not
	Reason   string     `json:"reason,omitempty"`
	Incident *Incident  `json:"incident,omitempty"` // open, update, escalate, resolve: as it is with this action
}

// String is the short form of timelines: "restart#2(hard)".
func (a Action) String() string {
	s := string(a.Kind)
	if a.Attempt > 0 {
		s += fmt.Sprintf("#%d", a.Attempt)
	}
	if a.Incident != nil && a.Incident.Kind != "" {
		s += "-" + a.Incident.Kind
	}
	switch {
	case a.Kind == DoOpen && a.Incident != nil && a.Incident.Window != "":
		s += "(untold)"
	case a.After:
		s += "(after)"
	case a.Hard:
		s += "(hard)"
	case a.Kind == DoResolve && a.Incident != nil:
		s += "(" + a.Incident.How + ")"
	case a.Kind == DoJob:
		s = string(a.Kind) + "(" + string(a.Verb) + ")"
	case len(a.First) > 0:
		s += fmt.Sprint(a.First)
	case a.Kind == DoTell, a.Kind == DoWarn:
		s += "(" + a.Reason + ")"
	}
	return s
}

package health

import "time"

// An Incident is one failure of one container, or of the host, from its opening to its resolution.
type Incident struct {
	ID        string    `json:"id"` // sortable by time, unique on this host, safe in file names
	Ref       Ref       `json:"ref"`
	Name      string    `json:"name"` // of the container, for people
	Reason    string    `json:"reason"`
	Opened    time.Time `json:"opened"`             // when the failure began, as far as it was seen: the first failing probe of the run
	Confirmed time.Time `json:"confirmed,omitzero"` // when it was sure: fail_after failures in a row; of a death, the same as Opened
	Resolved  time.Time `json:"resolved,omitzero"`
	How       string    `json:"how,omitempty"`    // "recovered by us in 74 ms", "recovered by itself", "removed"
	Parent    string    `json:"parent,omitempty"` // the event of the whole host that it belongs to, which was told instead of it
	Kind      string    `json:"kind,omitempty"`   // KindBackup; empty: the container fails
	Window    string    `json:"window,omitempty"` // the maintenance window in which it began and that is still open: it is not told before that ends
	Attempts  int       `json:"attempts"`
	Escalated bool      `json:"escalated,omitempty"`
	LastErr   string    `json:"last_err,omitempty"` // the engine's words for the latest failed attempt
	Cause     string    `json:"cause,omitempty"`    // the innermost words behind them
}

// AlertKind is which turn of an incident an alert tells of.
type AlertKind string

// The turns.
const (
	AlertOpen     AlertKind = "open"
	AlertUpdate   AlertKind = "update"
	AlertEscalate AlertKind = "escalate"
	AlertResolved AlertKind = "resolved"
	AlertNotice   AlertKind = "notice" // belongs to no incident: stopped on purpose, host shutting down, healing held back
)

// AlertSchema is the version of the Alert document. It changes when a reader would have to.
const AlertSchema = "atalaya.alert/v1"

// An Alert is the document that channels deliver. It is complete in itself: a receiver needs nothing else to know what
// happened, where, since when, what was tried, and what to do.
type Alert struct {
	Schema    string    `json:"schema"`
	Incident  string    `json:"incident,omitempty"` // empty for a notice
	Seq       int       `json:"seq"`                // 1, 2, … within the incident
	Kind      AlertKind `json:"kind"`
	Severity  string    `json:"severity"` // info, warning, critical
	Summary   string    `json:"summary"`  // one sentence, symptom first
	Host      Host      `json:"host"`
	Container *Subject  `json:"container,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since"` // when the failure began, as far as it was seen; with the host's UTC offset
	Confirmed time.Time `json:"confirmed,omitzero"`
	At        time.Time `json:"at"`
	Attempts  []Tried   `json:"attempts,omitempty"`
	Verdict   *Verdict  `json:"verdict,omitempty"`
	How       string    `json:"how,omitempty"` // resolved: how it recovered, and after how long
	DownFor   Millis    `json:"down_for_ms,omitempty"`
	Affected  []string  `json:"affected,omitempty"`  // the containers that this takes down with it
	Incidents []string  `json:"incidents,omitempty"` // of an event of the host: those of its containers, with their own evidence
	Next      string    `json:"next,omitempty"`      // what the agent does next, and when
	Todo      string    `json:"todo,omitempty"`      // what the reader should do
	Quiet     string    `json:"quiet,omitempty"`     // the command that stops these messages
}

// A Host is how receivers know the machine.
type Host struct {
	FQDN string `json:"fqdn"`
	Site string `json:"site,omitempty"`
	Boot string `json:"boot_id,omitempty"`
}

// A Subject is the container an alert is about.
type Subject struct {
	Ref       string   `json:"ref"`
	Engine    string   `json:"engine"`
	Instance  string   `json:"instance,omitempty"`
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	State     RunState `json:"state"`
	Addresses []string `json:"addresses,omitempty"`
}

// Tried is one attempt at repair and what came of it.
type Tried struct {
	Attempt int       `json:"attempt"`
	Verb    Verb      `json:"verb"`
	At      time.Time `json:"at"`
	Took    Millis    `json:"took_ms"`
	Command []string  `json:"command,omitempty"`
	Exit    int       `json:"exit"`
	Answer  string    `json:"answer,omitempty"` // the engine's own words
	Cause   string    `json:"cause,omitempty"`  // the innermost line of the log behind them
}

// A Verdict is which layer is to blame, and why.
type Verdict struct {
	Layer      string   `json:"layer"`      // guest, engine, host, storage, network, provider, operator, undetermined
	Confidence string   `json:"confidence"` // low, medium, high
	Sentence   string   `json:"sentence"`
	Proof      []string `json:"proof,omitempty"`
	Disproof   string   `json:"disproof,omitempty"` // what would show that it is wrong
	RetryHelps Tri      `json:"retry_helps,omitempty"`
	Cure       string   `json:"cure,omitempty"`
}

// Millis is a duration that is written as a number of milliseconds.
type Millis float64

// ToMillis converts d, keeping microseconds.
func ToMillis(d time.Duration) Millis { return Millis(float64(d.Microseconds()) / 1000) }

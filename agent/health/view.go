package health

import "time"

// A View is what the agent knows at one moment: the one source of the status table, the page and the metrics.
type View struct {
	At         time.Time       `json:"at"`
	Host       Host            `json:"host"`
	Version    string          `json:"version"`
	PID        int             `json:"pid"`
	Started    time.Time       `json:"started"`
	Mode       Mode            `json:"mode"`
	DryRun     bool            `json:"dry_run,omitempty"`
	Sensor     string          `json:"sensor"`           // how deaths are noticed: pidfd, proc, poll
	Closed     string          `json:"closed,omitempty"` // why nothing is started now
	Store      string          `json:"store"`            // "ok", or why healing goes on from memory
	Instances  []InstanceView  `json:"instances"`
	Containers []ContainerView `json:"containers"`
	Windows    []WindowView    `json:"windows,omitempty"`
	Channels   []ChannelView   `json:"channels,omitempty"`
	Config     ConfigView      `json:"config,omitzero"`
	Stuck      []string        `json:"stuck,omitempty"` // commands abandoned in uninterruptible sleep
	Loop       Loop            `json:"loop"`
}

// An InstanceView is one engine instance.
type InstanceView struct {
	Engine   string    `json:"engine"`
	Instance string    `json:"instance,omitempty"`
	Where    string    `json:"where"`    // lxcpath, URI, …
	Listed   time.Time `json:"listed"`   // when the tool was asked that last listed all; zero: never
	Looked   time.Time `json:"looked"`   // when it was last known how all are, by a list, one by one, or because nothing had moved
	Degraded string    `json:"degraded"` // empty, or how it is watched instead and why
	Err      string    `json:"err,omitempty"`
	Count    int       `json:"count"`
}

// A ContainerView is one container.
type ContainerView struct {
	Ref      Ref          `json:"ref"`
	Name     string       `json:"name"`
	State    RunState     `json:"state"`
	Detail   string       `json:"detail,omitempty"`
	Phase    Phase        `json:"phase"`
	Since    time.Time    `json:"since"`
	Why      string       `json:"why,omitempty"`
	Init     Process      `json:"init,omitzero"`
	Addrs    []Addr       `json:"addrs,omitempty"`
	Intent   Intent       `json:"intent"`
	Mode     Mode         `json:"mode"`
	Hold     *Hold        `json:"hold,omitempty"`
	Window   *Window      `json:"window,omitempty"` // the maintenance window that is open for it
	Jobs     []JobView    `json:"jobs,omitempty"`
	Backup   *BackupView  `json:"backup,omitempty"` // where a schedule makes backups, or one is known
	Signals  []SignalView `json:"signals,omitempty"`
	Incident string       `json:"incident,omitempty"`
	Attempts int          `json:"attempts"`
	Next     string       `json:"next,omitempty"` // what would be done, or will be, and when
	Wake     time.Time    `json:"wake,omitzero"`
}

// A WindowView is one maintenance window.
type WindowView struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until,omitzero"` // open until then; zero: it is closed
	Opens time.Time `json:"opens,omitzero"` // next
	All   bool      `json:"all,omitempty"`  // it concerns every container
}

// A JobView is one schedule of a container.
type JobView struct {
	Name      string    `json:"name"`
	Do        Verb      `json:"do"`
	Next      time.Time `json:"next,omitzero"`
	Since     time.Time `json:"since,omitzero"`      // it is being done since
	Postponed string    `json:"postponed,omitempty"` // why one that was due waits
}

// A BackupView is what is known of the backups of a container.
type BackupView struct {
	Good     time.Time `json:"good,omitzero"`      // when the last good one was begun; zero: none is known
	By       string    `json:"by,omitempty"`       // the schedule that made it, or the engine's words for it
	Failed   time.Time `json:"failed,omitzero"`    // when the latest failed, if none was good since
	Err      string    `json:"err,omitempty"`      //
	Incident string    `json:"incident,omitempty"` // while they fail or are overdue
}

// A ConfigView says what of the configuration does not hold.
type ConfigView struct {
	Loaded  time.Time `json:"loaded"`            // when the one that holds was read
	Refused string    `json:"refused,omitempty"` // what is wrong with a newer one, which therefore does not hold
	Waiting []string  `json:"waiting,omitempty"` // parts of the newest that are taken up when the agent is started again
}

// A ChannelView is what one channel has not delivered.
type ChannelView struct {
	Name    string    `json:"name"`
	Pending int       `json:"pending"`          // alerts that are queued
	Dead    int       `json:"dead"`             // alerts that were refused or given up
	Failing time.Time `json:"failing,omitzero"` // the oldest alert that was tried in vain, and will be again, waits since then
	Err     string    `json:"err,omitempty"`    // why it failed
}

// A SignalView is the latest word of one probe.
type SignalView struct {
	Probe   string    `json:"probe"`
	Outcome Outcome   `json:"outcome"` // empty: not run yet
	Detail  string    `json:"detail,omitempty"`
	Warning string    `json:"warning,omitempty"` // what is well now and should be looked at
	Took    Millis    `json:"took_ms"`
	Expires time.Time `json:"expires,omitzero"` // the certificate that it met
	At      time.Time `json:"at,omitzero"`
	Fails   int       `json:"fails,omitempty"` // in a row
	Failing bool      `json:"failing,omitempty"`
}

// An Intent says whether a container should be running, and how we know.
type Intent struct {
	Want  Tri    `json:"want,omitempty"`
	Proof string `json:"proof"` // "lxc.start.auto = 1", "atalaya want, by root (uid 0)"
}

// A Hold is a person's "hands off", for a time, with a reason.
type Hold struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
}

// Loop is the decision loop's account of itself.
type Loop struct {
	Turns   uint64    `json:"turns"`
	Last    time.Time `json:"last"`
	Inbox   int       `json:"inbox"`
	Running int       `json:"running"` // actions under way
}

package health

import "time"

// Mode is how far the agent may go.
type Mode string

// The modes. Observe records incidents and does nothing else; alert also tells; heal also acts.
const (
	ModeObserve Mode = "observe"
	ModeAlert   Mode = "alert"
	ModeHeal    Mode = "heal"
)

// OnFail is what a failing probe may lead to.
type OnFail string

// The consequences.
const (
	FailRestart OnFail = "restart"
	FailAlert   OnFail = "alert"
)

// A Policy is everything configured about one container, compiled. The zero value is not usable; DefaultPolicy gives the
// defaults of docs/design.md.
type Policy struct {
	Mode         Mode                   `json:"mode"`
	Want         Tri                    `json:"want,omitempty"` // from the configuration file; Maybe: by autostart
	Probes       map[string]ProbePolicy `json:"probes,omitempty"`
	Attempts     int                    `json:"attempts"`       // attempts within Window before it is exhausted; 1 or more
	Window       time.Duration          `json:"window"`         //
	Delays       []time.Duration        `json:"delays"`         // before attempt 2, 3, …; the last one repeats; jittered by up to a quarter
	RetryMin     time.Duration          `json:"retry_min"`      // exhausted: first further attempt, then doubling
	RetryMax     time.Duration          `json:"retry_max"`      //
	Forget       time.Duration          `json:"forget"`         // so long healthy, and the budget is fresh again
	LookWithin   time.Duration          `json:"look_within"`    // an answer later than this is asked for again
	OpenWithin   time.Duration          `json:"open_within"`    // an incident opens with the first outcome, or after this
	StartWithin  time.Duration          `json:"start_within"`   // an outcome later than this is taken as lost, and looked for
	StopWithin   time.Duration          `json:"stop_within"`    // graceful part of a restart, before it kills
	Repair       bool                   `json:"repair"`         // after a start that failed, the engine's own safe cure comes before the next
	Unlock       bool                   `json:"unlock"`         // a lock whose holder is dead is broken before a start, where the engine has a command for that
	LockLimits   LockLimits             `json:"lock_limits"`    // how old a lock may be until people are told
	DeferFor     time.Duration          `json:"defer_for"`      // another supervisor on this host is given so long; below 0: for ever
	FlapHigh     float64                `json:"flap_high"`      // percent of changes at which it flaps; 0: that is not judged
	FlapLow      float64                `json:"flap_low"`       // percent below which it does no more
	SettleWithin time.Duration          `json:"settle_within"`  // without probes: running so long is recovered
	Jobs         map[string]JobPolicy   `json:"jobs,omitempty"` // by the name of the schedule
}

// A ProbePolicy is how the outcomes of one probe are judged.
type ProbePolicy struct {
	FailAfter int           `json:"fail_after"` // failures in a row that make it fail; 1 or more
	PassAfter int           `json:"pass_after"` // passes in a row that make it pass again; 1 or more
	Grace     time.Duration `json:"grace"`      // after a start, failures before the first pass do not count for so long
	OnFail    OnFail        `json:"on_fail"`
	Every     time.Duration `json:"every"`
}

// DefaultPolicy is the policy of a container about which nothing is configured.
func DefaultPolicy() Policy {
	return Policy{
		Mode:     ModeHeal,
		Attempts: 5, Window: 30 * time.Minute,
		Delays:   []time.Duration{5 * time.Second, 20 * time.Second, 80 * time.Second, 320 * time.Second},
		RetryMin: 30 * time.Minute, RetryMax: 6 * time.Hour,
		Forget:     15 * time.Minute,
		LookWithin: 10 * time.Second, OpenWithin: 2 * time.Second, StartWithin: 3 * time.Minute,
		StopWithin: 60 * time.Second, SettleWithin: 3 * time.Second,
		FlapHigh: 30, FlapLow: 20, Repair: true, DeferFor: 60 * time.Second, LockLimits: DefaultLockLimits(),
	}
}

// DefaultProbePolicy is how a probe is judged about which only its kind is configured.
func DefaultProbePolicy() ProbePolicy {
	return ProbePolicy{FailAfter: 3, PassAfter: 2, Grace: 2 * time.Minute, OnFail: FailRestart, Every: 10 * time.Second}
}

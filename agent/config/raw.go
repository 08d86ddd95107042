package config

import "time"

// The types that viper decodes into: the file as it is written, with the table's names. A pointer or a slice that is
// nil was not given. That they have exactly the keys of the table is tested.

type rawFile struct {
	Host         Host          `mapstructure:"host"`
	Mode         string        `mapstructure:"mode"`
	Poll         time.Duration `mapstructure:"poll"`
	PollHeld     time.Duration `mapstructure:"poll_held"`
	Engines      []rawEngine   `mapstructure:"engines"`
	Defaults     rawSettings   `mapstructure:"defaults"`
	Containers   []rawRule     `mapstructure:"containers"`
	Windows      []rawWindow   `mapstructure:"windows"`
	Schedules    []rawSchedule `mapstructure:"schedules"`
	Probes       []rawProbe    `mapstructure:"probes"`
	Channels     []rawChannel  `mapstructure:"channels"`
	Evidence     Evidence      `mapstructure:"evidence"`
	Store        Store         `mapstructure:"store"`
	Web          Web           `mapstructure:"web"`
	Control      Control       `mapstructure:"control"`
	Limits       Limits        `mapstructure:"limits"`
	HostWide     HostWide      `mapstructure:"host_wide"`
	Housekeeping string        `mapstructure:"housekeeping"`
	Log          Log           `mapstructure:"log"`
}

type rawSettings struct {
	Mode         *string        `mapstructure:"mode"`
	Want         *string        `mapstructure:"want"`
	Probes       []rawProbe     `mapstructure:"probes"`
	Budget       rawBudget      `mapstructure:"budget"`
	DeferTo      *string        `mapstructure:"defer_to_supervisor"`
	Repair       *bool          `mapstructure:"repair"`
	Unlock       *string        `mapstructure:"unlock"`
	LockLimits   rawLockLimits  `mapstructure:"lock_limits"`
	Flapping     rawFlapping    `mapstructure:"flapping"`
	StopTimeout  *time.Duration `mapstructure:"stop_timeout"`
	StartTimeout *time.Duration `mapstructure:"start_timeout"`
	Settle       *time.Duration `mapstructure:"settle"`
	Priority     *int           `mapstructure:"priority"`
	Notify       []string       `mapstructure:"notify"`
}

type rawBudget struct {
	Attempts *int            `mapstructure:"attempts"`
	Window   *time.Duration  `mapstructure:"window"`
	Delays   []time.Duration `mapstructure:"delays"`
	RetryMin *time.Duration  `mapstructure:"retry_min"`
	RetryMax *time.Duration  `mapstructure:"retry_max"`
	Forget   *time.Duration  `mapstructure:"forget"`
}

type rawLockLimits struct {
	Backup   *time.Duration `mapstructure:"backup"`
	Snapshot *time.Duration `mapstructure:"snapshot"`
	Move     *time.Duration `mapstructure:"move"`
	Other    *time.Duration `mapstructure:"other"`
}

type rawFlapping struct {
	High *int `mapstructure:"high"`
	Low  *int `mapstructure:"low"`
}

type rawRule struct {
	Match       rawMatch `mapstructure:"match"`
	rawSettings `mapstructure:",squash"`
	Ignore      *bool    `mapstructure:"ignore"`
	Runbook     *string  `mapstructure:"runbook"`
	DependsOn   []string `mapstructure:"depends_on"`
}

type rawMatch struct {
	Engine   *string  `mapstructure:"engine"`
	Instance *string  `mapstructure:"instance"`
	Name     []string `mapstructure:"name"`
	Tag      []string `mapstructure:"tag"`
}

type rawProbe struct {
	Name          string         `mapstructure:"name"`
	Kind          *string        `mapstructure:"kind"`
	Target        *string        `mapstructure:"target"`
	Family        *string        `mapstructure:"family"`
	Port          *int           `mapstructure:"port"`
	Every         *time.Duration `mapstructure:"every"`
	Timeout       *time.Duration `mapstructure:"timeout"`
	FailAfter     *int           `mapstructure:"fail_after"`
	PassAfter     *int           `mapstructure:"pass_after"`
	Grace         *time.Duration `mapstructure:"grace"`
	OnFail        *string        `mapstructure:"on_fail"`
	Send          *string        `mapstructure:"send"`
	Expect        *string        `mapstructure:"expect"`
	Method        *string        `mapstructure:"method"`
	Path          *string        `mapstructure:"path"`
	Host          *string        `mapstructure:"host"`
	Headers       []rawHeader    `mapstructure:"headers"`
	Status        *string        `mapstructure:"status"`
	Body          *string        `mapstructure:"body"`
	BodyCap       *int64         `mapstructure:"body_cap"`
	Follow        *int           `mapstructure:"follow"`
	ServerName    *string        `mapstructure:"server_name"`
	CAFile        *string        `mapstructure:"ca_file"`
	Insecure      *bool          `mapstructure:"insecure"`
	ExpiryWarning *time.Duration `mapstructure:"expiry_warning"`
	Query         *string        `mapstructure:"query"`
	QueryType     *string        `mapstructure:"query_type"`
	Rcode         *string        `mapstructure:"rcode"`
	Answers       []string       `mapstructure:"answers"`
	Network       *string        `mapstructure:"network"`
	Argv          []string       `mapstructure:"argv"`
	Exits         *string        `mapstructure:"exits"`
}

type rawEngine struct {
	Engine    string         `mapstructure:"engine"`
	Name      *string        `mapstructure:"name"`
	Path      *string        `mapstructure:"path"`
	SSH       *string        `mapstructure:"ssh"`
	URI       *string        `mapstructure:"uri"`
	SSHConfig *string        `mapstructure:"ssh_config"`
	Host      *string        `mapstructure:"host"`
	URL       *string        `mapstructure:"url"`
	Root      *string        `mapstructure:"root"`
	RunRoot   *string        `mapstructure:"runroot"`
	Bin       *string        `mapstructure:"bin"`
	Timeout   *time.Duration `mapstructure:"timeout"`
	List      []string       `mapstructure:"list"`
	Start     []string       `mapstructure:"start"`
	Stop      []string       `mapstructure:"stop"`
	Kill      []string       `mapstructure:"kill"`
	Restart   []string       `mapstructure:"restart"`
	Exec      []string       `mapstructure:"exec"`
	Repair    []string       `mapstructure:"repair"`
	Unlock    []string       `mapstructure:"unlock"`
	Backup    []string       `mapstructure:"backup"`
	Logs      []string       `mapstructure:"logs"`
	JSON      *rawJSON       `mapstructure:"json"`
	Line      *string        `mapstructure:"line"`
	States    []rawWord      `mapstructure:"states"`
}

type rawJSON struct {
	Items     *string `mapstructure:"items"`
	ID        *string `mapstructure:"id"`
	Name      *string `mapstructure:"name"`
	State     *string `mapstructure:"state"`
	PID       *string `mapstructure:"pid"`
	Addresses *string `mapstructure:"addresses"`
	Autostart *string `mapstructure:"autostart"`
	Mark      *string `mapstructure:"mark"`
}

type rawWord struct {
	Word  string `mapstructure:"word"`
	State string `mapstructure:"state"`
}

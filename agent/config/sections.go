package config

import "time"

// A Host is how the receivers of alerts know this machine, beside its host name.
type Host struct {
	Site string `mapstructure:"site"`
}

// Evidence says where bundles are, how long they may take and how long they are kept.
type Evidence struct {
	Dir      string        `mapstructure:"dir"`
	Before   time.Duration `mapstructure:"before"` // an action waits so long for what it would destroy
	After    time.Duration `mapstructure:"after"`
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes int64         `mapstructure:"max_bytes"` // of all bundles together
	Level    int           `mapstructure:"level"`     // of compression, 0 to 9
}

// Store says where the database is and how long its records are kept.
type Store struct {
	Dir      string        `mapstructure:"dir"`
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes int64         `mapstructure:"max_bytes"`
}

// Web says where metrics and health are served.
type Web struct {
	Listen string `mapstructure:"listen"` // address and port; empty: nowhere
}

// Control says where the commands of atalaya reach the agent, and who may give orders.
type Control struct {
	Socket string `mapstructure:"socket"`
	Group  string `mapstructure:"group"`
}

// HostWide is when failures of several containers are one incident of the host.
type HostWide struct {
	Least  int           `mapstructure:"least"`
	Share  int           `mapstructure:"share"` // percent of those that are watched
	Within time.Duration `mapstructure:"within"`

	Canaries []string `mapstructure:"canaries"`
}

// Limits are what the agent does at most at once, on the whole host.
type Limits struct {
	Starts         int           `mapstructure:"starts"`   // attempts under way
	Restarts       int           `mapstructure:"restarts"` // of sick containers within RestartsWindow
	RestartsWindow time.Duration `mapstructure:"restarts_window"`
	Probes         int           `mapstructure:"probes"`  // under way
	Backups        int           `mapstructure:"backups"` // scheduled ones under way
}

// Log says what of the agent's own log is written, and how.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn, error
	Format string `mapstructure:"format"` // auto, text, json
}

// builtIn is what holds where neither the file nor the environment says anything. The policies of containers and
// probes come from package health.
func builtIn() rawFile {
	return rawFile{
		Mode: "heal",
		Poll: 10 * time.Second, PollHeld: time.Minute,
		Engines: []rawEngine{}, Containers: []rawRule{}, Probes: []rawProbe{}, Channels: []rawChannel{},
		Windows: []rawWindow{}, Schedules: []rawSchedule{},
		Evidence: Evidence{
			Dir: "/var/lib/atalaya/evidence", Before: 300 * time.Millisecond, After: 2 * time.Second,
			MaxAge: 90 * 24 * time.Hour, MaxBytes: 2 << 30, Level: 1,
		},
		Store:        Store{Dir: "/var/lib/atalaya", MaxAge: 90 * 24 * time.Hour, MaxBytes: 512 << 20},
		Web:          Web{Listen: "127.0.0.1:9745"},
		Control:      Control{Socket: "/run/atalaya/control.sock", Group: "atalaya"},
		HostWide:     HostWide{Least: 3, Share: 30, Within: 20 * time.Second, Canaries: []string{}},
		Limits:       Limits{Starts: 2, Restarts: 10, RestartsWindow: 10 * time.Minute, Probes: 64, Backups: 1},
		Housekeeping: "17 4 * * *",
		Log:          Log{Level: "info", Format: "auto"},
	}
}

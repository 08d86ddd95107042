package config

import (
	"fmt"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/schedule"
)

type rawTime struct {
	Name     string   `mapstructure:"name"`
	Match    rawMatch `mapstructure:"match"`
	Cron     string   `mapstructure:"cron"`
	TimeZone *string  `mapstructure:"time_zone"`
}

type rawWindow struct {
	rawTime  `mapstructure:",squash"`
	Duration time.Duration `mapstructure:"duration"`
}

type rawSchedule struct {
	rawTime `mapstructure:",squash"`
	Do      string         `mapstructure:"do"`
	Jitter  *time.Duration `mapstructure:"jitter"`
	CatchUp *string        `mapstructure:"catch_up"`
	Limit   *time.Duration `mapstructure:"limit"`
	Overdue *time.Duration `mapstructure:"overdue_after"`
	Command []string       `mapstructure:"command"`
}

// A Window is a maintenance window, compiled.
type Window struct {
	schedule.Window
	All bool // it concerns every container

	match rawMatch
}

// A Schedule is a scheduled job, compiled.
type Schedule struct {
	Name    string
	Do      health.Verb
	Spec    schedule.Spec // without jitter
	Jitter  time.Duration
	CatchUp bool
	Limit   time.Duration // 0: by what it is
	Overdue time.Duration // backup; 0: never
	Command *engine.Order // backup; nil: the engine's own

	match rawMatch
}

// backupLimit is how long a backup may take where nothing is said.
const backupLimit = 6 * time.Hour

// WindowsFor names the windows that concern the container that s shows.
func (c *Config) WindowsFor(s health.Sighting) []string {
	var out []string
	for _, w := range c.Windows {
		if w.match.fits(s) {
			out = append(out, w.Name)
		}
	}
	return out
}

// SchedulesFor gives the schedules of the container that s shows.
func (c *Config) SchedulesFor(s health.Sighting) []Schedule {
	var out []Schedule
	for _, j := range c.Schedules {
		if j.match.fits(s) {
			out = append(out, j)
		}
	}
	return out
}

// Policy is what the core knows of the schedule, for a container that is stopped within so long.
func (s Schedule) Policy(stopWithin time.Duration) health.JobPolicy {
	p := health.JobPolicy{Do: s.Do, Limit: s.Limit, CatchUp: s.CatchUp, Overdue: s.Overdue}
	switch {
	case p.Limit > 0:
	case s.Do == health.VerbBackup:
		p.Limit = backupLimit
	default:
		p.Limit = stopWithin
	}
	return p
}

// timeZone accepts a name of the time zone database.
func timeZone(s string) error {
	if _, err := zoneOf(s); err != nil {
		return err
	}
	return nil
}

func zoneOf(s string) (*time.Location, error) {
	zone, err := time.LoadLocation(s)
	if err != nil || s == "" || s == "Local" {
		return nil, fmt.Errorf("%q is not a time zone, such as Europe/Madrid or UTC", s)
	}
	return zone, nil
}

// when gives when something is due. What is wrong with it the table has found.
func (c *compiler) when(r rawTime) schedule.Spec {
	var zone *time.Location
	if r.TimeZone != nil {
		zone, _ = zoneOf(*r.TimeZone)
	}
	s, _ := schedule.ParseSpec(r.Cron, zone)
	return s
}

// once refuses a name that is taken.
func (c *compiler) once(first map[string]string, path, name string) {
	if other, taken := first[name]; taken && name != "" {
		c.wrong(path+".name", "%q is the name of %s (line %d), too", name, other, c.origin.line(other))
	}
	first[name] = path
}

func (c *compiler) windows(raw []rawWindow) {
	first := map[string]string{}
	for i, r := range raw {
		path := fmt.Sprintf("windows[%d]", i)
		c.once(first, path, r.Name)
		if c.problems.within(path) {
			continue
		}
		w, err := schedule.NewWindow(r.Name, c.when(r.rawTime), r.Duration)
		if err != nil {
			c.wrong(path+".cron", "%v", err)
		}
		c.out.Windows = append(c.out.Windows, Window{Window: w, All: r.Match.empty(), match: r.Match})
	}
}

func (c *compiler) schedules(raw []rawSchedule) {
	first := map[string]string{}
	for i, r := range raw {
		path := fmt.Sprintf("schedules[%d]", i)
		c.once(first, path, r.Name)
		s := Schedule{Name: r.Name, Do: health.Verb(r.Do), Spec: c.when(r.rawTime), Jitter: or(r.Jitter, 0), CatchUp: or(r.CatchUp, "no") == "yes",
			Limit: or(r.Limit, 0), Overdue: or(r.Overdue, 0), match: r.Match}
		if !c.problems.within(path) {
			c.backup(path, r, &s)
		}
		c.out.Schedules = append(c.out.Schedules, s)
	}
}

// backup checks what only backups have, and that there is something to make them with.
func (c *compiler) backup(path string, r rawSchedule, s *Schedule) {
	for _, k := range []struct {
		name  string
		given bool
		of    string
	}{
		{"command", r.Command != nil, "backup"}, {"overdue_after", r.Overdue != nil, "backup"}, {"limit", r.Limit != nil, "backup stop"},
	} {
		if k.given && !strings.Contains(k.of, r.Do) {
			c.wrong(path+"."+k.name, "is only for do: %s", strings.ReplaceAll(k.of, " ", " and "))
		}
	}
	switch {
	case s.Do != health.VerbBackup:
	case r.Command == nil:
		c.backsUp(path, r.Match)
	default:
		var err error
		if s.Command, err = engine.ParseOrder("command", r.Command); err != nil {
			c.wrong(path+".command", "%s", strings.TrimPrefix(err.Error(), "command: "))
		}
	}
}

// backsUp wants an engine that makes backups among those that are meant, as far as they are known here.
func (c *compiler) backsUp(path string, m rawMatch) {
	var meant []engine.Spec
	for _, s := range c.out.Engines {
		if (m.Engine == nil || *m.Engine == s.Engine) && (m.Instance == nil || *m.Instance == s.Instance || *m.Instance == "default" && s.Instance == "") {
			meant = append(meant, s)
		}
	}
	if len(meant) == 0 && m.Engine != nil {
		meant = []engine.Spec{{Engine: *m.Engine}}
	}
	var cannot []string
	for _, s := range meant {
		can, err := engine.CanBackUp(s)
		if can || err != nil { // one that cannot be opened here says so when it is to be watched
			return
		}
		cannot = append(cannot, s.Engine)
	}
	if len(cannot) > 0 {
		c.wrong(path+".command", "is missing: %s makes no backups by itself, so say what makes them, as in [/usr/local/sbin/backup, \"{{.ID}}\"]", strings.Join(cannot, ", "))
	}
}

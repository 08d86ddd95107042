package config

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"io/fs"

	"atalaya/agent/health"
	"atalaya/agent/schedule"
	"atalaya/agent/secret"
)

// A compiler turns the decoded file into a Config and gathers what is wrong with it.
type compiler struct {
	problems Errors
	warnings Errors
	origin   origin
	mode     fs.FileMode // permissions of the file
	out      *Config
}

// wrong adds a problem, unless one is known there already.
func (c *compiler) wrong(path, format string, args ...any) {
	if p := c.origin.problem(path, fmt.Sprintf(format, args...)); !c.problems.about(p.Key) {
		c.problems = append(c.problems, p)
	}
}

func (c *compiler) warn(path, format string, args ...any) {
	c.warnings = append(c.warnings, c.origin.problem(path, fmt.Sprintf(format, args...)))
}

func (c *compiler) config(raw rawFile) *Config {
	c.out = &Config{
		Host: raw.Host, Mode: health.Mode(raw.Mode), Poll: raw.Poll, PollHeld: raw.PollHeld,
		Evidence: raw.Evidence, Store: raw.Store, Web: raw.Web, Control: raw.Control, Limits: raw.Limits, HostWide: raw.HostWide,
		Log:     raw.Log,
		Secrets: &secret.Set{},
		raw:     raw, origin: c.origin,
		library: map[string]placed{}, roots: map[string]*x509.CertPool{}, values: map[rawRef]secret.Value{},
	}
	c.out.Housekeeping, _ = schedule.ParseSpec(raw.Housekeeping, nil) // the table has checked it
	if c.out.Web.Listen == off {
		c.out.Web.Listen = ""
	}
	if raw.PollHeld < raw.Poll {
		c.wrong("poll_held", "%s is shorter than poll, which is %s", formatDuration(raw.PollHeld), formatDuration(raw.Poll))
	}
	c.engines(raw.Engines)
	c.windows(raw.Windows)
	c.schedules(raw.Schedules)
	c.channels(raw.Channels)
	c.definitions(raw.Probes)
	c.settings("defaults", raw.Defaults, rawSettings{})
	for i, r := range raw.Containers {
		path := fmt.Sprintf("containers[%d]", i)
		if r.Match.empty() && !c.problems.within(path+".match") {
			c.wrong(path+".match", "matches everything: put it under defaults, or say which: engine, instance, name, tag")
		}
		c.settings(path, r.rawSettings, raw.Defaults)
	}
	c.unused(raw)
	return c.out
}

// settings checks what defaults or a rule says, of which under holds below it.
func (c *compiler) settings(path string, s, under rawSettings) {
	b, built := s.Budget, builtInSettings()
	shortest := *cmp.Or(b.RetryMin, under.Budget.RetryMin, built.Budget.RetryMin)
	longest := *cmp.Or(b.RetryMax, under.Budget.RetryMax, built.Budget.RetryMax)
	if longest < shortest {
		at := path + ".budget.retry_max"
		if b.RetryMax == nil {
			at = path + ".budget.retry_min"
		}
		c.wrong(at, "retry_max, %s, is shorter than retry_min, %s", formatDuration(longest), formatDuration(shortest))
	}
	high := *cmp.Or(s.Flapping.High, under.Flapping.High, built.Flapping.High)
	if low := *cmp.Or(s.Flapping.Low, under.Flapping.Low, built.Flapping.Low); low > high && high > 0 {
		at := path + ".flapping.low"
		if s.Flapping.Low == nil {
			at = path + ".flapping.high"
		}
		c.wrong(at, "low, %d, is above high, %d", low, high)
	}
	if b.Delays != nil && len(b.Delays) == 0 {
		c.wrong(path+".budget.delays", "is empty: give at least one, as in [5s]")
	}
	for i, name := range s.Notify {
		if !c.hasChannel(name) {
			c.wrong(fmt.Sprintf("%s.notify[%d]", path, i), "no channel is called %q%s", name, orList(name, c.channelNames()))
		}
	}
	c.probes(path+".probes", s.Probes)
}

func (m rawMatch) empty() bool {
	return m.Engine == nil && m.Instance == nil && len(m.Name) == 0 && len(m.Tag) == 0
}

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"atalaya/agent"
	"atalaya/agent/config"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/notify"
	"atalaya/probes"
)

// settings turns the configuration into what the agent decides by.
func settings(c *config.Config, log *slog.Logger) agent.Settings {
	all := channelNames(c)
	return agent.Settings{
		Mode: c.Mode, Poll: c.Poll, PollHeld: c.PollHeld, Evidence: tuning(c.Evidence), Probes: c.Limits.Probes, Channels: all,
		Survey: health.Survey{Places: c.Limits.Starts, PlaceFor: 30 * time.Second, Bucket: c.Limits.Restarts, Window: c.Limits.RestartsWindow,
			Together: health.Together{Least: c.HostWide.Least, Share: float64(c.HostWide.Share) / 100, Within: c.HostWide.Within}},
		Windows: windows(c), Backups: c.Limits.Backups,
		OpenDue: c.Evidence.After + 500*time.Millisecond,
		Setup:   func(s health.Sighting) agent.Setup { return setup(c, s, all, log) },
	}
}

// wantsEvidence reports whether any is to be taken.
func wantsEvidence(c *config.Config) bool { return c.Evidence.Before != 0 || c.Evidence.After != 0 }

func tuning(c config.Evidence) evidence.Tuning {
	t := evidence.Tuning{Budget: evidence.Budget{Before: c.Before, After: c.After}, Level: c.Level}
	if c.Before == 0 {
		t.Budget.Before = -1 // nothing waits; zero would be the default
	}
	return t
}

func setup(c *config.Config, s health.Sighting, all []string, log *slog.Logger) agent.Setup {
	for _, problem := range c.For(s).Problems {
		log.Error("part of the configuration cannot be used", "container", s.Ref.String(), "problem", problem)
	}
	k := c.For(s)
	out := agent.Setup{Policy: k.Policy, Channels: k.Notify, Runbook: k.Runbook, Ignore: k.Ignore, Priority: k.Priority, DependsOn: k.DependsOn}
	if k.Notify == nil {
		out.Channels = all
	}
	schedules(c, s, &out)
	for _, spec := range k.Probes {
		p, err := probes.New(spec)
		if err != nil { // config.For leaves out what is not valid: a CA file is gone since
			log.Error("a probe is left out", "container", s.Ref.String(), "probe", spec.Name, "err", err)
			continue
		}
		out.Probes = append(out.Probes, agent.Probe{Spec: spec, Run: p, Every: k.Policy.Probes[spec.Name].Every})
	}
	return out
}

func windows(c *config.Config) []agent.Window {
	var out []agent.Window
	for _, w := range c.Windows {
		out = append(out, agent.Window{Window: w.Window, All: w.All})
	}
	return out
}

// schedules adds what windows and schedules there are for a container.
func schedules(c *config.Config, s health.Sighting, out *agent.Setup) {
	out.Windows = c.WindowsFor(s)
	all := c.SchedulesFor(s)
	if len(all) == 0 {
		return
	}
	out.Policy.Jobs = map[string]health.JobPolicy{}
	seed := host.Identity(c.Host.Site).FQDN + "/" + s.Ref.String() + "/"
	for _, j := range all {
		out.Policy.Jobs[j.Name] = j.Policy(out.Policy.StopWithin)
		out.Schedules = append(out.Schedules, agent.Schedule{Name: j.Name, Spec: j.Spec.Jittered(seed+j.Name, j.Jitter), Command: j.Command})
	}
}

func channelNames(c *config.Config) []string {
	var names []string
	for _, ch := range c.Channels {
		names = append(names, ch.Name)
	}
	return names
}

func makeChannels(c *config.Config) ([]notify.Channel, error) {
	var out []notify.Channel
	for _, ch := range c.Channels {
		n, err := ch.Open(version)
		if err != nil {
			return nil, fmt.Errorf("channel %q: %w", ch.Name, err)
		}
		out = append(out, n)
	}
	return out, nil
}

func logLevel(l config.Log) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// newLogger writes lines for people or JSON for machines, of the level that holds at the moment. Under systemd the journal
// has times of its own.
func newLogger(w io.Writer, l config.Log, level *slog.LevelVar) *slog.Logger {
	level.Set(logLevel(l))
	o := &slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"time"

	"atalaya/agent"
	"atalaya/agent/config"
	"atalaya/agent/health"
	"atalaya/agent/notify"
	"atalaya/probes"
)

// settings turns the configuration into what the agent decides by.
func settings(c *config.Config, log *slog.Logger) agent.Settings {
	all := channelNames(c)
	return agent.Settings{
		Mode: c.Mode, Poll: c.Poll, Probes: c.Limits.Probes, Channels: all,
		Survey:  health.Survey{Places: c.Limits.Starts, PlaceFor: 30 * time.Second, Bucket: c.Limits.Restarts, Window: c.Limits.RestartsWindow},
		OpenDue: c.Evidence.After + 500*time.Millisecond,
		Setup:   func(s health.Sighting) agent.Setup { return setup(c, s, all, log) },
	}
}

func setup(c *config.Config, s health.Sighting, all []string, log *slog.Logger) agent.Setup {
	for _, problem := range c.For(s).Problems {
		log.Error("part of the configuration cannot be used", "container", s.Ref.String(), "problem", problem)
	}
	k := c.For(s)
	out := agent.Setup{Policy: k.Policy, Channels: k.Notify, Runbook: k.Runbook, Ignore: k.Ignore}
	if k.Notify == nil {
		out.Channels = all
	}
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

// reload reads the configuration again and swaps it in whole, or not at all.
func (p *parts) reload(o *options) error {
	c, err := config.Load(o.config)
	if err != nil {
		return err
	}
	channels, err := makeChannels(c)
	if err != nil {
		return err
	}
	if p.dry != "" {
		rehearse(c, p.dry)
	}
	for _, block := range unswapped(p.config, c) {
		p.log.Warn("this part of the configuration changed, and is taken up when the agent is restarted", "block", block)
	}
	p.dispatcher.Swap(channels)
	p.agent.Swap(settings(c, p.log))
	return nil
}

// rehearse turns a configuration into that of a dry run: everything is watched, and what the agent keeps is kept in dir.
func rehearse(c *config.Config, dir string) {
	c.Mode = health.ModeObserve
	c.Store.Dir, c.Evidence.Dir, c.Control.Socket, c.Web.Listen = dir, dir+"/evidence", dir+"/control.sock", ""
}

// unswapped names what differs and is not taken up by a reload: p.config stays what the agent was started with.
func unswapped(old, now *config.Config) []string {
	var out []string
	for _, b := range []struct {
		name string
		same bool
	}{
		{"engines", reflect.DeepEqual(old.Engines, now.Engines)}, {"store", old.Store == now.Store},
		{"evidence", old.Evidence == now.Evidence}, {"web", old.Web == now.Web}, {"control", old.Control == now.Control},
		{"host", old.Host == now.Host}, {"log", old.Log == now.Log}, {"poll_held", old.PollHeld == now.PollHeld},
		{"limits.probes", old.Limits.Probes == now.Limits.Probes}, {"housekeeping", old.Housekeeping.String() == now.Housekeeping.String()},
	} {
		if !b.same {
			out = append(out, b.name)
		}
	}
	return out
}

// newLogger writes lines for people or JSON for machines. Under systemd the journal has times of its own.
func newLogger(w io.Writer, l config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
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

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"atalaya/agent/config"
	"atalaya/agent/health"
)

// A reloading is what reading the configuration again has come to. It is safe for concurrent use.
type reloading struct {
	level   *slog.LevelVar                // of the log
	current atomic.Pointer[config.Config] // the newest that was taken

	mu   sync.Mutex
	view health.ConfigView
}

func newReloading(c *config.Config, level *slog.LevelVar) *reloading {
	r := &reloading{level: level}
	r.taken(c, nil)
	return r
}

func (r *reloading) taken(c *config.Config, waiting []string) {
	r.current.Store(c)
	r.level.Set(logLevel(c.Log))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view = health.ConfigView{Loaded: time.Now().Round(0), Waiting: waiting}
}

// refused keeps what is wrong with a configuration that was not taken. What waited for a restart still does.
func (r *reloading) refused(err error) {
	first, rest, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if n := strings.Count(rest, "\n") + 1; rest != "" {
		first += fmt.Sprintf(" (and %d more)", n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Refused = first
}

// View tells what of the configuration does not hold.
func (r *reloading) View() health.ConfigView {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view
}

// reloads reads the configuration anew at each SIGHUP. What is wrong with it is said, and the last good one stays.
func (p *parts) reloads(ctx context.Context, o *options) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		notifyReloading()
		err := p.reload(o)
		if err != nil {
			p.log.Error("the configuration was not reloaded; the last good one stays", "err", err)
			p.reloading.refused(err)
		}
		notifyReloaded(err, p.reloading.View().Waiting)
	}
}

// reload reads the configuration again and swaps it in whole, or not at all. What is held open since the start, files,
// sockets and engines, is not swapped; that it waits for a restart is said, and shown for as long as it is so.
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
	waiting := unswapped(p.config, c)
	if len(waiting) > 0 {
		p.log.Warn("parts of the configuration are taken up only when the agent is restarted", "parts", waiting)
	}
	p.config.Secrets.AddAll(c.Secrets) // before anything can use them
	p.reloading.taken(c, waiting)
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
		{"host", old.Host == now.Host}, {"engines", reflect.DeepEqual(old.Engines, now.Engines)}, {"store", old.Store == now.Store},
		{"evidence.dir", old.Evidence.Dir == now.Evidence.Dir},
		{"evidence.before and evidence.after, which turn evidence on or off", wantsEvidence(old) == wantsEvidence(now)},
		{"web", old.Web == now.Web}, {"control", old.Control == now.Control}, {"log.format", old.Log.Format == now.Log.Format},
		{"host_wide.canaries", slices.Equal(old.HostWide.Canaries, now.HostWide.Canaries)},
		{"housekeeping", old.Housekeeping.String() == now.Housekeeping.String()},
	} {
		if !b.same {
			out = append(out, b.name)
		}
	}
	return out
}

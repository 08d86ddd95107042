package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"atalaya/agent/config"
	"atalaya/agent/health"
)

func runCommand(o *options) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Watch until told to stop: what the systemd service does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(o.config)
			if err != nil {
				return err
			}
			if dry {
				c.Mode = health.ModeObserve
			}
			return run(cmd.Context(), c, o, dry)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "watch and record, in a store of its own that is thrown away; touch nothing, send nothing")
	return cmd
}

// run is the life of the agent, from the first log line to the last.
func run(ctx context.Context, c *config.Config, o *options, dry bool) error {
	log := newLogger(os.Stderr, c.Log)
	if dry {
		dir, err := os.MkdirTemp("", "atalaya-dry-run-")
		if err != nil {
			return fmt.Errorf("make a store for the dry run: %w", err)
		}
		defer os.RemoveAll(dir)
		c.Store.Dir, c.Evidence.Dir = dir, dir+"/evidence"
		log.Warn("dry run: everything is watched, nothing is touched, nothing is sent")
	}
	p, err := assemble(ctx, c, log)
	if err != nil {
		return err
	}
	defer p.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range p.services() {
		wg.Go(func() {
			if err := s.run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", s.name, err))
			}
		})
	}
	wg.Go(func() { p.reloads(ctx, o) })
	wg.Go(func() { watchdog(ctx, p, log) })
	log.Info("watching", "version", version, "host", p.identity.FQDN, "mode", string(c.Mode), "config", c.Path, "pid", os.Getpid())
	p.agent.Run(ctx)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	log.Info("stopped in order")
	return nil
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
		if err := p.reload(o); err != nil {
			p.log.Error("the configuration was not reloaded; the last good one stays", "err", err)
		}
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	}
}

// notifyReloading tells systemd, which wants the time of the monotonic clock with it: see sd_notify(3).
func notifyReloading() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
		_, _ = daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, ts.Nano()/1000))
	}
}

// watchdog tells systemd that the agent is ready, and then that it lives, for as long as the decision loop turns.
func watchdog(ctx context.Context, p *parts, log *slog.Logger) {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := p.agent.Alive(every); err != nil {
			log.Error("systemd is not told that the agent lives", "err", err)
			continue
		}
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	}
}

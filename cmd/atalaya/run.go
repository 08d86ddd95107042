package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
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
			return run(cmd.Context(), c, o, dry)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "watch and record, in a store of its own that is thrown away; touch nothing, send nothing")
	return cmd
}

// run is the life of the agent, from the first log line to the last.
func run(ctx context.Context, c *config.Config, o *options, dry bool) error {
	level := &slog.LevelVar{}
	log, rehearsal := newLogger(os.Stderr, c.Log, level), ""
	if dry {
		dir, err := os.MkdirTemp("", "atalaya-dry-run-")
		if err != nil {
			return fmt.Errorf("make a store for the dry run: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // in the temporary folder, which is cleared anyway
		rehearse(c, dir)
		rehearsal = dir
		log.Warn("dry run: everything is watched, nothing is touched, nothing is sent")
	}
	p, err := assemble(ctx, c, log, newReloading(c, level), rehearsal)
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
	wg.Go(func() { supervised(ctx, p, log) })
	log.Info("watching", "version", version, "host", p.identity.FQDN, "mode", string(c.Mode), "config", c.Path, "pid", os.Getpid())
	p.agent.Run(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	log.Info("stopped in order")
	return nil
}

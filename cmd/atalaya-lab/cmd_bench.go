package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atalaya/cmd/atalaya-lab/bench"
	"atalaya/cmd/atalaya-lab/floor"
	"atalaya/cmd/atalaya-lab/rig"
)

func benchCommand() *cobra.Command {
	o := bench.Options{Out: os.Stdout}
	c := &cobra.Command{
		Use:   "bench",
		Short: "measure the agent beside the floor program, on real containers (40 minutes)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := able(); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the lab's own binary: %w", err)
			}
			o.Lab = self
			return rig.Play(os.Stdout, func(s *rig.Stage) error {
				o.Stage = s
				return bench.Run(cmd.Context(), o)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Agent, "agent", "bin/atalaya", "the agent's binary")
	f.StringVar(&o.UnitFile, "unit", "systemd/atalaya.service", "the agent's unit")
	f.StringSliceVar(&o.Only, "only", nil, "parts to measure: "+strings.Join(bench.Parts(), ", ")+" (all)")
	f.StringSliceVar(&o.Engines, "engines", nil, "engines to measure: "+strings.Join(bench.Engines(), ", ")+" (all)")
	f.BoolVar(&o.Inside, "inside", false, "this is the host with systemd that nspawn is measured on")
	_ = f.MarkHidden("inside")
	f.IntVar(&o.Kills, "kills", 200, "kills per contender")
	f.IntVar(&o.Windows, "windows", 5, "windows of which the medians are printed")
	f.DurationVar(&o.Window, "window", time.Minute, "length of one window, a multiple of 10s")
	return c
}

func floorCommand() *cobra.Command {
	o := floor.Options{Out: os.Stdout}
	var urls, tcp string
	c := &cobra.Command{
		Use:   "floor",
		Short: "run the floor program: pidfds, lxc-start at once, and nothing else",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.URLs, err = lines(urls); err != nil {
				return err
			}
			if o.TCP, err = lines(tcp); err != nil {
				return err
			}
			return floor.Run(cmd.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Path, "path", "", "the lxcpath whose running containers it keeps running")
	f.StringVar(&urls, "urls", "", "file of URLs to GET, one a line")
	f.StringVar(&tcp, "tcp", "", "file of host:port to connect to, one a line")
	f.BoolVar(&o.Units, "units", false, "start by systemd-run, in a transient unit")
	f.DurationVar(&o.Every, "every", 10*time.Second, "how often it lists and probes")
	return c
}

// lines reads a file of one target a line; no file, no targets.
func lines(file string) (list []string, err error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the targets: %w", err)
	}
	defer func() { _ = f.Close() }()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if line := strings.TrimSpace(scan.Text()); line != "" {
			list = append(list, line)
		}
	}
	return list, scan.Err()
}

package main

import (
	"os"

	"github.com/spf13/cobra"

	"atalaya/cmd/atalaya-lab/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{Out: os.Stdout}
	c := &cobra.Command{
		Use:   "demo",
		Short: "break three real containers and watch the agent bring them back (under a minute)",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return demo.Run(cmd.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.Agent, "agent", "bin/atalaya", "the agent's binary")
	f.StringVar(&o.Keep, "keep", "", "folder for bundles, alerts and metrics (default a new one in the temporary folder)")
	f.StringVar(&o.Mode, "mode", "heal", "heal, or observe: then nothing may be healed")
	return c
}

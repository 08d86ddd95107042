package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"atalaya/cmd/atalaya-lab/rig"
)

// able says what this machine lacks for real containers.
func able() error {
	if lacks := rig.Lacking("root", "lxc", "busybox"); len(lacks) > 0 {
		return errors.New("real containers need " + strings.Join(lacks, ", ") + "; packages: cmd/atalaya-lab/packages.sh demo")
	}
	return nil
}

func rigCommand() *cobra.Command {
	var o rig.LXCOptions
	c := &cobra.Command{
		Use:   "rig",
		Short: "bring up real LXC containers to play with, until interrupted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := able(); err != nil {
				return err
			}
			return rig.Play(os.Stdout, func(s *rig.Stage) error {
				l := rig.NewLXC(s, o)
				fmt.Printf("lxcpath %s\nbridge  %s %s\n", l.Path(), l.Bridge(), l.Subnet())
				for _, name := range l.Names() {
					fmt.Printf("%-8s%s\n", name, l.URL(name))
				}
				fmt.Printf("\nlook:   lxc-ls -P %s -f\nbreak:  kill -9 $(lxc-info -P %s -n web1 -pH)\nInterrupt (Ctrl-C) removes everything.\n", l.Path(), l.Path())
				<-cmd.Context().Done()
				return nil
			})
		},
	}
	f := c.Flags()
	f.IntVarP(&o.N, "containers", "n", 3, "how many")
	f.BoolVar(&o.RandomMAC, "random-mac", false, "a new MAC at every start")
	f.BoolVar(&o.OwnRoot, "own-root", false, "a root of its own for each")
	f.BoolVar(&o.NoAutostart, "no-autostart", false, "leave out lxc.start.auto")
	return c
}

func sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "remove the containers, bridges and folders that killed tests and demos left behind",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			swept, err := rig.Sweep()
			if len(swept) > 0 {
				fmt.Println("swept", strings.Join(swept, ", "))
			}
			return err
		},
	}
}

package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/health"
	"atalaya/agent/web"
)

func holdCommand(o *options) *cobra.Command {
	var all bool
	var length period
	var reason string
	cmd := &cobra.Command{
		Use:     "hold NAME|--all --for TIME --reason TEXT",
		Short:   "Hands off: nothing is started or restarted for a time; it is still watched",
		Example: "  atalaya hold web1 --for 2h --reason \"new disk\"\n  atalaya hold --all --for 30m --reason \"kernel update\"",
		Args:    nameOrAll(&all), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := web.OrderRequest{Kind: health.OrderHold, All: all, For: web.Duration(length), Reason: reason}
			if !all {
				q.Name = args[0]
			}
			switch {
			case length == 0:
				return misused("for how long? --for 2h: nobody remembers to end a hold that has no end")
			case reason == "":
				return misused("why? --reason \"disk swap\": whoever finds the hold must know")
			}
			return o.order(cmd, q, said("is on hold for "+span(time.Duration(length))))
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every container of this host, also those that are created meanwhile")
	cmd.Flags().Var(&length, "for", "how long: 30m, 2h, 7d")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds it")
	return cmd
}

func releaseCommand(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "release NAME|--all",
		Short: "End a hold before its time",
		Args:  nameOrAll(&all), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := web.OrderRequest{Kind: health.OrderRelease, All: all}
			if !all {
				q.Name = args[0]
			}
			return o.order(cmd, q, func(name string, r web.OrderReply) string {
				if slices.Contains(r.Released, name) {
					return "the hold on " + name + " is ended"
				}
				return name + " was not on hold"
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every container of this host")
	return cmd
}

// nameOrAll wants one name, or --all, and never both: "hold web1 --all" would hold more than was meant.
func nameOrAll(all *bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case *all && len(args) > 0:
			return misused("%q and --all: one of the two", args[0])
		case !*all && len(args) == 0:
			return misused("which container? 'atalaya status' lists their names; --all means every one")
		case len(args) > 1:
			return misused("one container at a time, or --all; there is %q, too", args[1])
		}
		return nil
	}
}

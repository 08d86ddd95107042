package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"atalaya/agent/health"
	"atalaya/agent/web"
)

func wantCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "want NAME",
		Short: "Say that a container should be running, whatever its engine's autostart says; starts it if it is down",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.order(cmd, web.OrderRequest{Kind: health.OrderWant, Name: args[0]}, said("should be running"))
		},
	}
}

func unwantCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "unwant NAME",
		Short: "Say that a container need not be running: it is left as it is, and opens no incident",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.order(cmd, web.OrderRequest{Kind: health.OrderUnwant, Name: args[0]}, said("need not be running"))
		},
	}
}

// said says the same of every container that an order was taken for.
func said(what string) func(string, web.OrderReply) string {
	return func(name string, _ web.OrderReply) string { return name + " " + what }
}

// order gives one order and tells what came of it, a line for each container.
func (o *options) order(cmd *cobra.Command, q web.OrderRequest, says func(name string, r web.OrderReply) string) error {
	if err := q.Validate(); err != nil {
		return misused("%w", err)
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	r, err := c.Order(cmd.Context(), q)
	if err != nil {
		return hinted(err)
	}
	if r.Warning != "" {
		o.say("%s", clean(r.Warning))
	}
	if o.json() {
		r.Containers = list(r.Containers)
		return writeJSON(o.screen.out, r)
	}
	if len(r.Containers) == 0 {
		r.Containers = []string{"every container that appears"}
	}
	for _, name := range r.Containers {
		fmt.Fprintf(o.screen.out, "%s, by %s\n", clean(says(name, r)), clean(r.By))
	}
	return nil
}

// hinted puts the agent's hint under its error.
func hinted(err error) error {
	if no, ok := errorAs[*web.Refusal](err); ok && no.Hint != "" {
		return fmt.Errorf("%s\n%s", clean(no.Text), clean(no.Hint))
	}
	return err
}

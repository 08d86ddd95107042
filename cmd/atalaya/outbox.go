package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"atalaya/agent/web"
)

func outboxCommand(o *options) *cobra.Command {
	var all bool
	show := func(cmd *cobra.Command, _ []string) error {
		return o.outbox(cmd.Context(), all)
	}
	listing := &cobra.Command{Use: "list", Short: "List alerts that are not delivered", Args: cobra.NoArgs, RunE: show}
	cmd := group("outbox", "Alerts on their way: list them, send one again, give one up", listing,
		o.alertCommand("retry", "Send an alert again now, a dead letter too", (*web.Client).Retry, "will be sent again"),
		o.alertCommand("drop", "Give an alert up: it is deleted and never sent", (*web.Client).Drop, "is given up"))
	cmd.RunE = show
	for _, c := range []*cobra.Command{cmd, listing} {
		c.Flags().BoolVar(&all, "all", false, "those that were delivered, too")
	}
	return cmd
}

func (o *options) outbox(ctx context.Context, all bool) error {
	out, err := reading(o, fromStore, func(r records) ([]web.Alert, error) { return r.Outbox(ctx, all) })
	if err != nil {
		return err
	}
	if o.json() {
		return writeJSON(o.screen.out, out)
	}
	if len(out) == 0 {
		fmt.Fprintln(o.screen.out, "every alert is delivered")
		return nil
	}
	t := table{head: []string{"ID", "CHANNEL", "STATE", "QUEUED", "TRIES", "KIND", "WHAT"}}
	for _, r := range out {
		st := map[string]style{"dead": red, "pending": yellow, "sent": green}[r.State]
		text := r.Summary
		if r.Error != "" && r.State != "sent" {
			text += "; latest try: " + r.Error
		}
		t.add(cell{strconv.FormatInt(r.ID, 10), plain}, cell{clean(r.Channel), plain}, cell{r.State, st}, cell{moment(r.Queued), plain},
			cell{strconv.Itoa(r.Tries), plain}, cell{r.Kind, plain}, cell{clean(text), plain})
	}
	t.print(o.screen)
	return nil
}

// alertCommand does something about one alert, by the agent.
func (o *options) alertCommand(use, short string, act func(*web.Client, context.Context, int64) error, says string) *cobra.Command {
	return &cobra.Command{
		Use: use + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return misused("%q is no number of an alert; 'atalaya outbox' lists them", args[0])
			}
			c, err := o.client()
			if err != nil {
				return err
			}
			if err := act(c, cmd.Context(), id); err != nil {
				return hinted(err)
			}
			if o.json() {
				return writeJSON(o.screen.out, map[string]any{"id": id, "done": use})
			}
			fmt.Fprintf(o.screen.out, "alert %d %s\n", id, says)
			return nil
		},
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

func incidentsCommand(o *options) *cobra.Command {
	var f store.Filter
	var back period
	cmd := &cobra.Command{
		Use:     "incidents [ID]",
		Aliases: []string{"incident"},
		Short:   "List incidents, newest first, or tell the story of one",
		Example: "  atalaya incidents --open\n  atalaya incidents --since 7d\n  atalaya incidents 20260705-1403     # as much of the id as tells it from others",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return o.incident(cmd.Context(), args[0])
			}
			if back > 0 {
				f.Since = time.Now().Add(-time.Duration(back))
			}
			all, err := reading(o, fromStore, func(r records) ([]health.Incident, error) { return r.Incidents(cmd.Context(), f) })
			if err != nil {
				return err
			}
			if o.json() {
				return writeJSON(o.screen.out, list(all))
			}
			printIncidents(o.screen, all, time.Now())
			return nil
		},
	}
	cmd.Flags().BoolVar(&f.Open, "open", false, "only those that are not resolved")
	cmd.Flags().Var(&back, "since", "only those opened in so long a time: 24h, 7d")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most so many; 0 means all")
	return cmd
}

func printIncidents(s screen, all []health.Incident, now time.Time) {
	if len(all) == 0 {
		fmt.Fprintln(s.out, "no incidents")
		return
	}
	t := table{head: []string{"INCIDENT", "CONTAINER", "OPENED", "LASTED", "WHAT"}}
	for _, in := range all {
		st, lasted, word := green, since(in.Opened, in.Resolved), in.How
		if in.Resolved.IsZero() {
			st, lasted, word = red, since(in.Opened, now)+", open", "open"
		}
		if in.Escalated {
			word += ", escalated"
		}
		t.add(cell{in.ID, plain}, cell{called(in.Ref, in.Name), plain}, cell{moment(in.Opened), plain}, cell{lasted, st},
			cell{clean(in.Reason + "; " + word), plain})
	}
	t.print(s)
}

// incident tells the story of one.
func (o *options) incident(ctx context.Context, id string) error {
	st, err := reading(o, fromStore, func(r records) (web.Story, error) { return r.Story(ctx, id) })
	if err != nil {
		return err
	}
	if o.json() {
		return writeJSON(o.screen.out, st)
	}
	printStory(o.screen, st)
	return nil
}

func printStory(s screen, st web.Story) {
	in := st.Incident
	fmt.Fprintf(s.out, "%s  %s\n", s.paint(bold, in.ID), s.paint(bold, called(in.Ref, in.Name)))
	for _, p := range [][2]string{
		{"what", in.Reason}, {"since", moment(in.Opened)}, {"confirmed", confirmed(in)}, {"resolved", moment(in.Resolved)}, {"how", in.How},
		{"attempts", fmt.Sprint(in.Attempts)}, {"answer", in.LastErr}, {"cause", in.Cause},
	} {
		if p[1] != "" {
			fmt.Fprintf(s.out, "  %-9s %s\n", p[0], clean(p[1]))
		}
	}
	if in.Resolved.IsZero() {
		fmt.Fprintln(s.out, "  "+s.paint(red, "it is still open"))
	}
	if len(st.Timeline) > 0 {
		fmt.Fprintln(s.out)
		t := table{head: []string{"TIME", "AFTER", "KIND", "WHAT"}}
		for _, l := range st.Timeline {
			t.add(cell{l.At.Local().Format("15:04:05.000"), plain}, cell{"+" + exact(l.At.Sub(in.Opened)), dim}, cell{l.Kind, dim}, cell{clean(l.Text), plain})
		}
		t.print(s)
	}
	for i, b := range st.Bundles {
		if i == 0 {
			fmt.Fprintf(s.out, "\nevidence ('atalaya evidence show %s' opens it):\n", in.ID)
		}
		fmt.Fprintf(s.out, "  %s  %s  sha256 %s\n", clean(b.Path), bytesText(b.Size), b.SHA256)
	}
}

// confirmed is when it was sure, where that is later than when it began.
func confirmed(in health.Incident) string {
	if in.Confirmed.Sub(in.Opened) < time.Millisecond {
		return ""
	}
	return moment(in.Confirmed)
}

// exact is a span in which milliseconds count.
func exact(d time.Duration) string {
	if d < time.Minute && d > -time.Minute {
		return d.Round(time.Millisecond).String()
	}
	return span(d)
}

func bytesText(n int64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// errorAs finds an error of type E.
func errorAs[E error](err error) (E, bool) {
	var e E
	ok := errors.As(err, &e)
	return e, ok
}

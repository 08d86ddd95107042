package main

import (
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/store"
)

func simulateCommand(o *options) *cobra.Command {
	back := period(7 * 24 * time.Hour)
	var glob string
	var asJSON bool
	limit := 40
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Replay what was recorded through the decisions: what would be done by this configuration, beside what was",
		Example: "  atalaya simulate --since 7d --config new.yaml       try a new policy on last week\n" +
			"  atalaya simulate --container 'web*'                 by the configuration that holds",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := path.Match(glob, ""); err != nil {
				return misused("--container %q: it is a name with * and ?, like web*", glob)
			}
			c, err := o.load()
			if err != nil {
				return err
			}
			since := time.Now().Add(-time.Duration(back))
			runs, err := reading(o, fromStore, func(r records) ([]store.Run, error) { return r.Journal(cmd.Context(), since) })
			if err != nil {
				return err
			}
			began := time.Now()
			out, err := agent.Replay(cmd.Context(), agent.ReplayOptions{Journal: runs, Settings: settings(c, slog.New(slog.DiscardHandler)),
				Host: host.Identity(c.Host.Site), Since: since})
			if err != nil {
				return err
			}
			out = out.Only(func(ref health.Ref, name string) bool { return fitsGlob(glob, ref, name) })
			if asJSON || o.json() {
				out.Containers, out.Differences, out.Assumed = list(out.Containers), list(out.Differences), list(out.Assumed)
				out.Notes, out.Deeds = list(out.Notes), list(out.Deeds)
				return writeJSON(o.screen.out, out)
			}
			where := c.Path
			if where == "" {
				where = "the built-in defaults"
			}
			printReplayed(o.screen, out, where, time.Since(began), limit)
			return nil
		},
	}
	cmd.Flags().Var(&back, "since", "how far back: 24h, 7d")
	cmd.Flags().StringVar(&glob, "container", "", "only containers whose name fits: 'web*', 'lxc/db?'")
	cmd.Flags().IntVar(&limit, "limit", limit, "print at most so many differences; 0 means all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

// fitsGlob tells whether a container is meant.
func fitsGlob(glob string, ref health.Ref, name string) bool {
	if glob == "" {
		return true
	}
	for _, n := range []string{name, ref.ID, ref.String(), ref.Engine + "/" + name} {
		if ok, _ := path.Match(glob, n); ok { // the pattern was looked at before
			return true
		}
	}
	return false
}

func printReplayed(s screen, r agent.Replayed, where string, took time.Duration, limit int) {
	fmt.Fprintf(s.out, "%s of %s, until %s, by %s (%s)\n\n", s.paint(bold, span(r.Until.Sub(r.Since))), plural(r.Watched, "container"), moment(r.Until),
		clean(where), span(took))
	if len(r.Deeds) == 0 {
		fmt.Fprintln(s.out, "nothing was done then, and nothing would have been")
	} else {
		printTallies(s, r)
	}
	if len(r.Differences) == 0 && len(r.Deeds) > 0 {
		fmt.Fprintln(s.out, s.paint(green, "\nthe same would have been done and told"))
	}
	printDifferences(s, r, limit)
	for i, a := range r.Assumed {
		if i == 0 {
			fmt.Fprintln(s.out, "\nwhat the record cannot tell, and is assumed:")
		}
		s.paragraph("  ", plural(a.Count, "time")+": "+a.What+few(a.Containers))
	}
	for i, n := range r.Notes {
		if i == 0 {
			fmt.Fprintln(s.out, "\nto be known:")
		}
		s.paragraph("  ", n)
	}
}

func printTallies(s screen, r agent.Replayed) {
	t := table{head: []string{"CONTAINER", "ATTEMPTS", "RESTARTS", "INCIDENTS", "ALERTS", "DOWN"}}
	row := func(name string, then, now agent.Tally) {
		t.add(cell{name, plain}, counts(then.Attempts, now.Attempts), counts(then.Restarts, now.Restarts), counts(then.Incidents, now.Incidents),
			counts(then.Alerts, now.Alerts), spans(then.Down, now.Down))
	}
	for _, c := range r.Containers {
		row(called(c.Ref, c.Name), c.Then, c.Now)
	}
	if r.Host.Then != (agent.Tally{}) || r.Host.Now != (agent.Tally{}) {
		row("the host", r.Host.Then, r.Host.Now)
	}
	row("in all", r.Then, r.Now)
	t.print(s)
}

// counts shows one number, or what it was and what it would have been.
func counts(then, now int) cell {
	switch {
	case then == now:
		return cell{fmt.Sprint(then), plain}
	case now > then:
		return cell{fmt.Sprintf("%d -> %d", then, now), red}
	}
	return cell{fmt.Sprintf("%d -> %d", then, now), green}
}

func spans(then, now time.Duration) cell {
	a, b := span(then), span(now)
	switch {
	case a == b:
		return cell{a, plain}
	case now > then:
		return cell{a + " -> " + b, red}
	}
	return cell{a + " -> " + b, green}
}

func printDifferences(s screen, r agent.Replayed, limit int) {
	if len(r.Differences) == 0 {
		return
	}
	fmt.Fprintln(s.out, "\nwhere they differ:")
	shown := r.Differences
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	t := table{head: []string{"TIME", "CONTAINER", "THEN", "NOW", "WHY"}}
	for _, d := range shown {
		name := "the host"
		if d.Ref != (health.Ref{}) {
			name = called(d.Ref, d.Name)
		}
		t.add(cell{d.At.Local().Format("01-02 15:04:05"), dim}, cell{name, plain}, cell{clean(orNothing(d.Then)), plain}, cell{clean(orNothing(d.Now)), plain}, cell{clean(d.Why), plain})
	}
	t.print(s)
	if n := len(r.Differences) - len(shown); n > 0 {
		fmt.Fprintf(s.out, "and %d more: --limit 0 shows all\n", n)
	}
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// few names the containers concerned.
func few(refs []health.Ref) string {
	var names []string
	for _, r := range refs {
		names = append(names, r.String())
	}
	if len(names) == 0 {
		return ""
	}
	if n := len(names); n > 5 {
		names = append(slices.Clone(names[:5]), fmt.Sprintf("%d others", n-5))
	}
	return " (" + strings.Join(names, ", ") + ")"
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent"
	"atalaya/agent/config"
	"atalaya/agent/health"
	"atalaya/agent/web"
)

func explainCommand(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say in plain words why a container is judged as it is, and what happens next, and when",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := o.explanation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON || o.json() {
				return writeJSON(o.screen.out, e)
			}
			printExplanation(o.screen, e)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

// explanation asks the agent. When it cannot be asked, what the last one stored is explained, and that is said.
func (o *options) explanation(ctx context.Context, name string) (health.Explanation, error) {
	var none health.Explanation
	c, err := o.client()
	if err != nil {
		return none, unsure(err)
	}
	e, err := c.Explain(ctx, name)
	if _, refused := errorAs[*web.Refusal](err); refused || err == nil {
		return e, hinted(err)
	}
	s, cfg, storeErr := o.store()
	if storeErr != nil {
		return none, unsure(fmt.Errorf("%w\nwithout it: %w", err, storeErr))
	}
	defer s.Close()
	l, loadErr := s.Load(ctx)
	if loadErr != nil {
		return none, unsure(fmt.Errorf("%w\nwithout it: %w", err, loadErr))
	}
	o.say("%v", err)
	o.say("this is what was stored last, at %s", moment(l.LastAt))
	var fits []health.State
	for _, st := range l.States {
		if name == st.Ref.String() || name == st.Name || name == st.Ref.Engine+"/"+st.Name {
			fits = append(fits, st)
		}
	}
	if len(fits) != 1 {
		return none, fmt.Errorf("%d containers are called %q; 'atalaya status' lists them", len(fits), clean(name))
	}
	e = health.Explain(cfg.For(sightOf(fits[0])).Policy, fits[0], l.LastAt, func(t time.Time) time.Time { return t })
	notes, err := s.Notes(ctx, e.Ref, agent.ExplainMoments)
	for _, n := range notes {
		e.Moments = append(e.Moments, health.Moment{At: n.At, Kind: n.Kind, Text: n.Text})
	}
	e.Rules = rules(cfg, fits[0].Ref, fits[0].Name, fits[0].Tags)
	return e, err
}

func sightOf(s health.State) health.Sighting {
	return health.Sighting{Ref: s.Ref, Name: s.Name, Tags: s.Tags}
}

// explain answers for the running agent.
func (p *parts) explain(ctx context.Context, name string) (health.Explanation, error) {
	e, err := p.agent.Explain(ctx, name)
	if refused, ok := errorAs[*agent.OrderError](err); ok {
		return e, &web.Refusal{Text: refused.Text}
	}
	if err == nil {
		e.Rules = rules(p.reloading.current.Load(), e.Ref, e.Name, e.Tags)
	}
	return e, err
}

// rules are the keys that decide about a container and that somebody set, each with its place. What is built in everybody
// has.
func rules(c *config.Config, ref health.Ref, name string, tags []string) []string {
	k := c.For(health.Sighting{Ref: ref, Name: name, Tags: tags})
	return slices.DeleteFunc(slices.Clone(list(k.Trace)), func(l string) bool { return strings.HasSuffix(l, "(built-in)") })
}

func printExplanation(s screen, e health.Explanation) {
	fmt.Fprintf(s.out, "%s  %s\n", s.paint(bold, called(e.Ref, e.Name)), s.paint(phaseStyle(e.Phase), string(e.Phase)))
	for _, w := range e.Words {
		s.paragraph("  ", w)
	}
	next := e.Next
	if !e.NextAt.IsZero() {
		next += ", at " + moment(e.NextAt)
		if d := e.NextAt.Sub(e.At); d > 0 {
			next += " (in " + span(d) + ")"
		}
	}
	s.paragraph(s.paint(bold, "  Next: "), next+".")
	if e.Incident != "" {
		s.paragraph("  ", "Its incident: 'atalaya incidents "+e.Incident+"'.")
	}
	if len(e.Moments) > 0 {
		fmt.Fprintln(s.out, "\nwhat led there:")
		t := table{head: []string{"TIME", "KIND", "WHAT"}}
		for _, m := range e.Moments {
			t.add(cell{m.At.Local().Format("01-02 15:04:05.000"), dim}, cell{m.Kind, dim}, cell{clean(m.Text), plain})
		}
		t.print(s)
	}
	if len(e.Rules) == 0 {
		fmt.Fprintln(s.out, "\nall of it by the built-in rules ('atalaya config show "+clean(e.Ref.String())+"')")
		return
	}
	fmt.Fprintln(s.out, "\nby these rules, and the built-in ones ('atalaya config show "+clean(e.Ref.String())+"' has all):")
	for _, r := range e.Rules {
		fmt.Fprintln(s.out, "  "+clean(r))
	}
}

// paragraph prints prose, wrapped on a terminal.
func (s screen) paragraph(head, text string) {
	room := s.width - 4
	if s.width == 0 || room < 20 {
		fmt.Fprintln(s.out, head+clean(text))
		return
	}
	for i, line := range wrap(clean(text), room) {
		if i > 0 {
			head = "    "
		}
		fmt.Fprintln(s.out, head+line)
	}
}

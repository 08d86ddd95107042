package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"atalaya/agent/config"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/agent/store"
	"atalaya/probes"
)

func configCommand(o *options) *cobra.Command {
	return group("config", "Check the configuration, and show what holds", configCheck(o), configShow(o))
}

func configCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say everything that is wrong with a configuration, each with its line; exits with 1 if anything is",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := o.config
			if len(args) == 1 {
				path = args[0]
			}
			c, err := config.Load(path)
			problems, told := errorAs[config.Errors](err)
			if err != nil && !told {
				return err
			}
			var warnings []config.Problem
			where := path
			if c != nil {
				warnings, where = c.Warnings, c.Path
			}
			if o.json() {
				if err := writeJSON(o.screen.out, map[string]any{"file": where, "errors": list([]config.Problem(problems)), "warnings": list(warnings)}); err != nil {
					return err
				}
			} else {
				printProblems(o.screen, where, problems, warnings)
			}
			if len(problems) > 0 {
				return &ending{code: exitWrong}
			}
			return nil
		},
	}
}

func printProblems(s screen, where string, errs, warnings []config.Problem) {
	for _, p := range errs {
		fmt.Fprintln(s.out, clean(p.String()))
	}
	for _, p := range warnings {
		fmt.Fprintln(s.out, s.paint(yellow, "warning: ")+clean(p.String()))
	}
	switch {
	case len(errs) > 0:
		fmt.Fprintln(s.out, s.paint(red, plural(len(errs), "mistake")))
	case where == "":
		fmt.Fprintln(s.out, "there is no configuration file; the built-in defaults hold")
	default:
		fmt.Fprintln(s.out, clean(where)+": "+s.paint(green, "good"))
	}
}

func configShow(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "Print the effective configuration, or what holds for one container and which rule says so",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return o.rendered(c)
			}
			g, from, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return o.traced(c.For(g), g, from)
		},
	}
}

// rendered prints the whole configuration: YAML for people, the same tree as JSON for programs.
func (o *options) rendered(c *config.Config) error {
	if !o.json() {
		return c.Render(o.screen.out)
	}
	var text bytes.Buffer
	if err := c.Render(&text); err != nil {
		return err
	}
	var tree any
	if err := yaml.Unmarshal(text.Bytes(), &tree); err != nil {
		return fmt.Errorf("read back the effective configuration: %w", err)
	}
	return writeJSON(o.screen.out, tree)
}

// A traced is what holds for one container, for programs. Secrets in it print as [redacted].
type traced struct {
	Ref      health.Ref    `json:"ref"`
	Name     string        `json:"name"`
	Known    string        `json:"known"` // where the container was found: listed, stored, or not at all
	Ignore   bool          `json:"ignore"`
	Policy   health.Policy `json:"policy"`
	Probes   []probes.Spec `json:"probes"`
	Notify   []string      `json:"notify"` // null: all channels
	Trace    []string      `json:"trace"`
	Problems []string      `json:"problems"`
}

func (o *options) traced(k config.Container, g health.Sighting, from string) error {
	if o.json() {
		return writeJSON(o.screen.out, traced{Ref: g.Ref, Name: g.Name, Known: from, Ignore: k.Ignore, Policy: k.Policy, Probes: list(k.Probes),
			Notify: k.Notify, Trace: list(k.Trace), Problems: list(k.Problems)})
	}
	name := called(g.Ref, g.Name)
	if g.Ref.Engine == "" {
		name = clean(g.Name)
	}
	fmt.Fprintln(o.screen.out, o.screen.paint(bold, name)+" ("+from+")")
	if k.Ignore {
		fmt.Fprintln(o.screen.out, o.screen.paint(yellow, "it is ignored: neither watched nor shown"))
	}
	for _, p := range k.Problems {
		warn(o.screen, p, "")
	}
	t := table{head: []string{"KEY", "VALUE", "FROM"}}
	for _, l := range k.Trace {
		key, rest, _ := strings.Cut(l, " = ")
		i := max(0, strings.LastIndex(rest, "  ("))
		t.add(cell{clean(key), plain}, cell{clean(rest[:i]), plain}, cell{clean(strings.Trim(rest[i:], " ()")), dim})
	}
	t.print(o.screen)
	return nil
}

// find looks for a container by name: among those that the engines list, then among those that are stored. What is not
// there is taken as a name, so that rules can be tried before the container exists.
func find(ctx context.Context, c *config.Config, name string) (health.Sighting, string, error) {
	var fits []health.Sighting
	add := func(g health.Sighting) {
		if name == g.Ref.String() || name == g.Name || name == g.Ref.Engine+"/"+g.Name {
			fits = append(fits, g)
		}
	}
	from := "listed by its engine"
	x := hostexec.New(hostexec.Options{})
	defer x.Close()
	seen, err := lookAt(ctx, c, x)
	if err == nil {
		for _, e := range seen {
			for _, g := range e.listing.Containers {
				add(g)
			}
		}
	}
	if s, err := store.OpenReadOnly(c.Store.Dir); err == nil && len(fits) == 0 {
		defer s.Close()
		if l, err := s.Load(ctx); err == nil {
			from = "not listed now; known from before, without its tags"
			for _, st := range l.States {
				add(health.Sighting{Ref: st.Ref, Name: st.Name})
			}
		}
	}
	switch len(fits) {
	case 0:
		return named(name), "no container is called so; rules are tried on the name alone", nil
	case 1:
		return fits[0], from, nil
	}
	var all []string
	for _, g := range fits {
		all = append(all, called(g.Ref, g.Name))
	}
	return health.Sighting{}, "", errors.New(clean(name) + " fits several containers: " + strings.Join(all, ", ") + "; name one of them in full")
}

// named reads "web1", "lxc/web1" or "lxc:backup/web1".
func named(name string) health.Sighting {
	g := health.Sighting{Name: name}
	if place, id, ok := strings.Cut(name, "/"); ok {
		g.Name = id
		g.Ref.Engine, g.Ref.Instance, _ = strings.Cut(place, ":")
	}
	g.Ref.ID = g.Name
	return g
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/hostexec"
	"atalaya/agent/sentinel"
	"atalaya/agent/web"
)

func doctorCommand(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say of each engine and of this host what an agent can do here, what it cannot know, and what would make it better",
		Long: "Look once, and change nothing: of each engine its tool, version, rights and containers, and what cannot be known through it;\n" +
			"of this host everything that an agent needs. Each finding says what is there, why it matters and what to do.\n" +
			"Exits with 1 if anything would stop healing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return unsure(err)
			}
			d := examine(cmd.Context(), c)
			if o.json() {
				err = writeJSON(o.screen.out, d)
			} else {
				d.print(o.screen, all)
			}
			if err == nil && d.Exit != exitWell {
				return &ending{code: d.Exit}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print what is well, too")
	return cmd
}

// A diagnosis is what the doctor found.
type diagnosis struct {
	At        time.Time            `json:"at"`
	Host      health.Host          `json:"host"`
	Version   string               `json:"version"`
	Instances []engine.Examination `json:"instances"`
	Findings  []health.Finding     `json:"findings"` // about the host
	Exit      int                  `json:"exit"`     // 1: something would stop healing
}

func examine(ctx context.Context, c *config.Config) diagnosis {
	d := diagnosis{At: time.Now(), Host: host.Identity(c.Host.Site), Version: version, Instances: []engine.Examination{}}
	x := hostexec.New(hostexec.Options{})
	defer x.Close()
	view, err := web.Dial(c.Control.Socket).View(ctx)
	d.Findings = host.Examine(ctx, host.Patient{StateDir: c.Store.Dir, Agent: view.PID})
	d.Findings = append(d.Findings, sentinel.Examine()...)
	d.Findings = append(d.Findings, web.ExamineControl(c.Control.Socket, c.Control.Group, err == nil)...)
	specs := c.Engines
	if len(specs) == 0 {
		specs = engine.Discover(ctx, x)
	}
	if len(specs) == 0 {
		d.Findings = append(d.Findings, engine.NoEngine())
	}
	d.Instances = make([]engine.Examination, len(specs))
	var wg sync.WaitGroup
	for n, s := range specs {
		wg.Go(func() { d.Instances[n] = examineOne(ctx, x, s) })
	}
	wg.Wait()
	stops := slices.ContainsFunc(d.Instances, func(e engine.Examination) bool { return health.StopsHealing(e.Findings) })
	if stops || health.StopsHealing(d.Findings) {
		d.Exit = exitWrong
	}
	return d
}

func examineOne(ctx context.Context, x *hostexec.Host, s engine.Spec) engine.Examination {
	r, err := runnerOf(x, s)
	if err != nil {
		return engine.Unopened(s, err)
	}
	i, err := engine.Open(s, r, slog.New(slog.DiscardHandler))
	if err != nil {
		return engine.Unopened(s, err)
	}
	return i.Examine(ctx)
}

func (d diagnosis) print(s screen, all bool) {
	fmt.Fprintf(s.out, "%s, atalaya %s\n", s.paint(bold, clean(d.Host.FQDN)), clean(d.Version))
	for _, e := range d.Instances {
		name := instanceName(health.InstanceView{Engine: e.Engine, Instance: e.Instance})
		facts := []string{"cannot be listed"}
		if e.Reachable {
			facts = []string{plural(e.Containers, "container") + fmt.Sprintf(", %d running", e.Running), "listed in " + millis(e.Took)}
		}
		for _, f := range []string{e.Where, e.Binary, e.Version} {
			if f != "" {
				facts = append(facts, clean(f))
			}
		}
		fmt.Fprintf(s.out, "\n%s  %s\n", s.paint(bold, clean(name)), strings.Join(facts, ", "))
		if len(e.Can) > 0 {
			fmt.Fprintf(s.out, "  can: %s\n", strings.Join(e.Can, ", "))
		}
		if all {
			for _, f := range e.Tells {
				fmt.Fprintf(s.out, "  %s: %s\n", f.Fact, cmp.Or(clean(f.Where), "it does not tell"))
			}
		}
		printFindings(s, e.Findings, all)
		for _, b := range e.Blind {
			fmt.Fprintln(s.out, s.paint(dim, "  cannot be known: "+clean(b)))
		}
	}
	fmt.Fprintf(s.out, "\n%s\n", s.paint(bold, "host"))
	printFindings(s, d.Findings, all)
	if d.Exit == exitWell {
		fmt.Fprintln(s.out, "\nnothing here would stop healing")
	} else {
		fmt.Fprintln(s.out, "\n"+s.paint(red, "something here would stop healing"))
	}
}

func printFindings(s screen, findings []health.Finding, all bool) {
	shown := 0
	for _, f := range findings {
		if f.Grade == health.GradeOK && !all {
			continue
		}
		shown++
		style := map[health.Grade]style{health.GradeOK: green, health.GradeNote: dim, health.GradeWarn: yellow, health.GradeStop: red}[f.Grade]
		fmt.Fprintf(s.out, "  %s  %s: %s\n", s.paint(style, fmt.Sprintf("%-4s", f.Grade)), f.Check, clean(f.What))
		if f.Why != "" {
			fmt.Fprintf(s.out, "        why: %s\n", clean(f.Why))
		}
		if f.Do != "" {
			fmt.Fprintf(s.out, "        do:  %s\n", clean(f.Do))
		}
	}
	if well := len(findings) - shown; well > 0 {
		fmt.Fprintf(s.out, "  %s\n", s.paint(dim, plural(well, "check")+" well (--all shows them)"))
	}
}

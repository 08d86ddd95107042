package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/hostexec"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

func checkCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Look once, without an agent: what there is, what should run, what would be done",
		Long: "Look once, without an agent, and change nothing: every container, whether it should be running and how that is known,\n" +
			"its probes, each run once, and what the agent would do. Exits with 0 if all is well, 1 if something that should be running is\n" +
			"down or a probe fails, 2 if that cannot be told: an engine, or one container, does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return unsure(err)
			}
			r, err := checkOnce(cmd.Context(), c)
			if err != nil {
				return unsure(err)
			}
			if o.json() {
				err = writeJSON(o.screen.out, r)
			} else {
				r.print(o.screen)
			}
			if err == nil && r.Exit != exitWell {
				return &ending{code: r.Exit}
			}
			return err
		},
	}
}

// A report is the outcome of a check.
type report struct {
	At         time.Time             `json:"at"`
	Host       health.Host           `json:"host"`
	Mode       health.Mode           `json:"mode"`
	Store      string                `json:"store"` // "read", or why what was known before is not
	Instances  []health.InstanceView `json:"instances"`
	Containers []finding             `json:"containers"`
	Notes      []string              `json:"notes"`
	Exit       int                   `json:"exit"` // 0 well, 1 down or failing, 2 cannot tell
}

// A finding is one container.
type finding struct {
	Ref     health.Ref          `json:"ref"`
	Name    string              `json:"name"`
	State   health.RunState     `json:"state"`
	Detail  string              `json:"detail,omitempty"`
	Intent  health.Intent       `json:"intent"`
	Mode    health.Mode         `json:"mode"`
	Phase   health.Phase        `json:"phase"` // in which the agent would have it
	Hold    *health.Hold        `json:"hold,omitempty"`
	Signals []health.SignalView `json:"signals"`
	Would   string              `json:"would"`
	Bad     bool                `json:"bad"`    // wanted and down, or a probe fails
	Unsure  bool                `json:"unsure"` // it should be running, or was, and whether it is cannot be told
}

// A checker holds what the findings are made of.
type checker struct {
	config *config.Config
	host   *host.Watcher
	states map[health.Ref]health.State
	birth  *health.Birth // of the agent that would act; nil: one is running
	slots  chan struct{}
	now    time.Time
}

func checkOnce(ctx context.Context, c *config.Config) (report, error) {
	x := hostexec.New(hostexec.Options{})
	defer x.Close()
	k := checker{config: c, host: host.New(host.Options{Runner: x}), slots: make(chan struct{}, max(1, c.Limits.Probes)), now: time.Now()}
	r := report{At: k.now, Host: host.Identity(c.Host.Site), Mode: c.Mode, Containers: []finding{}, Notes: []string{}}
	k.states, r.Store = remembered(ctx, c)
	if _, err := web.Dial(c.Control.Socket).View(ctx); errors.Is(err, web.ErrNoAgent) {
		// Whether the last one ended in order is not for readers of the store: the careful answer is that it did.
		k.birth = &health.Birth{Boot: r.Host.Boot, Orderly: true}
	}
	all, err := lookAt(ctx, c, x)
	if err != nil {
		return r, err
	}
	for _, s := range all {
		r.Instances = append(r.Instances, s.view(k.now))
		if s.err != nil {
			r.Exit = exitUnsure
			continue
		}
		r.Notes = append(r.Notes, s.listing.Notes...)
		r.Containers = append(r.Containers, k.instance(ctx, s)...)
	}
	r.judge()
	return r, nil
}

// judge sets the exit code: what is known to be down is more than what is not known.
func (r *report) judge() {
	switch {
	case slices.ContainsFunc(r.Containers, func(f finding) bool { return f.Bad }):
		r.Exit = exitWrong
	case slices.ContainsFunc(r.Containers, func(f finding) bool { return f.Unsure }):
		r.Exit = exitUnsure
	}
}

// remembered is what an agent on this host knew, or knows.
func remembered(ctx context.Context, c *config.Config) (map[health.Ref]health.State, string) {
	s, err := store.OpenReadOnly(c.Store.Dir)
	if err != nil {
		return nil, err.Error()
	}
	defer s.Close()
	l, err := s.Load(ctx)
	if err != nil {
		return nil, err.Error()
	}
	states := map[health.Ref]health.State{}
	for _, st := range l.States {
		states[st.Ref] = st
	}
	return states, "read"
}

// instance finds out about all containers of an instance, those that have vanished from its list included.
func (k checker) instance(ctx context.Context, s seen) []finding {
	all := slices.Clone(s.listing.Containers)
	listed := map[health.Ref]bool{}
	for _, g := range all {
		listed[g.Ref] = true
	}
	for ref, st := range k.states {
		if ref.Engine == s.ref().Engine && ref.Instance == s.ref().Instance && !listed[ref] && s.listing.Degraded == "" && s.Defined(ref.ID) {
			all = append(all, health.Sighting{Ref: ref, Name: st.Name, State: health.Missing})
		}
	}
	slices.SortFunc(all, func(a, b health.Sighting) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	var word host.Word
	if !s.Far() { // that this host goes down says nothing about another
		word = k.host.Ask(ctx, s.Units(), s.Autostarter())
	}
	found := make([]*finding, len(all))
	var wg sync.WaitGroup
	for n, g := range all {
		set := k.config.For(g)
		if set.Ignore {
			continue
		}
		wg.Go(func() {
			w := health.HostWord{Closed: word.Closed, Going: word.Going, Faults: k.host.Missing(g.Links)}
			f := k.find(g, set, w, probeOnce(ctx, k.slots, s.Instance, g, set.Probes))
			found[n] = &f
		})
	}
	wg.Wait()
	var out []finding
	for _, f := range found {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// find puts together what is known of one container.
func (k checker) find(g health.Sighting, set config.Container, w health.HostWord, signals []health.SignalView) finding {
	st, known := k.states[g.Ref]
	if !known {
		st = health.State{Ref: g.Ref}
	}
	if g.State == health.Unknown && g.Autostart != "" { // no observation, yet its configuration can be read
		st.Autostart = g.Autostart
	}
	u := foresee(set.Policy, st, k.birth, g, w, k.now)
	f := finding{Ref: g.Ref, Name: g.Name, State: g.State, Detail: g.Detail, Intent: health.Intended(set.Policy, u.state), Mode: set.Policy.Mode,
		Phase: u.state.Phase, Hold: u.state.Hold, Signals: list(signals)}
	does := []string{u.text()}
	if g.State == health.Unknown {
		does = []string{"would ask again: without an answer nothing is done"}
	}
	if f.Hold != nil && f.Phase == health.Up {
		does = append(does, fmt.Sprintf("on hold until %s: %s", moment(f.Hold.Until), f.Hold.Reason))
	}
	for n, s := range signals {
		if s.Outcome == health.Fail {
			f.Bad = true
			does = append(does, u.failing(s.Probe, g, w))
		}
		signals[n].Failing = u.state.Probes[s.Probe].Failing
	}
	f.Would = joined(append(does, set.Problems...)...)
	f.Bad = f.Bad || f.Intent.Want == health.Yes && down(g.State) && f.Phase != health.Off
	f.Unsure = g.State == health.Unknown && f.Phase != health.Off && matters(f.Intent.Want, st)
	return f
}

// matters reports whether a container should be running, as far as is known, or was when it was last seen.
func matters(want health.Tri, before health.State) bool {
	switch want {
	case health.Yes:
		return true
	case health.No:
		return false
	}
	return before.Autostart != health.No || before.RunState == health.Running
}

func down(s health.RunState) bool {
	return s == health.Stopped || s == health.Broken || s == health.Missing
}

func (r report) print(s screen) {
	fmt.Fprintf(s.out, "%s, mode %s\n", s.paint(bold, clean(r.Host.FQDN)), r.Mode)
	for _, i := range r.Instances {
		if i.Err == "" {
			fmt.Fprintln(s.out, s.paint(dim, fmt.Sprintf("%s  %s  %s", clean(instanceName(i)), clean(i.Where), plural(i.Count, "container"))))
		}
		warn(s, i.Err, instanceName(i)+" cannot be listed: ")
		warn(s, i.Degraded, instanceName(i)+" is degraded: ")
	}
	for _, n := range r.Notes {
		warn(s, n, "")
	}
	if r.Store != "read" {
		fmt.Fprintln(s.out, s.paint(dim, "nothing is known from before: "+clean(r.Store)))
	}
	if len(r.Containers) == 0 {
		fmt.Fprintln(s.out, "\nno containers")
		return
	}
	fmt.Fprintln(s.out)
	t := table{head: []string{"CONTAINER", "STATE", "WANTED", "PROBES", "WHAT THE AGENT WOULD DO"}}
	for _, f := range r.Containers {
		st := green
		switch {
		case f.Bad:
			st = red
		case f.Unsure:
			st = yellow
		case f.State != health.Running:
			st = dim
		}
		would := f.Would
		if would == "" {
			would = "nothing"
		}
		state := string(f.State)
		if f.Detail != "" && !strings.EqualFold(f.Detail, state) {
			state += " (" + clean(f.Detail) + ")"
		}
		t.add(cell{called(f.Ref, f.Name), plain}, cell{state, st}, cell{wanted(f.Intent) + ": " + clean(f.Intent.Proof), plain}, cell{details(f.Signals), plain}, cell{clean(would), plain})
	}
	t.print(s)
}

// details are the signals, with the reason of what did not pass.
func details(all []health.SignalView) string {
	var out []string
	for _, s := range all {
		text := clean(s.Probe) + " "
		switch s.Outcome {
		case health.Pass:
			text += "pass " + millis(s.Took)
			if s.Warning != "" {
				text += ", but " + clean(s.Warning)
			}
		case "":
			text += "not run"
		default:
			text += string(s.Outcome) + ": " + clean(s.Detail)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

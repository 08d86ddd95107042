package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/store"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show what the running agent knows, of all containers or one, or, without an agent, what the last one stored",
		Args:  cobra.MaximumNArgs(1), ValidArgsFunction: o.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := o.view(cmd.Context())
			if err != nil {
				return unsure(err)
			}
			if len(args) == 1 {
				k, err := one(v, args[0])
				switch {
				case err != nil:
					return unsure(err)
				case o.json():
					return writeJSON(o.screen.out, k)
				}
				printOne(o.screen, v, k)
				return nil
			}
			if o.json() {
				v.Instances, v.Containers = list(v.Instances), list(v.Containers)
				return writeJSON(o.screen.out, v)
			}
			printStatus(o.screen, v)
			return nil
		},
	}
}

// view asks the agent. When it cannot be asked, the store tells what the last one knew, and that is said.
func (o *options) view(ctx context.Context) (health.View, error) {
	c, err := o.client()
	if err != nil {
		return health.View{}, err
	}
	v, err := c.View(ctx)
	if err == nil {
		return v, nil
	}
	s, cfg, storeErr := o.store()
	if storeErr != nil {
		return v, fmt.Errorf("%w\nwithout it: %w", err, storeErr)
	}
	defer s.Close()
	l, loadErr := s.Load(ctx)
	if loadErr != nil {
		return v, fmt.Errorf("%w\nwithout it: %w", err, loadErr)
	}
	o.say("%v", err)
	o.say("this is what was stored last, at %s", moment(l.LastAt))
	v = storedView(cfg, l)
	backlogs, err := s.Backlogs(ctx)
	for _, b := range backlogs {
		v.Channels = append(v.Channels, b.View())
	}
	return v, err
}

// storedView is the view that can be had of a store.
func storedView(c *config.Config, l store.Loaded) health.View {
	v := health.View{At: l.LastAt, Host: host.Identity(c.Host.Site), Mode: c.Mode, Store: "read without an agent"}
	for _, s := range l.States {
		p := c.For(health.Sighting{Ref: s.Ref, Name: s.Name}).Policy
		k := health.ContainerView{Ref: s.Ref, Name: s.Name, State: s.RunState, Detail: s.Detail, Phase: s.Phase, Since: s.Since, Why: s.Why,
			Init: s.Init, Intent: health.Intended(p, s), Mode: p.Mode, Hold: s.Hold, Attempts: len(s.Attempts), Wake: s.Wake}
		if w := s.Host.Window; w.Name != "" {
			k.Window = &w
		}
		if b := s.Backup; !b.Good.IsZero() || !b.Expected.IsZero() {
			k.Backup = &health.BackupView{Good: b.Good, By: b.By, Failed: b.Failed, Err: b.Err}
			if b.Incident != nil {
				k.Backup.Incident = b.Incident.ID
			}
		}
		if s.Incident != nil {
			k.Incident = s.Incident.ID
		}
		for _, name := range sortedProbes(s) {
			k.Signals = append(k.Signals, storedSignal(name, s.Probes[name]))
		}
		v.Containers = append(v.Containers, k)
	}
	return v
}

// storedSignal is what is kept of the outcomes of a probe.
func storedSignal(name string, p health.ProbeState) health.SignalView {
	v := health.SignalView{Probe: name, Detail: p.Detail, Fails: p.Fails, Failing: p.Failing}
	switch {
	case p.Fails > 0:
		v.Outcome = health.Fail
	case p.Life:
		v.Outcome = health.Pass
	}
	return v
}

func printStatus(s screen, v health.View) {
	printHead(s, v)
	t := table{head: []string{"CONTAINER", "STATE", "PHASE", "FOR", "WANTED", "PROBES", "WHAT"}}
	for _, k := range v.Containers {
		st := phaseStyle(k.Phase)
		t.add(cell{called(k.Ref, k.Name), plain}, cell{string(k.State), st}, cell{string(k.Phase), st}, cell{since(k.Since, v.At), plain},
			cell{wanted(k.Intent), plain}, cell{signals(k.Signals), plain}, cell{what(k), plain})
	}
	if len(t.rows) == 0 {
		fmt.Fprintln(s.out, "no containers are known")
		return
	}
	t.print(s)
}

// printHead says whose view it is, and everything that is not as it should be.
func printHead(s screen, v health.View) {
	name := v.Host.FQDN
	if v.Host.Site != "" {
		name += " (" + v.Host.Site + ")"
	}
	if v.PID == 0 {
		fmt.Fprintln(s.out, s.paint(bold, clean(name))+", no agent running, mode "+string(v.Mode))
	} else {
		fmt.Fprintf(s.out, "%s, atalaya %s, mode %s, watching for %s, pid %d\n", s.paint(bold, clean(name)), clean(v.Version), v.Mode,
			since(v.Started, v.At), v.PID)
	}
	for _, i := range v.Instances {
		fmt.Fprintln(s.out, s.paint(dim, strings.TrimSpace(fmt.Sprintf("%s  %s  %s", clean(instanceName(i)), clean(i.Where), looked(i, v.At)))))
		warn(s, i.Err, "cannot be listed: ")
		warn(s, i.Degraded, "degraded: ")
	}
	warn(s, v.Closed, "nothing is started now: ")
	if v.PID != 0 && v.Store != "ok" {
		warn(s, v.Store, "the store: ")
	}
	if v.Config.Refused != "" {
		warn(s, v.Config.Refused, "the configuration was refused, and the one of "+moment(v.Config.Loaded)+" holds ('atalaya config check'): ")
	}
	warn(s, strings.Join(v.Config.Waiting, ", "), "these parts of the configuration wait for a restart of the agent: ")
	for _, w := range v.Windows {
		if !w.Until.IsZero() {
			warn(s, moment(w.Until), fmt.Sprintf("maintenance window %q: nothing is started or restarted in it, until ", clean(w.Name)))
		}
	}
	warnUndelivered(s, v)
	for _, c := range v.Stuck {
		warn(s, c, "a command hangs in the kernel: ")
	}
	fmt.Fprintln(s.out)
}

// looked says how old what is known of an instance is, and how much of it is the tool's own word.
func looked(i health.InstanceView, now time.Time) string {
	listed := "listed " + since(i.Listed, now) + " ago"
	switch {
	case i.Looked.IsZero() && i.Err != "":
		return ""
	case i.Looked.IsZero():
		return "not listed yet"
	case i.Listed.IsZero():
		listed = "never listed whole"
	}
	switch {
	case i.Degraded != "":
		listed += ", asked one by one " + since(i.Looked, now) + " ago"
	case i.Looked.After(i.Listed):
		listed += ", unmoved " + since(i.Looked, now) + " ago"
	}
	return plural(i.Count, "container") + ", " + listed
}

// undeliveredAfter is how long a channel may fail before people are shown it: a receiver that restarts is no news.
const undeliveredAfter = time.Minute

// warnUndelivered tells of alerts that nobody got: nothing else would, if the only channel fails.
func warnUndelivered(s screen, v health.View) {
	dead := 0
	for _, c := range v.Channels {
		dead += c.Dead
		if !c.Failing.IsZero() && v.At.Sub(c.Failing) >= undeliveredAfter {
			warn(s, c.Err, fmt.Sprintf("channel %q has been failing for %s, %s waiting ('atalaya outbox'): ", clean(c.Name), since(c.Failing, v.At), plural(c.Pending, "alert")))
		}
	}
	if dead > 0 {
		warn(s, plural(dead, "alert")+" could not be delivered: 'atalaya outbox' lists them", "")
	}
}

func warn(s screen, text, prefix string) {
	if text != "" {
		fmt.Fprintln(s.out, s.paint(red, "! "+prefix+clean(text)))
	}
}

// what tells in one line what there is to know of a container, beside its state.
func what(k health.ContainerView) string {
	var out []string
	if k.Why != "" && k.Phase != health.Up {
		out = append(out, k.Why)
	}
	if k.Hold != nil && k.Phase != health.Deferred {
		out = append(out, fmt.Sprintf("on hold until %s, by %s: %s", moment(k.Hold.Until), k.Hold.By, k.Hold.Reason))
	}
	out = append(out, atWork(k)...)
	if k.Next != "" {
		out = append(out, "next: "+k.Next)
	}
	for _, g := range k.Signals {
		if (g.Failing || g.Outcome == health.Fail || g.Outcome == health.Unsure) && g.Detail != "" && !strings.Contains(k.Why, fmt.Sprintf("probe %q", g.Probe)) {
			out = append(out, g.Probe+": "+g.Detail)
		}
		if g.Warning != "" {
			out = append(out, g.Probe+": "+g.Warning)
		}
	}
	if k.Mode != health.ModeHeal && k.Mode != "" {
		out = append(out, "mode "+string(k.Mode))
	}
	if k.Incident != "" {
		out = append(out, "incident "+k.Incident)
	}
	return clean(strings.Join(out, "; "))
}

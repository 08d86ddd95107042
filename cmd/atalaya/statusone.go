package main

import (
	"errors"
	"fmt"
	"strings"

	"atalaya/agent/health"
)

// one finds the container that people call so: by its name, ENGINE/NAME or ENGINE/ID.
func one(v health.View, name string) (health.ContainerView, error) {
	var found []health.ContainerView
	for _, k := range v.Containers {
		if k.Ref.String() == name || k.Name == name || k.Ref.Engine+"/"+k.Name == name {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return health.ContainerView{}, fmt.Errorf("no container is called %q; 'atalaya status' lists those that are known", name)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, k := range found {
		names = append(names, k.Ref.String())
	}
	return health.ContainerView{}, errors.New("several are called so: " + strings.Join(names, ", ") + "; name one of them in full")
}

// printOne shows all there is to know of one container, a line each.
func printOne(s screen, v health.View, k health.ContainerView) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(s.out, "%-12s %s\n", name, clean(text))
		}
	}
	fmt.Fprintln(s.out, s.paint(bold, called(k.Ref, k.Name)))
	state := string(k.State)
	if k.Detail != "" {
		state += " (" + k.Detail + ")"
	}
	line("state", state)
	line("phase", fmt.Sprintf("%s for %s", k.Phase, since(k.Since, v.At)))
	line("why", k.Why)
	line("wanted", wanted(k.Intent)+", "+k.Intent.Proof)
	line("mode", string(k.Mode))
	line("next", k.Next)
	line("incident", k.Incident)
	for _, g := range k.Signals {
		line("probe", strings.TrimSpace(fmt.Sprintf("%s: %s %s", g.Probe, g.Outcome, g.Detail)))
	}
	if h := k.Hold; h != nil {
		line("hold", fmt.Sprintf("until %s, by %s: %s", moment(h.Until), h.By, h.Reason))
	}
	if w := k.Window; w != nil {
		line("window", fmt.Sprintf("%s, open until %s", w.Name, moment(w.Until)))
	}
	for _, j := range k.Jobs {
		line("schedule", scheduled(v, j))
	}
	line("backup", backedUp(v, k.Backup))
}

// scheduled says where a schedule stands.
func scheduled(v health.View, j health.JobView) string {
	text := fmt.Sprintf("%s: %s", j.Name, j.Do)
	switch {
	case !j.Since.IsZero():
		text += ", under way for " + since(j.Since, v.At)
	case j.Postponed != "":
		text += ", due and postponed: " + j.Postponed
	}
	if !j.Next.IsZero() {
		text += ", next at " + moment(j.Next)
	}
	return text
}

// backedUp says which was the last good backup, how old it is, and what has failed since; empty: nothing is known of any.
func backedUp(v health.View, b *health.BackupView) string {
	if b == nil {
		return ""
	}
	text := "there has been no good one yet"
	if !b.Good.IsZero() {
		text = fmt.Sprintf("the last good one is %s old, begun at %s (%s)", since(b.Good, v.At), moment(b.Good), b.By)
	}
	if !b.Failed.IsZero() {
		text += fmt.Sprintf("; the latest failed %s ago: %s", since(b.Failed, v.At), b.Err)
	}
	if b.Incident != "" {
		text += "; incident " + b.Incident
	}
	return text
}

// atWork tells what schedules and windows have to do with a container at this moment, for the table.
func atWork(k health.ContainerView) []string {
	var out []string
	if w := k.Window; w != nil && k.Phase != health.Deferred {
		out = append(out, fmt.Sprintf("maintenance window %q until %s", w.Name, moment(w.Until)))
	}
	for _, j := range k.Jobs {
		switch {
		case !j.Since.IsZero():
			out = append(out, fmt.Sprintf("%s by schedule %q since %s", j.Do, j.Name, moment(j.Since)))
		case j.Postponed != "":
			out = append(out, fmt.Sprintf("%s by schedule %q is postponed: %s", j.Do, j.Name, j.Postponed))
		}
	}
	if b := k.Backup; b != nil && b.Incident != "" {
		out = append(out, "backups fail or are overdue: incident "+b.Incident)
	}
	return out
}

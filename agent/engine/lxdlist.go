package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

const (
	// lxdAskWithin bounds one question about one instance: it takes 20 ms, or for ever.
	lxdAskWithin = 5 * time.Second
	// lxdFew is about how many instances a list asks one by one when the whole cannot be asked.
	lxdFew = 4
)

// list asks with one process for all instances of all projects, their states included. An instance whose monitor hangs
// hangs it for ever: then the daemon is asked for the rest without states, which takes it 5 s, until none hangs.
func (l *lxd) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	l.mu.Lock()
	hung := l.hung
	l.mu.Unlock()
	if hung != "" {
		if out, err := l.listWithout(ctx); err != nil || out.Degraded != "" {
			return out, err
		}
	}
	argv := l.argv(l.tool, "list", "local:", "--all-projects", "--format=json")
	t, err := l.ask(ctx, argv)
	if t.TimedOut && ctx.Err() == nil {
		return l.listWithout(ctx)
	}
	if err != nil {
		return Listing{Notes: l.notes.take()}, lxdError(t, err)
	}
	return l.listing(ctx, t.Stdout)
}

// listing reads what was printed, and leaves out what runs on other members of the cluster.
func (l *lxd) listing(ctx context.Context, b []byte) (Listing, error) {
	all, err := parseLXDList(b, &l.notes)
	if err == nil {
		all, err = l.here(ctx, all)
	}
	if err != nil {
		return Listing{Notes: l.notes.take()}, fmt.Errorf("read the list of %s: %w", l.name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hung = ""
	out := Listing{Containers: make([]health.Sighting, 0, len(all))}
	for _, in := range all {
		out.Containers = append(out.Containers, l.sighting(in, time.Now()))
	}
	l.forget(all)
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	out.Notes = l.notes.take()
	return out, nil
}

// forget what is no longer listed. The caller holds mu.
func (l *lxd) forget(all []lxdInstance) {
	listed := make(map[string]bool, len(all))
	for _, in := range all {
		listed[in.id()] = true
	}
	for id := range l.known {
		if !listed[id] {
			delete(l.known, id)
			delete(l.told, id)
			l.ours.forget(id)
		}
	}
}

// listWithout asks for all instances without their states. It is degraded while one of them is in "Error", which is what
// the daemon says after 5 s of silence of a monitor. What runs and has no living init that is known is asked for by
// itself, a few a list.
func (l *lxd) listWithout(ctx context.Context) (Listing, error) {
	t, err := l.ask(ctx, l.query("/1.0/instances", "recursion", "1", "all-projects", "true"))
	if err != nil {
		return Listing{Notes: l.notes.take()}, lxdError(t, err)
	}
	out, err := l.listing(ctx, t.Stdout)
	if err != nil {
		return out, err
	}
	var silent, lifeless []string
	for _, s := range out.Containers {
		switch {
		case strings.HasPrefix(s.Detail, lxdSilent):
			silent = append(silent, s.Ref.ID)
		case (s.State == health.Running || s.State == health.Paused) && s.Init.PID == 0:
			lifeless = append(lifeless, s.Ref.ID)
		}
	}
	if len(silent) == 0 {
		return out, nil
	}
	why := fmt.Sprintf("the list of %s hangs, and is made without states, because of %q%s", l.name, silent[0], prefixed(": ", l.hint(silent[0])))
	l.mu.Lock()
	l.hung = why
	l.mu.Unlock()
	out.Degraded = why
	for _, id := range lifeless[:min(len(lifeless), lxdFew)] {
		in, gone, err := l.one(ctx, id)
		if err != nil || gone {
			continue // no observation: the row stands
		}
		at := slices.IndexFunc(out.Containers, func(s health.Sighting) bool { return s.Ref.ID == id })
		l.mu.Lock()
		out.Containers[at] = l.sighting(in, time.Now())
		l.mu.Unlock()
	}
	return out, nil
}

// here gives those that are on this host. In a cluster every member lists them all.
func (l *lxd) here(ctx context.Context, all []lxdInstance) ([]lxdInstance, error) {
	l.mu.Lock()
	member := l.member
	l.mu.Unlock()
	clustered, named := false, false
	for _, in := range all {
		clustered = clustered || lxdPlaced(in)
		named = named || string(in.Location) == member
	}
	if clustered && !named { // not asked yet, renamed, or nothing is here
		if err := l.askMember(ctx); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = map[string]string{}
	return slices.DeleteFunc(all, func(in lxdInstance) bool { return l.elsewhere(in) }), nil
}

func lxdPlaced(in lxdInstance) bool { return in.Location != "" && in.Location != "none" }

// elsewhere tells, and remembers, that an instance is on another member. The caller holds mu.
func (l *lxd) elsewhere(in lxdInstance) bool {
	if !lxdPlaced(in) || string(in.Location) == l.member {
		delete(l.away, in.id())
		return false
	}
	l.away[in.id()] = string(in.Location)
	return true
}

// askMember asks what the cluster calls this host.
func (l *lxd) askMember(ctx context.Context) error {
	t, err := l.ask(ctx, l.query("/1.0"))
	if err != nil {
		return fmt.Errorf("ask which member of the cluster this is: %w", lxdError(t, err))
	}
	name, err := parseLXDServer(t.Stdout)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.member = name
	l.mu.Unlock()
	return nil
}

// lxdError puts the daemon's own words to an error.
func lxdError(t hostexec.Transcript, err error) error {
	if words := readLXDAnswer(t, nil).Cause; words != "" && !strings.Contains(err.Error(), words) {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

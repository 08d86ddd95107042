package agent

import (
	"context"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// read is the one goroutine that lists an instance. It tells the engine whom the kernel's notices cover, so that a list in
// which nothing has moved may cost no process.
func (a *Agent) read(ctx context.Context, in *instance) {
	for ctx.Err() == nil {
		asked := a.clock.now()
		var live []health.Ref
		if p := in.live.Load(); p != nil {
			live = *p
		}
		l := list{asked: asked, began: in.Place()}
		l.Listing, l.err = in.List(ctx, live)
		if ctx.Err() != nil {
			return
		}
		l.inquire(in)
		a.inbox.put(func(t *turn) { t.listed(in, l) })
		a.untilList(ctx, in)
	}
}

// untilList waits for the next list: by the clock, or sooner when something asks for it.
func (a *Agent) untilList(ctx context.Context, in *instance) {
	next := time.NewTimer(time.Duration(a.poll.Load()))
	defer next.Stop()
	select {
	case <-ctx.Done():
		return
	case <-time.After(min(eventsAgain, time.Duration(a.poll.Load()))):
	}
	select {
	case <-ctx.Done():
	case <-next.C:
	case <-in.asked:
	}
}

// A list is what one list brought, with what its reader found out about the containers that are not in it.
type list struct {
	engine.Listing
	err     error
	asked   time.Time
	began   string              // where the instance was before it was listed, see engine.Instance.Place
	place   string              // and after
	defined map[health.Ref]bool // of the known ones that are not listed
}

// inquire asks, beside the decision goroutine, whether what is not listed still exists.
func (l *list) inquire(in *instance) {
	l.defined = map[health.Ref]bool{}
	defer func() { l.place = in.Place() }() // the last of all: what is mounted meanwhile must not pass for removals
	known := in.all.Load()
	if known == nil || l.err != nil || l.Degraded != "" {
		return
	}
	listed := map[health.Ref]bool{}
	for _, s := range l.Containers {
		listed[s.Ref] = true
	}
	for _, ref := range *known {
		if !listed[ref] {
			l.defined[ref] = in.Defined(ref.ID)
		}
	}
}

// lacks reports whether a known container is neither listed nor defined any more.
func (l *list) lacks() bool {
	for _, defined := range l.defined {
		if !defined {
			return true
		}
	}
	return false
}

// elsewhere reports that an instance is not where its containers were: a file system is not mounted, or another one is.
func (in *instance) elsewhere(place string) bool {
	home := in.home.Load()
	return home != nil && *home != "" && place != *home
}

// doubt keeps a container from being taken for removed when the folder of its whole instance is another one.
func (a *Agent) doubt(in *instance, s *health.Sighting) {
	if s.State == health.Removed && in.elsewhere(in.Place()) {
		s.State, s.Detail = health.Missing, notMounted
	}
}

const notMounted = "the folder of all its engine's containers is another one than before: is it mounted?"

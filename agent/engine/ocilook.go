package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"atalaya/agent/health"
)

// ociLookWithin bounds one look: it takes 40 ms, or for ever.
const ociLookWithin = 5 * time.Second

// look asks inspect about one container. After a death the engine is asked again until it has noticed, which takes docker
// 40 ms and podman 80 ms: only then it knows how the container ended, hence whether it is to be started again.
func (o *oci) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	for end := time.Now().Add(ociEnding); ; {
		got, gone, hung, err := o.inspectIDs(ctx, []string{id}, min(o.spec.Timeout, ociLookWithin))
		if bad := ociBad(""); errors.As(err, &bad) {
			return o.lookBad(id, bad), nil
		}
		if err != nil {
			if hung {
				err = fmt.Errorf("%w: some operation holds its lock, or all of %s hangs", err, o.name)
			}
			return health.Sighting{}, err
		}
		in, ok := got[id]
		if !ok {
			if len(gone) == 0 {
				return health.Sighting{}, fmt.Errorf("\"%s inspect\" left it out", o.name)
			}
			return o.lookGone(id), nil
		}
		o.lookAt(id, in)
		if !behind(in, dead) || time.Now().After(end) {
			break
		}
		select {
		case <-ctx.Done():
			return health.Sighting{}, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !o.awaitLog(ctx, id) {
		return health.Sighting{}, context.Cause(ctx)
	}
	o.learnPast(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[id]
	if e == nil {
		return health.Sighting{}, fmt.Errorf("%s removed it while it was looked at", o.name)
	}
	if behind(e.in, dead) && e.odd.IsZero() {
		e.odd = time.Now().Add(-ociEnding) // so long it has not noticed
	}
	return o.sighting(id, e, time.Now()), nil
}

// awaitLog waits until podman's log can be complete about an end that was just now; false when the context ended first.
func (o *oci) awaitLog(ctx context.Context, id string) bool {
	if o.flag {
		return true
	}
	o.mu.Lock()
	var wait time.Duration
	if e := o.known[id]; e != nil && e.in.state() == health.Stopped && !e.in.ended().IsZero() {
		wait = min(ociLogged, time.Until(e.in.ended().Add(ociLogged)))
	}
	o.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// behind tells whether the engine still speaks of the life that the kernel has seen end. One whose conmon is gone too
// will never catch up.
func behind(in ociInspect, dead health.Process) bool {
	if dead.PID == 0 || int(in.Pid) != dead.PID || !in.running() && in.Status != "stopping" || alive(dead) {
		return false
	}
	return in.ConmonPid == 0 || alive(health.Process{PID: int(in.ConmonPid)})
}

// lookAt takes in an answer; the next list asks again if it told something new.
func (o *oci) lookAt(id string, in ociInspect) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[id]
	if e == nil {
		e = &ociEntry{}
		o.known[id] = e
	}
	if e.in.Status != in.Status || e.in.StartedAt != in.StartedAt || e.in.FinishedAt != in.FinishedAt {
		e.print = ""
	}
	o.learn(e, in)
}

// lookBad answers about what inspect fails for.
func (o *oci) lookBad(id string, bad ociBad) health.Sighting {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[id]
	if e == nil {
		e = &ociEntry{}
		o.known[id] = e
	}
	e.bad = string(bad)
	return o.sighting(id, e, time.Now())
}

// lookGone answers about what the engine does not have. Its folder may still be there: docker leaves out, at its start,
// what it cannot read, and says so in its log only.
func (o *oci) lookGone(id string) health.Sighting {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := health.Sighting{Ref: o.ref(id), Name: id[:12], State: health.Removed, At: time.Now()}
	dir := ""
	if o.home != "" {
		dir = filepath.Join(o.home, id)
	}
	if e := o.known[id]; e != nil {
		s.Mark = string(e.in.Created)
	}
	if dir != "" {
		if _, err := os.Stat(o.file(dir)); err == nil {
			s.State, s.Detail = health.Missing, fmt.Sprintf("%s does not know it, but its folder %q is still there", o.name, dir)
			return s
		}
	}
	delete(o.known, id)
	delete(o.told, id)
	return s
}

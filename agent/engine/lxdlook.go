package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// lxdEnding is how long the daemon is given to finish with a container that has died: 0.7 s here, in which it refuses to
// start it ("Instance is busy running a \"stop\" operation") and has not yet told who ended it.
const lxdEnding = 3 * time.Second

// lxdReboot is how long what has ended may come back by itself: a guest that reboots is stopped first, and for 0.15 s
// looks like a dead one.
const lxdReboot = 400 * time.Millisecond

// look asks the daemon for one instance, and for what it does to it. After a death it waits until the daemon is done with
// it.
func (l *lxd) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	began, ended := time.Now(), time.Time{}
	for {
		heard := l.listen()
		in, gone, err := l.one(ctx, id)
		if err != nil {
			return health.Sighting{}, err
		}
		if gone {
			return l.removed(id, ""), nil
		}
		if s, ok, err := l.lookElsewhere(ctx, in); ok || err != nil {
			return s, err
		}
		pause := l.pause()
		if !l.ending(in, dead) || time.Since(began) > lxdEnding {
			if dead.PID == 0 || in.pid() != 0 {
				return l.lookHere(ctx, in)
			}
			if ended.IsZero() {
				ended = time.Now()
			}
			if pause = lxdReboot - time.Since(ended); pause <= 0 {
				return l.lookHere(ctx, in)
			}
		}
		if err := wait(ctx, heard, pause); err != nil {
			return health.Sighting{}, err
		}
	}
}

// pause is how long to wait for the daemon's next step, where no event tells of it.
func (l *lxd) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream > 0 {
		return time.Second
	}
	return 100 * time.Millisecond
}

// ending tells whether the daemon is still at work on the end of a life: it writes down that the container is off when
// all is cleaned up. What ended long ago, with a host that went down, is left as it is.
func (l *lxd) ending(in lxdInstance, dead health.Process) bool {
	if dead.PID == 0 || alive(dead) {
		return false
	}
	code, word := in.code()
	switch state, _ := lxdRunState(code, word); state {
	case health.Stopped:
		return in.Config["volatile.last_state.power"] == "RUNNING"
	case health.Running, health.Paused, health.Busy:
		return in.pid() == dead.PID || in.pid() == 0
	}
	return false
}

// wait for the next event, or for a moment.
func wait(ctx context.Context, heard <-chan struct{}, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-heard:
	case <-timer.C:
	}
	return nil
}

func (l *lxd) lookHere(ctx context.Context, in lxdInstance) (health.Sighting, error) {
	ops, err := l.operations(ctx, in)
	if err != nil {
		return health.Sighting{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lock := l.atWork(ops, in)
	s := l.sighting(in, time.Now())
	if s.Lock == nil {
		s.Lock = lock
	}
	return s, nil
}

// lookElsewhere answers about an instance of another member: that one watches it.
func (l *lxd) lookElsewhere(ctx context.Context, in lxdInstance) (health.Sighting, bool, error) {
	if !lxdPlaced(in) {
		return health.Sighting{}, false, nil
	}
	l.mu.Lock()
	mine := string(in.Location) == l.member
	l.mu.Unlock()
	if !mine {
		if err := l.askMember(ctx); err != nil {
			return health.Sighting{}, false, err
		}
	}
	l.mu.Lock()
	away := l.elsewhere(in)
	l.mu.Unlock()
	if !away {
		return health.Sighting{}, false, nil
	}
	return l.removed(in.id(), fmt.Sprintf("it is on cluster member %q now", tidy(string(in.Location)))), true, nil
}

func (l *lxd) removed(id, why string) health.Sighting {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
	delete(l.told, id)
	return health.Sighting{Ref: l.ref(id), Name: id, State: health.Removed, Detail: why, At: time.Now()}
}

// one asks for one instance with its state; gone means that the daemon does not have it.
func (l *lxd) one(ctx context.Context, id string) (in lxdInstance, gone bool, err error) {
	project, name := splitLXDID(id)
	t := l.run.Read(ctx, hostexec.Command{
		Argv: l.query("/1.0/instances/"+name, "recursion", "1", "project", project), Env: l.spec.Env, Timeout: lxdAskWithin, MaxOut: 1 << 20,
	})
	switch err := t.Err(); {
	case t.TimedOut && ctx.Err() == nil:
		return in, false, fmt.Errorf("no answer about it within %s%s", lxdAskWithin, prefixed("; ", l.hint(id)))
	case err != nil:
		words := readLXDAnswer(t, nil).Cause
		return in, lxdGone(words), errUnless(lxdGone(words), lxdError(t, err))
	case t.StdoutSize > int64(len(t.Stdout)):
		return in, false, fmt.Errorf("%d bytes about one instance: not believed", t.StdoutSize)
	}
	if in, err = parseLXDInstance(t.Stdout); err != nil {
		return in, false, fmt.Errorf("read what %s says of it: %w", l.name, err)
	}
	if in.id() != id {
		return in, false, fmt.Errorf("asked for it, %s told of %q", l.name, in.id())
	}
	return in, false, nil
}

func errUnless(fine bool, err error) error {
	if fine {
		return nil
	}
	return err
}

// lxdGone are the daemon's words when it has no such instance (5.0.2: also when there is no such project).
func lxdGone(words string) bool {
	return words == "Instance not found" || words == "not found" || strings.HasPrefix(words, "Failed to fetch instance") && strings.HasSuffix(words, "not found") || words == "Project not found"
}

// operations asks what the daemon does in the project of an instance, or did in the last seconds.
func (l *lxd) operations(ctx context.Context, in lxdInstance) (map[string][]lxdOperation, error) {
	project, _ := splitLXDID(in.id())
	t := l.run.Read(ctx, hostexec.Command{
		Argv: l.rawQuery("/1.0/operations", "recursion", "1", "project", project), Env: l.spec.Env, Timeout: lxdAskWithin, MaxOut: maxList,
	})
	if err := t.Err(); err != nil {
		return nil, fmt.Errorf("ask for the operations: %w", lxdError(t, err))
	}
	return parseLXDOperations(t.Stdout)
}

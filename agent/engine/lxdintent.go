package engine

import (
	"context"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Who ended a container. The daemon keeps no record: volatile.last_state.power becomes STOPPED by a crash too. It tells
// in its lifecycle events, where the end of a container that nobody asked for has no requestor, and in its list of
// operations, where a stop stands while it is at work and some five seconds after.

// An lxdTold is what was told about an end that somebody asked for.
type lxdTold struct {
	by string
	at time.Time // by the daemon's clock, as is the time of the last start
}

// wasOurs tells whether something that happened then, by the daemon's clock, was ordered by us.
func (l *lxd) wasOurs(id string, at time.Time) bool {
	slack := 2 * time.Second
	if l.far() {
		slack = time.Minute // that host's clock may be another
	}
	return l.ours.covers(id, at, slack)
}

func (l *lxd) begin(_ context.Context, c call) { l.ours.begin(c.id) }

func (l *lxd) end(ctx context.Context, c call, a *Answer) {
	l.ours.end(c.id)
	l.cause(ctx, c, a)
}

// started ends a start. One that failed the daemon itself undoes, by a stop in the name of whoever asked for it; after one
// that worked a stop is somebody's.
func (l *lxd) started(ctx context.Context, c call, a *Answer) {
	if last, ok := l.ours.last(c.id); ok {
		until := last.from
		if a.Err != "" {
			until = time.Now()
		}
		l.ours.endBy(c.id, until)
	}
	l.cause(ctx, c, a)
}

// cause asks for liblxc's log where the daemon's words only say that its helper failed ("Failed to run: /usr/bin/lxd
// forkstart …: exit status 1").
func (l *lxd) cause(ctx context.Context, c call, a *Answer) {
	if a.Err == "" || !strings.Contains(a.Cause, " forkstart ") {
		return
	}
	t := l.run.Read(ctx, hostexec.Command{Argv: l.about(c.id, "info", "--show-log"), Env: l.spec.Env, Timeout: lxdAskWithin, MaxOut: maxLog})
	_, log, ok := strings.Cut(string(t.Stdout), "\nLog:\n")
	if !t.OK() || !ok {
		return
	}
	if cause := lxcCause([]byte(log)); cause != "" {
		a.Cause, a.Log = cause, []byte(log)
	}
}

// events follows the lifecycle events of all projects.
func (l *lxd) events(ctx context.Context, changed func(id string)) error {
	l.follow(1)
	defer l.follow(-1)
	argv := l.argv(l.tool, "monitor", "local:", "--all-projects", "--type=lifecycle", "--format=json")
	return l.run.Stream(ctx, hostexec.Command{Argv: argv, Env: l.spec.Env}, func(line []byte) error {
		if e, ok := parseLXDEvent(line); ok {
			l.hear(e, changed)
		}
		return nil
	})
}

func (l *lxd) follow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream += n
}

// listen gives a channel that the next event closes.
func (l *lxd) listen() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// hear takes in one event. Those of snapshots, execs, consoles, files and logs change nothing.
func (l *lxd) hear(e lxdEvent, changed func(id string)) {
	switch strings.TrimPrefix(e.action, "instance-") {
	case "shutdown", "stopped":
		l.tell(e.id, e.action, e.by, e.at)
		changed(e.id)
	case "started", "restarted", "ready", "paused", "resumed", "updated", "restored":
		changed(e.id)
	case "created", "renamed", "deleted", "migrated":
		changed("")
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.heard)
	l.heard = make(chan struct{})
}

// tell remembers an end, and who asked for it.
func (l *lxd) tell(id, what, by string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by == "" || l.wasOurs(id, at) {
		delete(l.told, id)
		return
	}
	l.told[id] = lxdTold{by: what + " by " + by, at: at}
}

// purpose gives who stopped the life that ended last, "" when nobody did or it is not known. The caller holds mu.
func (l *lxd) purpose(id string, in lxdInstance) string {
	t, ok := l.told[id]
	if !ok || in.used().After(t.at) { // it was started since then
		return ""
	}
	return t.by
}

// atWork reads the operations: what is at work on an instance is a lock on it, and a stop that is not ours is told. An
// open exec or console proves nothing. The caller holds mu.
func (l *lxd) atWork(ops map[string][]lxdOperation, in lxdInstance) *health.Lock {
	_, name := splitLXDID(in.id())
	var lock *health.Lock
	for _, status := range sortedKeys(ops) {
		for _, o := range ops[status] {
			what := tidy(string(o.Description))
			if !o.about(name) || what == "Executing command" || what == "Showing console" {
				continue
			}
			since, _ := time.Parse(time.RFC3339Nano, string(o.Created))
			active := status == "running" || status == "pending" || status == "cancelling"
			if active {
				lock = &health.Lock{Operation: what, Since: since}
			}
			stops := what == "Stopping instance" && (active || status == "success")
			if told := l.told[in.id()].at.After(in.used()); stops && !told && !l.wasOurs(in.id(), since) && since.After(in.used()) {
				l.told[in.id()] = lxdTold{by: "its operation \"" + what + "\"", at: since}
			}
		}
	}
	return lock
}

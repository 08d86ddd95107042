package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Who is at a container of vzctl: the holder of its lock, and whoever stopped it according to the log. Our own commands are
// told from those of others.

// ownRun is one of our own commands about a container.
type ownRun struct {
	from, to time.Time // to is zero while it goes on
	ends     bool      // it ends the container: a stop, a kill, a restart
	next     time.Time // of one that ends it: when the next of ours was begun
}

// lock reads a container's lock file; key is the id that the core knows it by. The lock that a command of ours holds is
// not told: it is no other's operation.
func (h *vzHost) lock(id, key string, global map[string]string) *health.Lock {
	path := filepath.Join(h.file(global["LOCKDIR"]), id+".lck")
	b, err := readBounded(path, 4<<10)
	if err != nil {
		return nil
	}
	pid, action, ok := parseVZLock(b)
	info, err := os.Stat(path)
	if !ok || err != nil {
		return nil // vzctl removes a file that names no pid by itself
	}
	l := &health.Lock{Operation: action, Holder: health.Process{PID: pid}, Since: info.ModTime()}
	p, alive := identify(pid)
	if l.Dead = !alive || !h.bornBefore(p, path); !l.Dead {
		if l.Holder = p; h.isOurs(key, pid, l.Since) {
			return nil
		}
		if l.Operation == "" {
			l.Operation = tidy(strings.Join(cmdline(pid), " "))
		}
	}
	if l.Operation == "" {
		l.Operation = "an operation of vzctl"
	}
	return l
}

// begin and finish bracket a command of ours about a container; ends tells one that ends it. What the last of those ended is
// over at the latest when another command is begun.
func (h *vzHost) begin(id string, ends bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.own[id] = ownRun{from: now, ends: ends}
	switch e, ok := h.ended[id]; {
	case ends:
		h.keepEnded(id, ownRun{from: now, ends: true})
	case ok && e.next.IsZero():
		e.next = now
		h.keepEnded(id, e)
	}
}

func (h *vzHost) finish(id string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.own[id]
	if !ok {
		return
	}
	o.to = at
	h.own[id] = o
	if o.ends {
		h.keepEnded(id, o)
	}
}

// ownPath is where the last command of ours that ended a container is remembered beyond this process: an agent that was
// replaced in the middle of a stop must not take it for a person's.
func (h *vzHost) ownPath(id string) string {
	dir := h.spec.RunDir
	if dir == "" {
		dir = runDir
	}
	return filepath.Join(dir, strings.Join([]string{h.spec.Engine, h.spec.Instance, "own", id}, "-")) // two hosts may have the same number
}

// keepEnded remembers it, here and in the file. The caller holds mu.
func (h *vzHost) keepEnded(id string, o ownRun) {
	h.ended[id] = o
	_ = os.MkdirAll(filepath.Dir(h.ownPath(id)), 0o750)
	_ = os.WriteFile(h.ownPath(id), o.text(), 0o600)
}

// endedLast gives the last command that ended a container, of this agent or of the one before it.
func (h *vzHost) endedLast(id string) (o ownRun, ok bool) {
	h.mu.Lock()
	o, ok = h.ended[id]
	h.mu.Unlock()
	if ok {
		return o, true
	}
	b, err := readBounded(h.ownPath(id), 200)
	if err != nil {
		return ownRun{}, false
	}
	return parseOwnRun(b)
}

func (o ownRun) text() []byte {
	return fmt.Appendf(nil, "%d %d %d\n", nanos(o.from), nanos(o.to), nanos(o.next))
}

func parseOwnRun(b []byte) (o ownRun, ok bool) {
	var from, to, next int64
	if n, err := fmt.Sscan(string(b), &from, &to, &next); n != 3 || err != nil || from == 0 {
		return ownRun{}, false
	}
	return ownRun{from: time.Unix(0, from), to: fromNanos(to), next: fromNanos(next), ends: true}, true
}

// nanos and fromNanos keep the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// isOurs tells whether a lock was taken for a command of ours: by a process of it, or since it began. On Virtuozzo 7 the
// holder is the dispatcher, whoever asked it.
func (h *vzHost) isOurs(key string, pid int, since time.Time) bool {
	if hostexec.Own(pid) {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.own[key]
	const tick = 50 * time.Millisecond // files are dated in ticks of the kernel
	return ok && o.to.IsZero() && !since.Before(o.from.Add(-tick)) && since.Before(o.from.Add(maxOwn))
}

// maxOwn is how long after the beginning of a command of ours a stop in the log is taken for its, where its end is not known.
const maxOwn = 5 * time.Minute

// ourStop tells whether a stop that the log tells of was ours. The log has whole seconds.
func (h *vzHost) ourStop(id string, at time.Time) bool {
	o, ok := h.endedLast(id)
	if !ok {
		return false
	}
	if o.to.IsZero() {
		o.to = o.from.Add(maxOwn)
	}
	if !o.next.IsZero() && at.After(o.next) {
		return false // we have ordered something else since, such as a start
	}
	return !at.Before(o.from.Add(-2*time.Second)) && !at.After(o.to.Add(2*time.Second))
}

// ownUnderWay tells whether a command of ours about a container has not ended.
func (h *vzHost) ownUnderWay(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.own[key]
	return ok && o.to.IsZero()
}

// endedByUs tells whether what is down was ended by a command of ours: it was last seen running at ran.
func (h *vzHost) endedByUs(key string, ran time.Time) bool {
	o, ok := h.endedLast(key)
	if !ok {
		return false
	}
	if o.to.IsZero() { // it goes on, or nobody has seen its end
		return time.Since(o.from) < maxOwn
	}
	if ran.IsZero() {
		return time.Since(o.to) < maxOwn
	}
	return o.to.After(ran)
}

// purpose says who stopped a container, from vzctl's own log: "" when it was not stopped by a command, by one of ours, or
// before the host booted (the host's shutdown stops them all).
func (h *vzHost) purpose(id, key string, global map[string]string) string {
	s := h.stops(global)[id]
	if !s.stopped || s.at.Before(bootTime()) || h.ourStop(key, s.at) {
		return ""
	}
	return fmt.Sprintf("vzctl.log at %s: %s", s.at.UTC().Format(time.RFC3339), s.how)
}

// stops reads the end of vzctl's log, when it has grown.
func (h *vzHost) stops(global map[string]string) map[string]vzStop {
	path := h.file(global["LOGFILE"])
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.log.stops != nil && h.log.size == info.Size() && h.log.mod.Equal(info.ModTime()) {
		return h.log.stops
	}
	b, err := readTail(path, vzLogTail)
	if err != nil {
		return nil
	}
	h.log = vzLogRead{size: info.Size(), mod: info.ModTime(), stops: parseVZLog(b)}
	return h.log.stops
}

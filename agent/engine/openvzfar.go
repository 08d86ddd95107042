package engine

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// OpenVZ on another host, which is where most of it is: its kernels are too old for this program. vzlist tells as much there
// as here; what is read from files here is asked for by commands there, and only by a look.

// fromAfar adds what the files of that host tell about a container: who holds its lock, and who stopped it. There is no
// comparing of clocks: a stop is ours when the last command of ours that ends it began after it was last seen running.
func (o openvz) fromAfar(ctx context.Context, s health.Sighting) health.Sighting {
	if !o.far() {
		return s
	}
	global := o.global()
	s.Lock = o.lockThere(ctx, s.Ref.ID, global)
	if s.State != health.Stopped || s.OnPurpose != "" || o.endedByUs(s.Ref.ID, o.lastRan(s.Ref.ID)) {
		return s
	}
	if stop := parseVZLog(o.logEnd(ctx))[s.Ref.ID]; stop.stopped {
		s.OnPurpose = "vzctl.log at " + stop.at.UTC().Format(time.RFC3339) + ": " + stop.how
	}
	return s
}

// lockThere reads a lock file there, and asks that host's /proc whether its holder lives.
func (o openvz) lockThere(ctx context.Context, id string, global map[string]string) *health.Lock {
	path := filepath.Join(global["LOCKDIR"], id+".lck")
	t := o.run.Read(ctx, hostexec.Command{Argv: []string{"head", "-c", "512", "--", path}, Timeout: o.spec.Timeout, MaxOut: 4 << 10})
	pid, action, ok := parseVZLock(t.Stdout)
	if !t.OK() || !ok || o.ownUnderWay(id) {
		return nil
	}
	l := &health.Lock{Operation: action, Holder: health.Process{PID: pid}}
	t = o.run.Read(ctx, hostexec.Command{Argv: []string{"head", "-c", "512", "--", "/proc/" + strconv.Itoa(pid) + "/cmdline"}, Timeout: o.spec.Timeout, MaxOut: 4 << 10})
	switch {
	case t.Exit > 0: // head says that it is not there
		l.Dead = true
	case l.Operation == "":
		l.Operation = tidy(string(t.Stdout)) // the zeros between its words become blanks
	}
	if l.Operation == "" {
		l.Operation = "an operation of vzctl"
	}
	return l
}

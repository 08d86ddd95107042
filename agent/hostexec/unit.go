package hostexec

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

// unitChild is a changing command in a transient systemd unit. The unit stays loaded after the command has ended, so
// that its exit code can be asked for by us or by a successor, until release.
type unitChild struct {
	units *units
	name  string
	job   <-chan string // told when the command has ended; may be missed, hence also asked for
}

// errNotUsable marks a start that systemd certainly did not make and does not object to, so that another way may be tried
// without starting twice.
var errNotUsable = errors.New("systemd cannot be used")

// start has systemd start c, and returns once systemd has taken the order. When its answer is lost, the order may be
// carried out yet: the unit counts as under way until systemd says otherwise. A refusal that is about the command (the
// host is shutting down, say) is an error; one that is about the way is errNotUsable.
func (u *units) start(r record, c Command, path string, o outputs) (*unitChild, error) {
	if !expressible(c) {
		return nil, fmt.Errorf("%w: D-Bus carries no arguments that are not UTF-8", errNotUsable)
	}
	if err := u.answers(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotUsable, err)
	}
	child := &unitChild{units: u, name: r.Unit, job: u.expect(r.Unit)}
	var job dbus.ObjectPath
	err := u.call("StartTransientUnit", &job, r.Unit, "fail", properties(r, c, path, o), []auxUnit{})
	var refused dbus.Error
	if err == nil || !errors.As(err, &refused) || unanswered(refused) {
		return child, nil
	}
	u.unexpect(r.Unit)
	if strings.HasPrefix(refused.Name, managerName+".") {
		return nil, fmt.Errorf("start unit %q: %s: %w", r.Unit, refused.Name, err)
	}
	return nil, fmt.Errorf("%w: start unit %q: %s: %w", errNotUsable, r.Unit, refused.Name, err)
}

// unanswered tells the errors by which a bus says that no answer came, from those that are the answer.
func unanswered(e dbus.Error) bool {
	switch strings.TrimPrefix(e.Name, "org.freedesktop.DBus.Error.") {
	case "NoReply", "Timeout", "TimedOut", "Disconnected":
		return true
	}
	return false
}

// mainEnd is how the main process of a unit stands.
type mainEnd struct {
	code   int32 // CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: not ended
	status int32 // exit code or signal
	active string
	job    jobRef // the unit's job in systemd's queue; 0: none
}

type jobRef struct {
	ID   uint32
	Path dbus.ObjectPath
}

// over reports whether nothing runs and nothing is going to.
func (e mainEnd) over() bool {
	return e.job.ID == 0 && (e.active == "inactive" || e.active == "failed")
}

// wait returns when the command has ended. It asks when told of the end, and, in case that was missed, every second.
func (c *unitChild) wait() ending {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer c.units.unexpect(c.name)
	result := "not told"
	for {
		select {
		case result = <-c.job:
		case <-tick.C:
		}
		e, err := c.main()
		switch {
		case err != nil: // systemd is away for a moment, re-executing itself perhaps
		case e.code != 0:
			return c.ending(e)
		case e.over():
			return ending{exit: -1, why: fmt.Sprintf("systemd did not run it: unit %q is %s, result of its job: %s", c.name, e.active, result)}
		}
	}
}

func (c *unitChild) ending(e mainEnd) ending {
	const exited = 1
	if e.code != exited {
		return ending{exit: -1, signal: signalName(syscall.Signal(e.status))}
	}
	return ending{exit: int(e.status)}
}

// main asks for the main process's end, in one round trip.
func (c *unitChild) main() (mainEnd, error) {
	var e mainEnd
	err := c.units.properties(c.name, answerWithin, map[string]any{
		serviceIface + " ExecMainCode": &e.code, serviceIface + " ExecMainStatus": &e.status, unitIface + " ActiveState": &e.active,
		unitIface + " Job": &e.job,
	})
	return e, err
}

// terminate asks the command, and nothing that it started, to end.
func (c *unitChild) terminate() error {
	return c.units.call("KillUnit", nil, c.name, "main", int32(syscall.SIGTERM))
}

// process asks for the pid. It is 0 until systemd has forked.
func (c *unitChild) process() (int, uint64) {
	var pid uint32
	if err := c.units.properties(c.name, pidWithin, map[string]any{serviceIface + " ExecMainPID": &pid}); err != nil || pid == 0 {
		return 0, 0
	}
	s, err := readStat(int(pid))
	if err != nil {
		return int(pid), 0
	}
	return int(pid), s.start
}

// release unloads the unit. Left loaded by a lost answer, it does no harm, and a reboot forgets it.
func (c *unitChild) release() { _ = c.units.call("StopUnit", nil, c.name, "replace") }

// find looks for a unit of an earlier agent: nil when it is not there or has ended (it is then released). known is false
// when systemd cannot be asked.
func (u *units) find(name string) (found child, known bool) {
	if u == nil {
		return nil, false
	}
	c := &unitChild{units: u, name: name, job: u.expect(name)}
	e, err := c.main()
	if err != nil {
		u.unexpect(name)
		return nil, false
	}
	if e.code == 0 && !e.over() {
		return c, true
	}
	u.unexpect(name)
	if e.active != "inactive" {
		c.release()
	}
	return nil, true
}

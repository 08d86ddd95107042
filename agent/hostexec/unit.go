package hostexec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

// unitChild is a changing command in a transient systemd unit. The unit stays loaded after the command has ended, so
// that its exit code can be asked for by us or by a successor, until release.
type unitChild struct {
	units *units
	name  string
	job   <-chan string // told when the command has ended; may be missed, hence also asked for
}

type property struct {
	Name  string
	Value dbus.Variant
}

type execCommand struct {
	Path   string
	Args   []string
	Ignore bool
}

type auxUnit struct {
	Name       string
	Properties []property
}

// start has systemd start c, and returns once systemd has taken the order. Errors that wrap errNotSent leave nothing
// started. The unit's name is the key: if the answer is lost, the unit is looked for before anything else is tried.
func (u *units) start(r record, c Command, path string, o outputs) (*unitChild, error) {
	if err := u.reachable(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	child := &unitChild{units: u, name: r.Unit, job: u.expect(r.Unit)}
	var job dbus.ObjectPath
	err := u.call("StartTransientUnit", &job, r.Unit, "fail", properties(r, c, path, o), []auxUnit{})
	if err == nil {
		return child, nil
	}
	u.unexpect(r.Unit)
	var refused dbus.Error
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("%w successfully: start unit %q: %w", errNotSent, r.Unit, err)
	}
	if found, known := u.find(r.Unit); known && found != nil {
		return found.(*unitChild), nil
	}
	return nil, fmt.Errorf("start unit %q: systemd did not answer, it may start it yet: %w", r.Unit, err)
}

// properties describe the unit; see systemd.service(5), systemd.exec(5), systemd.kill(5).
func properties(r record, c Command, path string, o outputs) []property {
	v := func(name string, value any) property { return property{name, dbus.MakeVariant(value)} }
	return []property{
		v("Description", printable(fmt.Sprintf("atalaya: %s %s", r.Op.Verb, r.Op.Container), 200)),
		// The job of a oneshot ends when its command ends. The "ignore" of ExecStart and RemainAfterExit keep the unit,
		// with the exit code, whatever it is: nothing shows as failed on the host that is not the host's failure.
		v("Type", "oneshot"),
		v("RemainAfterExit", true),
		v("ExecStart", []execCommand{{path, escapeDollars(c.Argv), true}}),
		v("WorkingDirectory", c.dir()),
		v("Environment", c.environ()),
		v("UnsetEnvironment", foreignEnvironment(c)),
		v("StandardInput", "null"),
		v("StandardOutputFileDescriptor", dbus.UnixFD(o.out.Fd())),
		v("StandardErrorFileDescriptor", dbus.UnixFD(o.err.Fd())),
		// Nothing is ever killed: not what the command left running (the container), and the command at most by SIGTERM
		// at the shutdown of the host.
		v("KillMode", "process"),
		v("SendSIGKILL", false),
		v("OOMPolicy", "continue"),
		v("TimeoutStartUSec", uint64(math.MaxUint64)),
		// As a person's shell would have it.
		v("UMask", uint32(0o022)),
		v("OOMScoreAdjust", int32(0)),
		v("IgnoreSIGPIPE", false),
		v("TasksMax", uint64(math.MaxUint64)),
	}
}

// escapeDollars keeps systemd from putting environment variables into arguments.
func escapeDollars(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, "$", "$$")
	}
	return out
}

// foreignEnvironment names what systemd adds by itself, unless the command asks for it.
func foreignEnvironment(c Command) []string {
	var out []string
	for _, name := range []string{"INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM", "LANG", "LANGUAGE", "NOTIFY_SOCKET", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"} {
		asked := false
		for _, e := range c.Env {
			asked = asked || strings.HasPrefix(e, name+"=")
		}
		if !asked {
			out = append(out, name)
		}
	}
	return out
}

// expressible reports whether D-Bus can carry the command: its strings are UTF-8.
func expressible(c Command) bool {
	for _, list := range [][]string{c.Argv, c.Env, {c.Dir}} {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return false
			}
		}
	}
	return true
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
	err := c.units.properties(c.name, map[string]any{
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
	if err := c.units.properties(c.name, map[string]any{serviceIface + " ExecMainPID": &pid}); err != nil || pid == 0 {
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

// properties asks for several properties of a unit at once; the keys are "interface name".
func (u *units) properties(unit string, want map[string]any) error {
	conn, err := u.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	object := conn.Object(managerName, unitPath(unit))
	calls := make(map[string]*dbus.Call, len(want))
	for key := range want {
		iface, name, _ := strings.Cut(key, " ")
		calls[key] = object.GoWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, make(chan *dbus.Call, 1), iface, name)
	}
	for key, call := range calls {
		<-call.Done
		var value dbus.Variant
		if err := call.Store(&value); err != nil {
			return fmt.Errorf("ask systemd for %s of unit %q: %w", key, unit, err)
		}
		if err := value.Store(want[key]); err != nil {
			return fmt.Errorf("ask systemd for %s of unit %q: %w", key, unit, err)
		}
	}
	return nil
}

// unitPath is the D-Bus path of a unit: every byte that is not a letter or digit, and a leading digit, as _xx; see
// sd_bus_path_encode(3).
func unitPath(unit string) dbus.ObjectPath {
	var b strings.Builder
	b.WriteString(managerPath + "/unit/")
	for i, c := range []byte(unit) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return dbus.ObjectPath(b.String())
}

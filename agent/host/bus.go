package host

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// This file speaks with systemd over its private socket, org.freedesktop.systemd1(5). Root alone may. It needs no D-Bus
// daemon, which is stopped early in a shutdown, and all signals come without a subscription.

const (
	busSocket  = "run/systemd/private" // below the root
	busName    = "org.freedesktop.systemd1"
	busPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager    = busName + ".Manager"
	properties = "org.freedesktop.DBus.Properties"
)

// A bus is a connection to PID 1.
type bus struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal
}

func dialBus(root string) (*bus, error) {
	conn, err := dbus.Dial("unix:path=" + root + busSocket)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd at %q: %w", root+busSocket, err)
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("authenticate to systemd: %w", err)
	}
	b := &bus{conn: conn, signals: make(chan *dbus.Signal, 64)}
	conn.Signal(b.signals)
	return b, nil
}

// close ends the connection; closing twice does no harm.
func (b *bus) close() { _ = b.conn.Close() }

// lost is closed when the connection has ended, as at a daemon-reexec.
func (b *bus) lost() <-chan struct{} { return b.conn.Context().Done() }

func (b *bus) ended() bool { return b.conn.Context().Err() != nil }

// ask is query within the time in which PID 1 answers if it ever does.
func (b *bus) ask(ctx context.Context, names []string) (string, map[string]unit, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return b.query(ctx, names)
}

// query asks for the state of the system and of the named units, in two calls that are under way together, and in one
// more per unit that is neither active nor unknown.
func (b *bus) query(ctx context.Context, names []string) (string, map[string]unit, error) {
	object := b.conn.Object(busName, busPath)
	state := object.GoWithContext(ctx, properties+".Get", 0, nil, manager, "SystemState")
	list := object.GoWithContext(ctx, manager+".ListUnitsByNames", 0, nil, names)
	var system dbus.Variant
	var rows []listedUnit
	if err := (<-state.Done).Store(&system); err != nil {
		return "", nil, fmt.Errorf("ask systemd for its state: %w", err)
	}
	if err := (<-list.Done).Store(&rows); err != nil {
		return "", nil, fmt.Errorf("ask systemd for %s: %w", strings.Join(names, ", "), err)
	}
	word, _ := system.Value().(string)
	units := make(map[string]unit, len(rows))
	for _, r := range rows {
		u := unit{active: r.Active, job: r.JobType}
		if u.active == "activating" || u.active == "inactive" {
			u.started, u.stopped = b.times(ctx, r.Path)
		}
		units[r.Name] = u
	}
	return word, units, nil
}

// listedUnit is a row of ListUnitsByNames.
type listedUnit struct {
	Name, Description, Load, Active, Sub, Following string
	Path                                            dbus.ObjectPath
	JobID                                           uint32
	JobType                                         string
	JobPath                                         dbus.ObjectPath
}

// times gives when a unit last left inactive, and when it last left active; zero when never in this boot, or not known.
func (b *bus) times(ctx context.Context, path dbus.ObjectPath) (started, stopped time.Time) {
	object := b.conn.Object(busName, path)
	for name, t := range map[string]*time.Time{"InactiveExitTimestamp": &started, "ActiveExitTimestamp": &stopped} {
		var v dbus.Variant
		if object.CallWithContext(ctx, properties+".Get", 0, busName+".Unit", name).Store(&v) != nil {
			continue
		}
		if usec, ok := v.Value().(uint64); ok && usec > 0 {
			*t = time.UnixMicro(int64(usec))
		}
	}
	return started, stopped
}

// touches says whether a signal may change the answer to query: a job that began or ended, of these units or of the
// target behind every shutdown, or a change of these units.
func touches(s *dbus.Signal, names map[string]bool) bool {
	switch s.Name {
	case manager + ".JobNew", manager + ".JobRemoved":
		name, ok := "", false
		if len(s.Body) > 2 {
			name, ok = s.Body[2].(string)
		}
		return ok && (names[name] || name == "shutdown.target")
	case properties + ".PropertiesChanged":
		name, ok := unitOf(s.Path)
		return ok && names[name]
	}
	return false
}

// unitOf gives the unit behind an object path, in which systemd writes every other byte than [A-Za-z0-9] as _xx.
func unitOf(path dbus.ObjectPath) (string, bool) {
	escaped, ok := strings.CutPrefix(string(path), string(busPath)+"/unit/")
	var name strings.Builder
	for i := 0; ok && i < len(escaped); i++ {
		if escaped[i] != '_' {
			name.WriteByte(escaped[i])
			continue
		}
		code, err := strconv.ParseUint(escaped[i+1:min(i+3, len(escaped))], 16, 8)
		if err != nil {
			return "", false
		}
		name.WriteByte(byte(code))
		i += 2
	}
	return name.String(), ok
}

package hostexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	managerName  = "org.freedesktop.systemd1"
	managerPath  = "/org/freedesktop/systemd1"
	managerIface = "org.freedesktop.systemd1.Manager"
	unitIface    = "org.freedesktop.systemd1.Unit"
	serviceIface = "org.freedesktop.systemd1.Service"

	// systemd's own socket is used rather than the system bus: it saves a hop through dbus-daemon each way, and works
	// when that is down. Only root may connect; others go by the bus.
	privateSocket = "unix:path=/run/systemd/private"

	dialWithin   = time.Second            // to connect
	answerWithin = 5 * time.Second        // to answer one call: systemd is slow when thousands of units change at boot
	pidWithin    = 200 * time.Millisecond // to answer a question whose answer can wait
	pongWithin   = 3 * time.Second        // to show that it answers at all, before it is given an order
)

// units is the connection to systemd, made when it is needed and again after it broke. It is safe for concurrent use.
type units struct {
	mu      sync.Mutex
	conn    *dbus.Conn
	closed  bool
	waiting map[string][]chan string // by unit name: told the result of its job
	readers sync.WaitGroup
}

func newUnits() *units { return &units{waiting: map[string][]chan string{}} }

// connect gives the live connection.
func (u *units) connect() (*dbus.Conn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, errors.New("connect to systemd: this Host is closed")
	}
	if u.conn != nil && u.conn.Connected() {
		return u.conn, nil
	}
	conn, err := dialSystemd()
	if err != nil {
		return nil, err
	}
	u.conn = conn
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	u.readers.Add(1)
	go u.dispatch(signals)
	return conn, nil
}

func (u *units) reachable() error {
	_, err := u.connect()
	return err
}

func (u *units) close() {
	u.mu.Lock()
	u.closed = true
	conn := u.conn
	u.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	u.readers.Wait()
}

// dialBus connects to the system bus within ctx. The library takes no deadline: to a hung dbus-daemon it would wait for ever,
// and every start after it; a connection that comes too late is closed.
func dialBus(ctx context.Context) (*dbus.Conn, error) {
	type dialled struct {
		conn *dbus.Conn
		err  error
	}
	ch := make(chan dialled)
	go func() {
		c, err := dbus.ConnectSystemBus(dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
		select {
		case ch <- dialled{c, err}:
		case <-ctx.Done():
			if err == nil {
				_ = c.Close()
			}
		}
	}()
	select {
	case d := <-ch:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dialSystemd connects and subscribes to the ends of jobs. A hung systemd costs dialWithin.
func dialSystemd() (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialWithin)
	defer cancel()
	conn, private := dialPrivate(ctx)
	if conn == nil {
		var err error
		if conn, err = dialBus(ctx); err != nil {
			return nil, fmt.Errorf("connect to systemd by %s and by the system bus: %w", privateSocket, err)
		}
	}
	if !private {
		if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerIface), dbus.WithMatchMember("JobRemoved")); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("subscribe to systemd's jobs: %w", err)
		}
	}
	if err := conn.Object(managerName, managerPath).CallWithContext(ctx, managerIface+".Subscribe", 0).Err; err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("subscribe to systemd's jobs: %w", err)
	}
	return conn, nil
}

// dialPrivate gives nil when the socket is not there or not for us.
func dialPrivate(ctx context.Context) (*dbus.Conn, bool) {
	conn, err := dbus.Dial(privateSocket, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, false
	}
	// godbus has no deadline for the authentication: a hung systemd is cut off by closing the socket.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		_ = conn.Close()
		return nil, false
	}
	if !wake(ctx, conn) {
		_ = conn.Close()
		return nil, false
	}
	return conn, true
}

// wake makes sure that systemd reads what comes over a new connection to its private socket. Seen with 252: when the
// first message arrives together with the end of the authentication, in one of two cases here, it lies unread in
// systemd's buffer until more bytes come. So it is asked again until it answers.
func wake(ctx context.Context, conn *dbus.Conn) bool {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		err := conn.Object(managerName, managerPath).CallWithContext(once, "org.freedesktop.DBus.Peer.Ping", 0).Err
		cancel()
		if err == nil {
			return true
		}
	}
	return false
}

// dispatch tells those who wait for a unit that its job has ended, until the connection does.
func (u *units) dispatch(signals <-chan *dbus.Signal) {
	defer u.readers.Done()
	for s := range signals {
		if s.Name != managerIface+".JobRemoved" || len(s.Body) != 4 {
			continue
		}
		unit, _ := s.Body[2].(string)
		result, _ := s.Body[3].(string)
		u.mu.Lock()
		for _, c := range u.waiting[unit] {
			c <- result // each has room for one, and is told once
		}
		delete(u.waiting, unit)
		u.mu.Unlock()
	}
}

// expect announces that the end of the unit's job is waited for.
func (u *units) expect(unit string) <-chan string {
	c := make(chan string, 1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting[unit] = append(u.waiting[unit], c)
	return c
}

func (u *units) unexpect(unit string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, unit)
}

// answers reports whether systemd answers now. An order to one that hangs would be carried out when it comes to itself, at any
// time and beside what was done without it; and a connection made in better days says nothing.
func (u *units) answers() error {
	conn, err := u.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), pongWithin)
	defer cancel()
	return conn.Object(managerName, managerPath).CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err
}

// call makes one call to systemd's manager.
func (u *units) call(method string, result any, args ...any) error {
	conn, err := u.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	call := conn.Object(managerName, managerPath).CallWithContext(ctx, managerIface+"."+method, 0, args...)
	if result == nil {
		return call.Err
	}
	return call.Store(result)
}

// properties asks for several properties of a unit at once; the keys are "interface name".
func (u *units) properties(unit string, within time.Duration, want map[string]any) error {
	conn, err := u.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
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

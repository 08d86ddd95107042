package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// systemd, machined, and the monitors of machines, as they hang, are out of reach, and come back.

// systemd cannot be stopped; it is out of reach when its sockets are.
func (b *nspawnBench) daemonStopped(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	var back []func()
	for _, socket := range []string{"/run/systemd/private", "/run/dbus/system_bus_socket"} {
		if err := os.Rename(socket, socket+".away"); err != nil {
			t.Fatal(err)
		}
		back = append(back, func() { _ = os.Rename(socket+".away", socket) })
	}
	restore := sync.OnceFunc(func() {
		for _, f := range back {
			f()
		}
	})
	defer restore()
	if l, err := b.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "Failed to connect to bus") {
		t.Errorf("%+v %v", l, err)
	}
	if s, err := b.i.Look(context.Background(), "db1", before); err == nil {
		t.Errorf("%+v", s)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "db1", 0); a.Err == "" || !strings.Contains(a.Cause, "Failed to connect to bus") {
		t.Errorf("%+v", a)
	}
	restore()
	if s := find(t, list(t, b.i), "db1"); s.State != health.Running || s.Init != before {
		t.Errorf("%+v, was %v", s, before)
	}
}

// systemd itself is frozen in its cgroup: as process 1 it takes no signal of its own host's.
func (b *nspawnBench) daemonHung(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	i, _ := nspawnOpen(t, engine.Spec{Timeout: time.Second})
	freeze := func(to string) {
		if err := os.WriteFile("/sys/fs/cgroup/init.scope/cgroup.freeze", []byte(to), 0o644); err != nil {
			t.Error(err)
		}
	}
	freeze("1")
	defer freeze("0")
	began := time.Now()
	if l, err := i.List(context.Background(), nil); err == nil {
		t.Errorf("%+v", l)
	}
	if s, err := i.Look(context.Background(), "db1", before); err == nil {
		t.Errorf("%+v", s)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a list and a look took %s", took)
	}
	freeze("0")
	if s := find(t, list(t, i), "db1"); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
		t.Errorf("%+v, was %v", s, before)
	}
}

// systemd, its journal and machined are begun anew: what ran still runs, and the events go on.
func (b *nspawnBench) daemonAnew(t *testing.T) {
	b = b.on(t)
	before := b.up(t, "db1")
	told := b.follow(t)
	b.Nspawn.Run("systemctl", "daemon-reexec")
	b.Nspawn.Run("systemctl", "restart", "systemd-machined.service", "systemd-journald.service")
	next, _ := nspawnOpen(t, engine.Spec{})
	for _, i := range []*engine.Instance{b.i, next} {
		if s := find(t, list(t, i), "db1"); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
			t.Errorf("%+v, was %v", s, before)
		}
		if s := look(t, i, "db1"); s.State != health.Running || s.Init != before {
			t.Errorf("%+v, was %v", s, before)
		}
	}
	b.Kill9("db1")
	ends(t, before)
	if s, err := b.i.Look(context.Background(), "db1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("%+v %v", s, err)
	}
	eventually(t, "the death is told", func() bool { return slices.Contains(told(), "db1") })
	b.made(t, "db3")
	b.Run("db3")
	eventually(t, "a new machine has all listed anew", func() bool { return slices.Contains(told(), "") })
}

// follow gives what was told by the stream of events so far. It is known to be followed when it tells of a death.
func (b *nspawnBench) follow(t *testing.T) func() []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.i.Events(ctx, func(id string) { mu.Lock(); ids = append(ids, id); mu.Unlock() }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	told := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(ids) }
	list(t, b.i)
	eventually(t, "events are followed", func() bool {
		before := b.up(t, "db2")
		b.Kill9("db2")
		ends(t, before)
		_, _ = b.i.Look(context.Background(), "db2", before)
		return slices.Contains(told(), "db2")
	})
	return told
}

// The systemd-nspawn of one machine is stopped: it and the others are seen, each is asked of systemd.
func (b *nspawnBench) monitorHangs(t *testing.T) {
	b = b.on(t)
	before, other := b.up(t, "db1"), b.up(t, "db2")
	monitor := b.MonitorPID("db1")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(monitor, syscall.SIGCONT) }()
	i, _ := nspawnOpen(t, engine.Spec{Timeout: 5 * time.Second})
	l := list(t, i)
	if one, two := find(t, l, "db1"), find(t, l, "db2"); one.State != health.Running || one.Init != before || two.State != health.Running || two.Init != other {
		t.Errorf("%+v", l)
	}
	// Its init dies, and nobody tells systemd.
	b.Kill9("db1")
	eventually(t, "it is not taken for running", func() bool { return find(t, list(t, i), "db1").State != health.Running })
	if s := find(t, list(t, i), "db1"); s.State != health.Unknown || !strings.Contains(s.Detail, "is stopped") {
		t.Errorf("%+v", s)
	}
	_ = syscall.Kill(monitor, syscall.SIGCONT)
	awaitState(t, i, "db1", health.Stopped)
	if find(t, list(t, i), "db2").State != health.Running {
		t.Error("the other one is not seen")
	}
}

// A machine can hang machined for all, by what it makes of its /etc/os-release. Lists go on, in time, and name it.
func (b *nspawnBench) machinedHangs(t *testing.T) {
	b = b.on(t)
	b.made(t, "evil")
	b.up(t, "evil")
	release := filepath.Join(b.Root("evil"), "etc/os-release")
	if err := os.Remove(release); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(release, 0o644); err != nil {
		t.Fatal(err)
	}
	defer b.Nspawn.Run("systemctl", "kill", "--signal=SIGKILL", "systemd-machined.service")
	defer func() { _ = os.Remove(release) }()
	i, w := nspawnOpen(t, engine.Spec{})
	began := time.Now()
	l := list(t, i)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a list took %s", took)
	}
	if find(t, l, "db1").State == health.Missing || find(t, l, "evil").State != health.Running {
		t.Errorf("%+v", l)
	}
	notes := append(l.Notes, list(t, i).Notes...)
	if len(notes) != 1 || !strings.Contains(notes[0], `machined does not answer`) || !strings.Contains(notes[0], `waits for machine "evil"`) {
		t.Errorf("%q", notes)
	}
	before := w.reads.Load()
	list(t, i)
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list while machined hangs", n)
	}
}

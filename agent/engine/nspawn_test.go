package engine_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What only nspawn can be asked. It runs on the host that TestConformance/nspawn boots; see nspawnAway.
func TestNspawn(t *testing.T) {
	if os.Getenv(nspawnInside) == "" {
		return
	}
	t.Run("nspawn", func(t *testing.T) {
		n := rig.NewNspawn(t)
		y := &nspawnYard{n, t}
		w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
		i, err := engine.Open(engine.Spec{Engine: "nspawn", RunDir: t.TempDir()}, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		y.Make("db1", made{})
		y.Make("db2", made{})
		y.Run("db1")
		y.Run("db2")
		for _, c := range []struct {
			name string
			run  func(*nspawnBench, *testing.T)
		}{
			{"one process a list", (*nspawnBench).costs},
			{"who stopped it", (*nspawnBench).stops},
			{"the guest powers off", (*nspawnBench).powersOff},
			{"the guest reboots", (*nspawnBench).reboots},
			{"a look at a death is the last word", (*nspawnBench).dies},
			{"a machine without a unit", (*nspawnBench).stray},
			{"events", (*nspawnBench).events},
			{"evidence", (*nspawnBench).evidence},
			{"discovery", (*nspawnBench).discovery},
		} {
			t.Run(c.name, func(t *testing.T) { c.run(&nspawnBench{&nspawnYard{n.With(t), t}, i, w}, t) })
		}
	})
}

type nspawnBench struct {
	*nspawnYard
	i *engine.Instance
	w *watched
}

func (b *nspawnBench) up(t *testing.T, id string) health.Process {
	t.Helper()
	if look(t, b.i, id).State != health.Running {
		b.Run(id)
	}
	s := look(t, b.i, id)
	if s.State != health.Running || s.Init.PID != b.InitPID(id) {
		t.Fatalf("%+v", s)
	}
	return s.Init
}

func (b *nspawnBench) costs(t *testing.T) {
	list(t, b.i)
	list(t, b.i)
	before := b.w.reads.Load()
	l := list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
	if s := find(t, l, "db1"); len(s.Addrs) != 1 || s.Addrs[0].Prefix.Addr() != b.Addr("db1") {
		t.Errorf("%+v", s)
	}
}

func (b *nspawnBench) stops(t *testing.T) {
	for _, argv := range [][]string{{"systemctl", "stop", "systemd-nspawn@db1"}, {"machinectl", "terminate", "db1"}} {
		before := b.up(t, "db1")
		b.Nspawn.Run(argv...)
		eventually(t, "it is stopped", func() bool {
			s, err := b.i.Look(context.Background(), "db1", before)
			return err == nil && s.State == health.Stopped
		})
		if s := look(t, b.i, "db1"); s.OnPurpose != "a stop job of systemd" {
			t.Errorf("%q: %+v", argv, s)
		}
		if s := find(t, list(t, b.i), "db1"); s.OnPurpose != "a stop job of systemd" {
			t.Errorf("%q: %+v", argv, s)
		}
	}
	before := b.up(t, "db1")
	b.Nspawn.Run("systemctl", "kill", "--signal=SIGKILL", "systemd-nspawn@db1")
	eventually(t, "its init ends", func() bool { return syscall.Kill(before.PID, 0) != nil })
	if s, err := b.i.Look(context.Background(), "db1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "systemctl kill" || s.Detail != "failed: signal 9" {
		t.Errorf("%+v %v", s, err)
	}
	for _, v := range []health.Verb{health.VerbStop, health.VerbKill} {
		b.up(t, "db1")
		if a := b.i.Do(context.Background(), v, "db1", 0); a.Err != "" {
			t.Fatalf("%s: %+v", v, a)
		}
		awaitState(t, b.i, "db1", health.Stopped)
		if s := look(t, b.i, "db1"); s.OnPurpose != "" {
			t.Errorf("%s: it was us: %+v", v, s)
		}
	}
}

func (b *nspawnBench) powersOff(t *testing.T) {
	before := b.up(t, "db1")
	b.Inside("db1", "poweroff")
	eventually(t, "it is off", func() bool { return syscall.Kill(before.PID, 0) != nil })
	if s, err := b.i.Look(context.Background(), "db1", before); err != nil || s.State != health.Stopped || !strings.Contains(s.OnPurpose, "poweroff inside") {
		t.Errorf("%+v %v", s, err)
	}
}

func (b *nspawnBench) reboots(t *testing.T) {
	before := b.up(t, "db1")
	b.Inside("db1", "reboot")
	eventually(t, "its init ends", func() bool { return syscall.Kill(before.PID, 0) != nil })
	s, err := b.i.Look(context.Background(), "db1", before)
	if err != nil || s.State != health.Running || s.Init == before || s.Init.PID != b.InitPID("db1") {
		t.Errorf("a reboot is no death: %+v %v", s, err)
	}
}

func (b *nspawnBench) dies(t *testing.T) {
	before := b.up(t, "db1")
	b.Kill9("db1")
	s, err := b.i.Look(context.Background(), "db1", before)
	if err != nil || s.State != health.Stopped || s.Detail != "failed: exit-code 1" || s.OnPurpose != "" || s.Init.PID != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "db1", 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
}

func (b *nspawnBench) stray(t *testing.T) {
	b.Make("odd1", made{})
	b.Nspawn.Run("systemd-run", "--quiet", "--unit=oddly", "--property=KillMode=mixed", "--property=Delegate=yes",
		"systemd-nspawn", "--quiet", "--keep-unit", "--boot", "--machine=odd1", "--settings=override")
	defer b.Nspawn.Run("systemctl", "kill", "--signal=SIGKILL", "oddly.service")
	eventually(t, "machined knows it", func() bool { _, err := os.Stat("/run/systemd/machines/odd1"); return err == nil })
	s := find(t, list(t, b.i), "odd1")
	if s.State != health.Running || s.Init.PID != b.InitPID("odd1") || !strings.Contains(s.Supervisor, "oddly.service") {
		t.Errorf("%+v", s)
	}
	if s := look(t, b.i, "odd1"); s.State != health.Running || !strings.Contains(s.Supervisor, "oddly.service") {
		t.Errorf("%+v", s)
	}
	list(t, b.i)
	before := b.w.reads.Load()
	list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
	was := s.Init
	b.Kill9("odd1")
	eventually(t, "it is off", func() bool {
		s, err := b.i.Look(context.Background(), "odd1", was)
		return err == nil && s.State == health.Stopped && s.Supervisor == ""
	})
}

func (b *nspawnBench) events(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.i.Events(ctx, func(id string) { mu.Lock(); ids = append(ids, id); mu.Unlock() })
	})
	defer func() { cancel(); wg.Wait() }()
	told := func(id string) bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(ids, id) }
	list(t, b.i)
	eventually(t, "a death is told", func() bool { // the stream has no beginning that could be awaited
		b.up(t, "db2")
		b.Kill9("db2")
		time.Sleep(50 * time.Millisecond)
		return told("db2")
	})
	b.Make("db3", made{})
	b.Run("db3")
	eventually(t, "a new machine has all listed anew", func() bool { return told("") })
	b.Remove("db3")
}

func (b *nspawnBench) evidence(t *testing.T) {
	b.up(t, "db1")
	for _, s := range b.i.Evidence("db1", look(t, b.i, "db1")) {
		if len(s.Argv) > 0 {
			if out := b.w.Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 10 * time.Second}); !out.OK() || len(out.Stdout) == 0 {
				t.Errorf("%s: %q %v", s.Name, out.Stderr, out.Err())
			}
		} else if _, err := os.Stat(s.Path); err != nil {
			t.Error(err)
		}
	}
}

func (b *nspawnBench) discovery(t *testing.T) {
	found := engine.Discover(context.Background(), b.w)
	if !slices.ContainsFunc(found, func(s engine.Spec) bool { return s.Engine == "nspawn" }) {
		t.Errorf("%+v", found)
	}
}

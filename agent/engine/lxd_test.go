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

// What only LXD can be asked, on its real daemon.
func TestLXD(t *testing.T) {
	rig.Require(t, "root", "lxd", "busybox")
	t.Parallel()
	r := rig.NewLXD(t)
	i, w := lxdOpen(t, r, 10*time.Second)
	if l := list(t, i); len(l.Containers) != 0 {
		t.Fatalf("an empty daemon: %+v", l)
	}
	r.MakeProject("p1")
	for _, name := range []string{"web1", "web2", "p1_web1"} {
		r.Make(name)
		r.Start(name)
		if _, err := rig.WaitHTTP(context.Background(), "http://"+r.Addr(name).String()+"/", 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		run  func(*lxdBench, *testing.T)
	}{
		{"projects", (*lxdBench).projects},
		{"one process a list", (*lxdBench).costs},
		{"who stopped it, by operations", (*lxdBench).operations},
		{"a death is waited for", (*lxdBench).dies},
		{"who stopped it, by events", (*lxdBench).events},
		{"the guest reboots", (*lxdBench).reboots},
		{"a monitor that hangs", (*lxdBench).monitorHangs},
		{"the daemon hangs, stops and comes back", (*lxdBench).daemon},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&lxdBench{r.With(t), i, w}, t)
		})
	}
}

type lxdBench struct {
	*rig.LXD
	i *engine.Instance
	w *watched
}

func (b *lxdBench) up(t *testing.T, id string) health.Process {
	t.Helper()
	if look(t, b.i, id).State != health.Running {
		b.Start(id)
	}
	awaitState(t, b.i, id, health.Running)
	return look(t, b.i, id).Init
}

func (b *lxdBench) projects(t *testing.T) {
	l := list(t, b.i)
	for _, id := range []string{"web1", "web2", "p1_web1"} {
		if s := find(t, l, id); s.State != health.Running || s.Name != id || s.Init.PID != b.InitPID(id) || s.Addrs[0].Prefix.Addr() != b.Addr(id) {
			t.Errorf("%+v", s)
		}
	}
	if a := b.i.Do(context.Background(), health.VerbKill, "p1_web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	l = list(t, b.i)
	if find(t, l, "p1_web1").State != health.Stopped || find(t, l, "web1").State != health.Running {
		t.Errorf("the other web1 was killed: %+v", l)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "p1_web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	if s := look(t, b.i, "p1_nosuch"); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
	if s := look(t, b.i, "nosuch_web1"); s.State != health.Removed {
		t.Errorf("there is no such project: %+v", s)
	}
	b.About("web2", "snapshot", "before")
	if l := list(t, b.i); len(l.Containers) != 3 {
		t.Errorf("a snapshot is listed: %+v", l)
	}
	for _, s := range b.i.Evidence("p1_web1", health.Sighting{}) {
		if len(s.Argv) > 0 && s.Name != "console.txt" { // LXD has none of a console that nobody wrote to
			if out := b.w.Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 10 * time.Second}); !out.OK() || len(out.Stdout) == 0 {
				t.Errorf("%s: %q %v", s.Name, out.Stderr, out.Err())
			}
		}
	}
}

func (b *lxdBench) costs(t *testing.T) {
	before := b.w.reads.Load()
	list(t, b.i)
	if n := b.w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
}

// Without events a stop is known while it is at work, and for some seconds after.
func (b *lxdBench) operations(t *testing.T) {
	b.up(t, "web1")
	done := make(chan error, 1)
	go func() { _, err := b.Try("stop", "web1", "--timeout", "30"); done <- err }()
	eventually(t, "the stop is a lock", func() bool {
		s := look(t, b.i, "web1")
		return s.Lock != nil && s.Lock.Operation == "Stopping instance" && !s.Lock.Since.IsZero()
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := look(t, b.i, "web1"); s.State != health.Stopped || !strings.Contains(s.OnPurpose, "Stopping instance") || s.Lock != nil {
		t.Errorf("%+v", s)
	}
	if s := find(t, list(t, b.i), "web1"); s.OnPurpose == "" {
		t.Errorf("%+v", s)
	}
	b.up(t, "web1")
	if a := b.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	if s := look(t, b.i, "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("it was us: %+v", s)
	}
	b.up(t, "web1")
}

// For 0.7 s after a death LXD refuses to start the container: the look lasts as long.
func (b *lxdBench) dies(t *testing.T) {
	before := b.up(t, "web1")
	b.Kill9("web1")
	s, err := b.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "" || s.Lock != nil {
		t.Fatalf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" || a.Already {
		t.Errorf("a start right after the look: %+v", a)
	}
	if s := look(t, b.i, "web1"); s.State != health.Running || s.Init == before {
		t.Errorf("%+v", s)
	}
}

// follow follows the events until the test ends, and gives what they told.
func (b *lxdBench) follow(t *testing.T) (told func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.i.Events(ctx, func(id string) { mu.Lock(); ids = append(ids, id); mu.Unlock() })
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	told = func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(ids) }
	eventually(t, "events come", func() bool { // the stream has no beginning that could be awaited
		b.Run("config", "set", "web2", "user.poked="+time.Now().Format(time.RFC3339Nano))
		return len(told()) > 0
	})
	return told
}

func (b *lxdBench) events(t *testing.T) {
	told := b.follow(t)
	before := b.up(t, "web1")
	b.About("web1", "stop", "--force")
	s, err := b.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "instance-stopped by root (unix)" {
		t.Errorf("%+v %v", s, err)
	}
	if !slices.Contains(told(), "web1") {
		t.Errorf("%q", told())
	}
	before = b.up(t, "web1")
	b.Kill9("web1")
	began := time.Now()
	s, err = b.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("nobody stopped it: %+v %v", s, err)
	}
	t.Logf("a look right after kill -9 took %s", time.Since(began))
	if a := b.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	for _, v := range []health.Verb{health.VerbRestart, health.VerbKill} {
		if a := b.i.Do(context.Background(), v, "web1", 0); a.Err != "" {
			t.Errorf("%s: %+v", v, a)
		}
	}
	if s := look(t, b.i, "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("it was us: %+v", s)
	}
	b.Make("web3")
	eventually(t, "a new container has all listed anew", func() bool { return slices.Contains(told(), "") })
	b.Remove("web3")
}

func (b *lxdBench) reboots(t *testing.T) {
	b.follow(t)
	before := b.up(t, "web2")
	eventually(t, "its web server is up", func() bool {
		_, err := rig.WaitHTTP(context.Background(), "http://"+b.Addr("web2").String()+"/", time.Second)
		return err == nil
	})
	_, _ = b.Try("exec", "web2", "--", "reboot")
	eventually(t, "its init ends", func() bool { return syscall.Kill(before.PID, 0) != nil })
	s, err := b.i.Look(context.Background(), "web2", before)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a look at the reboot: %s %s %+v", s.State, s.Detail, s.Lock)
	if s.OnPurpose != "" {
		t.Errorf("%+v", s)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "web2", 0); a.Err != "" && !strings.Contains(a.Cause, "busy") {
		t.Errorf("%+v", a)
	}
	awaitState(t, b.i, "web2", health.Running)
}

// One monitor that hangs hangs LXD's list for ever: the others stay watched.
func (b *lxdBench) monitorHangs(t *testing.T) {
	b.up(t, "web1")
	b.up(t, "web2")
	web2 := find(t, list(t, b.i), "web2")
	monitor := b.MonitorPID("web1")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(monitor, syscall.SIGCONT) }()
	i, err := engine.Open(engine.Spec{Engine: "lxd", Path: b.Path(), Bin: "/usr/bin", Timeout: 8 * time.Second, RunDir: t.TempDir()}, b.w, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l := list(t, i)
		web1, others := find(t, l, "web1"), find(t, l, "web2")
		if others.State != health.Running || others.Init != web2.Init || find(t, l, "p1_web1").State != health.Running {
			t.Errorf("%+v", others)
		}
		if web1.State != health.Broken && web1.State != health.Unknown || !strings.Contains(l.Degraded, "continue it with kill -CONT") {
			t.Errorf("%+v, degraded %q", web1, l.Degraded)
		}
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil || !strings.Contains(err.Error(), "is stopped") {
		t.Errorf("%+v %v", s, err)
	}
	_ = syscall.Kill(monitor, syscall.SIGCONT)
	eventually(t, "it is over", func() bool {
		l, err := i.List(context.Background(), nil)
		return err == nil && l.Degraded == "" && find(t, l, "web1").State == health.Running
	})
}

func (b *lxdBench) daemon(t *testing.T) {
	before := b.up(t, "web1")
	b.HangDaemon()
	i, err := engine.Open(engine.Spec{Engine: "lxd", Path: b.Path(), Bin: "/usr/bin", Timeout: time.Second, RunDir: t.TempDir()}, b.w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := i.List(context.Background(), nil); err == nil {
		t.Errorf("the daemon hangs: %+v", l)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("the daemon hangs: %+v", s)
	}
	b.ResumeDaemon()
	b.StopDaemon()
	if l, err := b.i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "unix.socket") {
		t.Errorf("the daemon is stopped: %+v %v", l, err)
	}
	if s, err := b.i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("the daemon is stopped: %+v", s)
	}
	if _, err := os.Stat("/proc/" + before.String()); err != nil {
		t.Fatal("the container ended with the daemon")
	}
	b.StartDaemon()
	if s := find(t, list(t, b.i), "web1"); s.State != health.Running || s.Init != before {
		t.Errorf("%+v, was %v", s, before)
	}
}

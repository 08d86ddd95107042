package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// Who or what ended LXD's real containers.

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

// A stop at work is a lock, which says since when. LXD does not say who holds it, and it ends with the stop.
func (b *lxdBench) locked(t *testing.T) {
	b = b.beside(t)
	b.Make("slow", "-c", "raw.lxc=lxc.init.cmd = /bin/sleep 10000")
	defer b.Remove("slow")
	b.up(t, "slow")
	done := make(chan error, 1)
	go func() { _, err := b.Try("stop", "slow", "--timeout", "2"); done <- err }()
	eventually(t, "the stop is a lock", func() bool {
		s := look(t, b.i, "slow")
		return s.State == health.Running && s.Lock != nil && s.Lock.Operation == "Stopping instance" && time.Since(s.Lock.Since) < time.Minute && s.Lock.Holder.PID == 0
	})
	if a := b.i.Do(context.Background(), health.VerbRestart, "slow", time.Second); !strings.Contains(a.Cause, "busy") && a.Err == "" {
		t.Errorf("%+v", a)
	}
	if err := <-done; err == nil {
		t.Error("process 1 heeded a signal")
	}
	if s := look(t, b.i, "slow"); s.State != health.Running || s.Lock != nil || s.OnPurpose != "" {
		t.Errorf("%+v, %+v", s, s.Lock)
	}
}

// Without events a stop is known while it is at work, and for some seconds after; to a new agent, too.
func (b *lxdBench) operations(t *testing.T) {
	b = b.beside(t)
	b.run(t, "asked")
	defer b.Remove("asked")
	api := []string{"query", "--wait", "-X", "PUT", "-d", `{"action":"stop","force":true}`, "/1.0/instances/asked/state"}
	deaf := b.another(t) // b.i may be following events for another trial
	for _, stop := range [][]string{{"stop", "asked"}, {"stop", "--force", "asked"}, api} {
		b.up(t, "asked")
		b.Run(stop...)
		for who, i := range map[string]*engine.Instance{"this agent": deaf, "a new one": b.another(t)} {
			if s, err := i.Look(context.Background(), "asked", health.Process{}); err != nil || s.State != health.Stopped || s.OnPurpose != `its operation "Stopping instance"` || s.Lock != nil {
				t.Errorf("%q, to %s: %+v %v", stop, who, s, err)
			}
		}
		if s := find(t, list(t, deaf), "asked"); s.OnPurpose == "" {
			t.Errorf("%+v", s)
		}
	}
}

// An agent that is started anew at once knows the stops of the one before it, by what that wrote down.
func (b *lxdBench) ownStops(t *testing.T) {
	b = b.beside(t)
	b.run(t, "own")
	defer b.Remove("own")
	runDir := t.TempDir()
	agent := func() *engine.Instance {
		i, err := engine.Open(engine.Spec{Engine: "lxd", Path: b.Path(), Bin: "/usr/bin", RunDir: runDir}, b.w, nil)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	for _, v := range []health.Verb{health.VerbKill, health.VerbStop} {
		b.up(t, "own")
		b.serves(t, "own")
		i := agent()
		if a := i.Do(context.Background(), v, "own", 20*time.Second); a.Err != "" {
			t.Fatalf("%+v", a)
		}
		for _, i := range []*engine.Instance{i, agent()} {
			if s := look(t, i, "own"); s.State != health.Stopped || s.OnPurpose != "" {
				t.Errorf("%s: it was us: %+v", v, s)
			}
		}
	}
}

// For 0.7 s after a death LXD refuses to start the container: the look lasts as long. The guest's own poweroff is alike.
func (b *lxdBench) dies(t *testing.T) {
	b = b.beside(t)
	b.run(t, "mortal")
	defer b.Remove("mortal")
	for what, end := range map[string]func(){
		"kill -9":  func() { b.Kill9("mortal") },
		"poweroff": func() { _, _ = b.Try("exec", "mortal", "--", "poweroff", "-f") },
	} {
		before := b.up(t, "mortal")
		end()
		eventually(t, "its init ends", func() bool { return syscall.Kill(before.PID, 0) != nil })
		s, err := b.i.Look(context.Background(), "mortal", before)
		if err != nil || s.State != health.Stopped || s.OnPurpose != "" || s.Lock != nil {
			t.Fatalf("%s: %+v %v", what, s, err)
		}
		if a := b.i.Do(context.Background(), health.VerbStart, "mortal", 0); a.Err != "" || a.Already {
			t.Errorf("%s: a start right after the look: %+v", what, a)
		}
		if s := look(t, b.i, "mortal"); s.State != health.Running || s.Init == before {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

func (b *lxdBench) events(t *testing.T) {
	b = b.beside(t)
	b.run(t, "followed")
	defer b.Remove("followed")
	told := b.follow(t)
	before := b.up(t, "followed")
	b.About("followed", "stop", "--force")
	s, err := b.i.Look(context.Background(), "followed", before)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "instance-stopped by root (unix)" {
		t.Errorf("%+v %v", s, err)
	}
	if !slices.Contains(told(), "followed") {
		t.Errorf("%q", told())
	}
	before = b.up(t, "followed")
	b.die(t, "followed")
	began := time.Now()
	s, err = b.i.Look(context.Background(), "followed", before)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("nobody stopped it: %+v %v", s, err)
	}
	t.Logf("a look right after kill -9 took %s", time.Since(began))
	if a := b.i.Do(context.Background(), health.VerbStart, "followed", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	for _, v := range []health.Verb{health.VerbRestart, health.VerbKill} {
		if a := b.i.Do(context.Background(), v, "followed", 0); a.Err != "" {
			t.Errorf("%s: %+v", v, a)
		}
	}
	if s := look(t, b.i, "followed"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("it was us: %+v", s)
	}
	b.Make("web3")
	eventually(t, "a new container has all listed anew", func() bool { return slices.Contains(told(), "") })
	b.Remove("web3")
}

// A reboot from inside is no death: the look lasts until the new life has begun. LXD stops it, and starts it 0.15 s later.
func (b *lxdBench) reboots(t *testing.T) {
	b = b.beside(t)
	b.run(t, "again")
	defer b.Remove("again")
	reboot := func() {
		t.Helper()
		b.serves(t, "again")
		before := look(t, b.i, "again").Init
		_, _ = b.Try("exec", "again", "--", "reboot")
		eventually(t, "its init ends", func() bool { return syscall.Kill(before.PID, 0) != nil })
		s, err := b.i.Look(context.Background(), "again", before)
		if err != nil || s.State != health.Running || s.Init == before || s.Init.PID == 0 || s.OnPurpose != "" {
			t.Errorf("%+v %v, was %v", s, err, before)
		}
		if a := b.i.Do(context.Background(), health.VerbStart, "again", 0); !a.Already {
			t.Errorf("%+v", a)
		}
	}
	reboot()
	b.follow(t)
	reboot()
}

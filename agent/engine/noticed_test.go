package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/sentinel"
)

// A followed is what an instance's events have told, and when.
type followed struct {
	mu   sync.Mutex
	told []event
	end  error // of the stream, before its time
}

type event struct {
	id string
	at time.Time
}

// follow follows the events until the test ends.
func follow(t *testing.T, i *engine.Instance) *followed {
	f := &followed{}
	if !i.HasEvents() {
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := i.Events(ctx, func(id string) { f.mu.Lock(); f.told = append(f.told, event{id, time.Now()}); f.mu.Unlock() })
		f.mu.Lock()
		f.end = err
		f.mu.Unlock()
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// about gives when an event first had id looked at, or all, since then.
func (f *followed) about(id string, since time.Time) (at time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := slices.IndexFunc(f.told, func(e event) bool { return !e.at.Before(since) && (e.id == id || e.id == "") })
	if n < 0 {
		return at, false
	}
	return f.told[n].at, true
}

// flows waits until the stream is there, which has no beginning that could be awaited: something must happen.
func (b *bench) flows(t *testing.T) {
	id := b.y.ID("web2")
	eventually(t, "events come", func() bool {
		if _, ok := b.events.about(id, time.Time{}); ok || !b.i.HasEvents() {
			return true
		}
		b.must(t, health.VerbStart, id, 0)
		b.must(t, health.VerbKill, id, 0)
		return false
	})
}

// noticed kills web1, holds that each way in which a death is noticed here does notice it, and tells after how long.
func (b *bench) noticed(t *testing.T, init health.Process) {
	id := b.y.ID("web1")
	b.flows(t)
	s, err := sentinel.New(sentinel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if init.PID != 0 {
		if _, err := s.Watch(health.Ref{ID: id}, init); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	killed := time.Now()
	if init.PID == 0 || syscall.Kill(init.PID, syscall.SIGKILL) != nil {
		b.y.Die("web1")
	}
	var by []string
	took := func(way string, at time.Time) {
		by = append(by, fmt.Sprintf("%s %.1f ms", way, float64(at.Sub(killed))/float64(time.Millisecond)))
	}
	eventually(t, "web1 is no longer running", func() bool { return find(t, list(t, b.i), id).State == health.Stopped })
	listed := time.Now()
	if init.PID != 0 {
		select {
		case e := <-s.Events():
			took("kernel ("+s.Sensor()+")", e.At)
			if late := e.At.Sub(killed); late > 5*time.Second { // milliseconds where nothing else runs
				t.Errorf("the kernel told of it after %s", late)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("the kernel, by %s, does not tell that %+v ended", s.Sensor(), init)
		}
	}
	if b.i.HasEvents() {
		var at time.Time
		eventually(t, "the tool's events tell of it", func() (ok bool) {
			list(t, b.i) // as the agent goes on doing
			at, ok = b.events.about(id, killed)
			return ok
		})
		took("events", at)
	}
	took("list", listed)
	t.Log("noticed: " + strings.Join(by, ", "))
}

// inCgroup holds that the control groups of a process are there, and are its own.
func inCgroup(t *testing.T, pid int) {
	t.Helper()
	dirs, err := engine.Cgroup(pid)
	if err != nil || len(dirs) == 0 {
		t.Errorf("cgroup of %d: %v, %v", pid, dirs, err)
	}
	for controller, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil || !slices.Contains(strings.Fields(string(b)), strconv.Itoa(pid)) {
			t.Errorf("%q: %d is not in %s: %.200q, %v", controller, pid, dir, b, err)
		}
	}
}

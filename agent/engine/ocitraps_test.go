package engine_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What docker and podman do on real containers besides what every engine must.

func TestOCI(t *testing.T) {
	for name, start := range map[string]func(rig.TB) *rig.OCI{"docker": rig.NewDocker, "podman": rig.NewPodman} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newOCIHost(name, start)(t)
			for what, run := range map[string]func(ociHost, *testing.T){
				"finished jobs": ociFinished, "health checks": ociHealthChecks, "a start of the paused": ociStartsNoPaused, "events": ociEvents,
			} {
				t.Run(what, func(t *testing.T) { run(h, t) })
			}
			if name == "podman" {
				t.Run("repair", func(t *testing.T) { podmanRepair(h, t) })
				t.Run("by its service", func(t *testing.T) { podmanService(h, t) })
				t.Run("another storage", func(t *testing.T) { podmanStorage(h, t) })
			} else {
				t.Run("shim killed", func(t *testing.T) { dockerShimKilled(h, t) })
				t.Run("another daemon", func(t *testing.T) { dockerSecond(h, t) })
			}
		})
	}
}

// A job that is done is no failure; one that failed is.
func ociFinished(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.MakeCommand("job", []string{"/bin/true"})
	r.MakeCommand("bad", []string{"/bin/false"})
	r.Make("never")
	for _, n := range []string{"job", "bad"} {
		r.Start(n)
		r.WaitState(n, "exited", 10*time.Second)
	}
	l := list(t, i)
	job, bad, never := find(t, l, r.ID("job")), find(t, l, r.ID("bad")), find(t, l, r.ID("never"))
	if !job.Finished || job.State != health.Stopped || job.OnPurpose != "" || job.Autostart != health.No {
		t.Errorf("%+v", job)
	}
	if bad.Finished || bad.State != health.Stopped || !strings.Contains(bad.Detail, "exit code 1") {
		t.Errorf("%+v", bad)
	}
	if never.Finished || never.Detail != "created" {
		t.Errorf("%+v", never)
	}
}

// The engine's own health check, as a signal.
func ociHealthChecks(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	interval := "--health-interval=200ms"
	if h.name == "podman" {
		interval = "--health-interval=disable" // its checks are run by timers of systemd, or by hand
	}
	r.Make("web", "--health-cmd=test ! -e /tmp/sick", interval, "--health-retries=1")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	is := func(want health.Outcome) func() bool {
		return func() bool {
			if h.name == "podman" {
				_, _ = r.Try("healthcheck", "run", "web")
			}
			return find(t, list(t, i), id).Health == want && look(t, i, id).Health == want
		}
	}
	eventually(t, "it is healthy", is(health.Pass))
	r.Run("exec", "web", "touch", "/tmp/sick")
	eventually(t, "it is unhealthy", is(health.Fail))
	r.Kill9("web")
	eventually(t, "what is down has no health", func() bool { s := find(t, list(t, i), id); return s.State == health.Stopped && s.Health == "" })
}

// Trap 13: a paused container takes no start, and the answer says so.
func ociStartsNoPaused(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	r.Freeze("web")
	list(t, i)
	a := i.Do(context.Background(), health.VerbStart, r.ID("web"), 0)
	if a.Err == "" || a.Already || !strings.Contains(a.Cause, "paused") && !strings.Contains(a.Cause, "state improper") {
		t.Errorf("%+v", a)
	}
	r.Thaw("web")
}

// The stream: what it tells is a reason to look, and remembered. Its end is told.
func ociEvents(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	told := ociFollow(t, r, i)
	r.Run("exec", "web", "true")
	r.Run("rename", "web", "shop")
	told(id)
	if s := find(t, list(t, i), id); s.Name != "shop" {
		t.Errorf("%+v", s)
	}
	if h.name == "docker" { // of which no list tells
		r.Run("update", "--restart=on-failure:5", "shop")
		told(id)
		if s := find(t, list(t, i), id); s.Autostart != health.Yes {
			t.Errorf("%+v", s)
		}
	}
	r.Kill9("shop")
	told(id)
	r.Make("second")
	told("")
}

// ociFollow follows the events until the test ends, and gives what waits for one. It returns when the stream is known to
// be heard: neither engine says when it begins.
func ociFollow(t *testing.T, r *rig.OCI, i *engine.Instance) func(id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard, done := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		_ = i.Events(ctx, func(id string) { heard <- id })
	}()
	t.Cleanup(func() { cancel(); <-done })
	wait := func(id string, within time.Duration) bool {
		for end := time.After(within); ; {
			select {
			case got := <-heard:
				if got == id {
					return true
				}
			case <-end:
				return false
			}
		}
	}
	eventually(t, "events are heard", func() bool {
		r.Make("herald")
		defer r.Remove("herald")
		return wait("", 200*time.Millisecond)
	})
	return func(id string) {
		t.Helper()
		if !wait(id, 10*time.Second) {
			t.Errorf("no event of %q", id)
		}
	}
}

// Docker's shim killed: docker notices, and so do we.
func dockerShimKilled(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	if err := syscall.Kill(r.ShimPID("web"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is down", func() bool { return find(t, list(t, i), id).State == health.Stopped })
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, id, health.Running)
}

// podmanRepair: podman's own cleanup, also where podman has missed the end and a person's stop has wedged it. No data goes.
func podmanRepair(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	if a := i.Do(context.Background(), health.VerbRepair, id, 0); a.Err == "" || !strings.Contains(a.Cause, "refusing to clean up") {
		t.Errorf("what runs is repaired: %+v", a)
	}
	for _, wedged := range []bool{false, true} {
		r.Run("exec", "web", "touch", "/kept")
		s := find(t, list(t, i), id)
		if err := syscall.Kill(r.ConmonPID("web"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.Kill9("web")
		eventually(t, "init is gone", func() bool { return syscall.Kill(s.Init.PID, 0) != nil })
		if wedged {
			r.Run("stop", "-t", "1", "web")
			r.WaitState("web", "stopping", time.Second)
		}
		list(t, i)
		if a := i.Do(context.Background(), health.VerbRepair, id, 0); a.Err != "" {
			t.Errorf("%+v", a)
		}
		if got := r.State("web"); got != "exited" {
			t.Errorf("podman says %s", got)
		}
		if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose != "" || s.Finished {
			t.Errorf("%+v", s)
		}
		if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" || a.Already {
			t.Errorf("%+v", a)
		}
		awaitState(t, i, id, health.Running)
		r.Run("exec", "web", "test", "-e", "/kept")
	}
}

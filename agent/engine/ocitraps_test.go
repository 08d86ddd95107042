package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What docker and podman do on real containers besides what every engine must.

func bothOCI(t *testing.T, run func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, w *watched)) {
	for name, start := range map[string]func(rig.TB) *rig.OCI{"docker": rig.NewDocker, "podman": rig.NewPodman} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ociRig(t, name, start)
			i, w := ociOpen(t, r, name, 0)
			run(t, name, r, i, w)
		})
	}
}

// A poll starts one process, whatever the number of containers; what changed costs one more for all of it.
func TestOCIListCosts(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, w *watched) {
		cost := func() int64 {
			before := w.reads.Load()
			list(t, i)
			return w.reads.Load() - before
		}
		if n := cost(); n != 1 {
			t.Errorf("a list of nothing took %d processes", n)
		}
		for n := range 4 {
			r.Make(fmt.Sprintf("web%d", n))
			r.Start(fmt.Sprintf("web%d", n))
		}
		r.Make("off")
		if n := cost(); n != 2 {
			t.Errorf("the first list of five took %d processes", n)
		}
		if n := cost(); n != 1 {
			t.Errorf("a list of nothing new took %d processes", n)
		}
		pid := r.Kill9("web0")
		r.Kill9("web1")
		r.WaitState("web0", "exited", 10*time.Second)
		r.WaitState("web1", "exited", 10*time.Second)
		most := int64(2)
		if name == "podman" {
			most = 3 // its log of events is asked who did it
		}
		if n := cost(); n > most {
			t.Errorf("a list after two deaths took %d processes", n)
		}
		r.Start("web0")
		if n, s := cost(), find(t, list(t, i), r.ID("web0")); n > most || s.Init.PID != r.InitPID("web0") || s.Init.PID == pid {
			t.Errorf("a list after a start took %d processes: %+v", n, s)
		}
		r.Run("rename", "web2", "shop")
		if n, s := cost(), find(t, list(t, i), r.ID("shop")); n > most || s.Name != "shop" {
			t.Errorf("a list after a renaming took %d processes: %+v", n, s)
		}
	})
}

// A job that is done is no failure; one that failed is.
func TestOCIFinished(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, _ string, r *rig.OCI, i *engine.Instance, _ *watched) {
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
	})
}

// What looks after a container besides us, by its restart policy and its labels.
func TestOCISupervisors(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, _ *watched) {
		r.Make("always", "--restart=always")
		r.MakeCommand("thrice", []string{"/bin/false"}, "--restart=on-failure:3")
		r.Make("front", "--label=com.docker.swarm.service.name=front")
		r.Make("kube", "--label=io.kubernetes.pod.name=p", "--label=io.kubernetes.pod.namespace=n,m=1")
		r.Make("unit", "--label=PODMAN_SYSTEMD_UNIT=web.service")
		for _, n := range []string{"always", "thrice", "front", "kube", "unit"} {
			r.Start(n)
		}
		was := find(t, list(t, i), r.ID("always"))
		if was.Autostart != health.Yes || was.Supervisor != "" || was.State != health.Running {
			t.Errorf("a policy looks after ends, not after sickness: %+v", was)
		}
		r.Kill9("always")
		eventually(t, "the engine itself started it again", func() bool {
			s, err := i.Look(context.Background(), was.Ref.ID, was.Init)
			if err != nil {
				return false
			}
			if s.State != health.Running && s.Supervisor != name+" restart policy always" {
				t.Errorf("while the policy is at it: %+v", s)
			}
			return s.State == health.Running && s.Init != was.Init
		})
		eventually(t, "it has given up", func() bool {
			s := find(t, list(t, i), r.ID("thrice"))
			return s.State == health.Stopped && s.Supervisor == "" && s.Autostart == health.Yes
		})
		l := list(t, i)
		for n, want := range map[string]string{"front": "Docker Swarm, service front", "kube": "Kubernetes, pod n,m=1/p", "unit": "systemd unit web.service"} {
			if s := find(t, l, r.ID(n)); s.Supervisor != want || s.State != health.Running {
				t.Errorf("%s: %+v, want %q", n, s, want)
			}
		}
		r.Run("restart", "-t", "0", "always")
		list(t, i) // before a second has passed: the row tells nothing by its age
		pid := r.Kill9("always")
		eventually(t, "it was started again", func() bool {
			p, err := strconv.Atoi(r.Run("inspect", "--format", "{{.State.Pid}}", "always"))
			return err == nil && p > 0 && p != pid
		})
		if s := find(t, list(t, i), was.Ref.ID); s.State != health.Running || s.Init.PID != r.InitPID("always") {
			t.Errorf("another life between two lists: %+v", s)
		}
		r.Run("stop", "-t", "5", "always")
		if s := look(t, i, was.Ref.ID); s.State != health.Stopped || s.OnPurpose == "" {
			t.Errorf("stopped by hand in spite of its policy: %+v", s)
		}
	})
}

// The engine's own health check, as a signal.
func TestOCIHealth(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, _ *watched) {
		interval := "--health-interval=200ms"
		if name == "podman" {
			interval = "--health-interval=disable" // its checks are run by timers of systemd, or by hand
		}
		r.Make("web", "--health-cmd=test ! -e /tmp/sick", interval, "--health-retries=1")
		r.Start("web")
		id := r.ID("web")
		list(t, i)
		is := func(want health.Outcome) func() bool {
			return func() bool {
				if name == "podman" {
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
	})
}

// Trap 13: a paused container takes no start, and the answer says so.
func TestOCIStartOfThePaused(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, _ string, r *rig.OCI, i *engine.Instance, _ *watched) {
		r.Make("web")
		r.Start("web")
		r.Freeze("web")
		list(t, i)
		a := i.Do(context.Background(), health.VerbStart, r.ID("web"), 0)
		if a.Err == "" || a.Already || !strings.Contains(a.Cause, "paused") && !strings.Contains(a.Cause, "state improper") {
			t.Errorf("%+v", a)
		}
		r.Thaw("web")
	})
}

// An init that ends at once: the engine's 0 is not believed by whoever looks.
func TestOCIStartThatDiesAtOnce(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, _ string, r *rig.OCI, i *engine.Instance, _ *watched) {
		r.MakeCommand("brief", []string{"/bin/false"})
		list(t, i)
		if a := i.Do(context.Background(), health.VerbStart, r.ID("brief"), 0); a.Err != "" || a.Already {
			t.Errorf("%+v", a)
		}
		eventually(t, "it is down again", func() bool {
			s := look(t, i, r.ID("brief"))
			return s.State == health.Stopped && strings.Contains(s.Detail, "exit code 1")
		})
	})
}

// The stream: what it tells is a reason to look, and remembered. Its end is told.
func TestOCIEvents(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, _ *watched) {
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
		if name == "docker" { // of which no list tells
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
	})
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

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
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

// Who stopped it, where the engine knows: a person, by stop or kill, and not what merely died.
func TestOCIOnPurpose(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, _ *watched) {
		r.Make("web")
		r.Start("web")
		id := r.ID("web")
		list(t, i)
		for n, tt := range []struct {
			how  []string
			want string
		}{
			{[]string{"stop", "-t", "5", "web"}, name + " stop"}, {[]string{"kill", "web"}, name + " "},
			{[]string{"stop", "-t", "0", "web"}, name + " stop"}, {[]string{"stop", "-t", "5", "web"}, name + " stop"},
		} {
			if s := look(t, i, id); s.State != health.Running || s.OnPurpose != "" {
				t.Fatalf("%d: %+v", n, s)
			}
			r.Run(tt.how...)
			if s := look(t, i, id); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, tt.want) || s.Finished {
				t.Errorf("after %q a look says %+v", tt.how, s)
			}
			if s := find(t, list(t, i), id); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, tt.want) || s.Finished {
				t.Errorf("after %q a list says %+v", tt.how, s)
			}
			fresh, _ := ociOpen(t, r, name, 0) // an agent that was started afterwards
			if s := find(t, list(t, fresh), id); !strings.HasPrefix(s.OnPurpose, tt.want) {
				t.Errorf("after %q a new agent says %+v", tt.how, s)
			}
			r.Start("web")
		}
		was := find(t, list(t, i), id)
		r.Kill9("web")
		if s, err := i.Look(context.Background(), id, was.Init); err != nil || s.State != health.Stopped || s.OnPurpose != "" || s.Finished {
			t.Errorf("killed from outside: %+v, %v", s, err)
		}
		r.Start("web")
		list(t, i)
		if a := i.Do(context.Background(), health.VerbStop, id, 5*time.Second); a.Err != "" {
			t.Errorf("%+v", a)
		}
		if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose != "" || s.Finished {
			t.Errorf("the agent stopped it, and no person: %+v", s)
		}
		if s := find(t, list(t, i), id); s.OnPurpose != "" || s.Finished {
			t.Errorf("the agent stopped it, and no person: %+v", s)
		}
		r.Start("web")
		list(t, i)
		r.Run("stop", "-t", "5", "web")
		if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose == "" {
			t.Errorf("the agent stopped a former life, and a person this one: %+v", s)
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

// A HUP by "docker kill" marks a container as stopped by hand, for the rest of its life: docker's record alone cannot tell.
func TestDockerKillHup(t *testing.T) {
	t.Parallel()
	r := ociRig(t, "docker", rig.NewDocker)
	i, _ := ociOpen(t, r, "docker", 0)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	told := ociFollow(t, r, i)
	r.Run("kill", "--signal=HUP", "web")
	told(id)
	was := find(t, list(t, i), id)
	if was.State != health.Running || was.OnPurpose != "" {
		t.Fatalf("it lives on: %+v", was)
	}
	r.Kill9("web")
	eventually(t, "it is down", func() bool { return look(t, i, id).State == health.Stopped })
	deaf, _ := ociOpen(t, r, "docker", 0)
	if s := find(t, list(t, deaf), id); s.OnPurpose == "" {
		t.Errorf("docker has no such record any more, and needs no events: %+v", s)
	}
}

// Docker gives up on a policy when the start itself fails: then it is nobody's but ours.
func TestDockerPolicyGivesUp(t *testing.T) {
	t.Parallel()
	r := ociRig(t, "docker", rig.NewDocker)
	i, _ := ociOpen(t, r, "docker", 0)
	dir := filepath.Join(r.Scratch(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Make("web", "--restart=always", "--mount=type=bind,source="+dir+",target=/data")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	r.Kill9("web")
	eventually(t, "docker has given up", func() bool {
		s := find(t, list(t, i), id)
		return s.State == health.Stopped && s.Supervisor == "" && strings.Contains(s.Detail, "no such file or directory") && s.OnPurpose == "" && !s.Finished
	})
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, id, health.Running)
}

// A daemon that hangs, is stopped, and comes back: no list is no observation, and nobody was stopped on purpose.
func TestDockerDaemon(t *testing.T) {
	t.Parallel()
	r := ociRig(t, "docker", rig.NewDocker)
	i, _ := ociOpen(t, r, "docker", 2*time.Second)
	r.Make("web")
	r.Start("web")
	r.Make("ever", "--restart=always")
	r.Start("ever")
	web, ever := r.ID("web"), r.ID("ever")
	list(t, i)
	r.HangDaemon()
	began := time.Now()
	if l, err := i.List(context.Background(), nil); err == nil || time.Since(began) > 10*time.Second || len(l.Containers) != 0 {
		t.Errorf("a hung daemon, after %v: %+v, %v", time.Since(began), l, err)
	}
	if s, err := i.Look(context.Background(), web, health.Process{}); err == nil {
		t.Errorf("a hung daemon: %+v", s)
	}
	r.ResumeDaemon()
	if s := find(t, list(t, i), web); s.State != health.Running {
		t.Errorf("%+v", s)
	}
	r.StopDaemon()
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") {
		t.Errorf("no daemon: %v", err)
	}
	if s, err := i.Look(context.Background(), web, health.Process{}); err == nil {
		t.Errorf("no daemon: %+v", s)
	}
	r.StartDaemon()
	l := list(t, i)
	// it asked web to end, which did so without an error: neither a person's stop nor a job that is done
	if s := find(t, l, web); s.State != health.Stopped || s.OnPurpose != "" || s.Finished || !strings.Contains(s.Detail, "exit code 0") {
		t.Errorf("stopped with its daemon: %+v", s)
	}
	eventually(t, "its policy brings it back", func() bool { return find(t, list(t, i), ever).State == health.Running })
	// its record of one container is damaged: at its next start docker leaves it out, and says so in its log only
	record := filepath.Join(r.Scratch(), "docker", "containers", web, "config.v2.json")
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.StopDaemon()
	r.StartDaemon()
	if s := peek(list(t, i), web); s != nil {
		t.Errorf("docker cannot read it, and lists it: %+v", s)
	}
}

// Docker's shim killed: docker notices, and so do we.
func TestDockerShimKilled(t *testing.T) {
	t.Parallel()
	r := ociRig(t, "docker", rig.NewDocker)
	i, _ := ociOpen(t, r, "docker", 0)
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

// Trap 12: conmon killed, then init: podman says "running" for ever, and a start of it does nothing, rc 0.
func TestPodmanStaleRunning(t *testing.T) {
	t.Parallel()
	r := ociRig(t, "podman", rig.NewPodman)
	i, _ := ociOpen(t, r, "podman", 0)
	r.Make("web", "--restart=always")
	r.Start("web")
	id := r.ID("web")
	was := find(t, list(t, i), id)
	if err := syscall.Kill(r.ConmonPID("web"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := find(t, list(t, i), id); s.State != health.Running || s.Init != was.Init {
		t.Errorf("it runs on without its conmon: %+v", s)
	}
	r.Kill9("web")
	eventually(t, "init is gone", func() bool { return syscall.Kill(was.Init.PID, 0) != nil || zombie(was.Init.PID) })
	s, err := i.Look(context.Background(), id, was.Init)
	if err != nil || s.State != health.Stopped || !strings.Contains(s.Detail, "has not noticed") || s.Supervisor != "" || s.OnPurpose != "" || s.Init.PID != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s := find(t, list(t, i), id); s.State != health.Stopped {
		t.Errorf("%+v", s)
	}
	if got := r.State("web"); got != "running" {
		t.Errorf("podman itself says %s: the trap is gone", got)
	}
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, id, health.Running)
	if s := look(t, i, id); s.Init == was.Init || s.Init.PID == 0 || s.OnPurpose != "" {
		t.Errorf("%+v", s)
	}
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}

// One container whose lock somebody holds has every inspect that names it hang, with podman the list, too: the others stay
// watched, and it is named.
func TestOCIHungContainer(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, _ *engine.Instance, _ *watched) {
		spec := ociSpecOf(r, name)
		spec.Timeout, spec.Quiet = 4*time.Second, time.Nanosecond // all are asked about by each list
		i, w := ociOpenSpec(t, spec)
		for _, n := range []string{"web", "shop"} {
			r.Make(n)
			r.Start(n)
		}
		web, shop := r.ID("web"), r.ID("shop")
		l := list(t, i)
		was := find(t, l, web)
		release := r.HoldLock("web")
		r.Kill9("shop")
		eventually(t, "the other is seen to be down, and this one is named", func() bool {
			l, err := i.List(context.Background(), nil)
			if err != nil {
				t.Logf("list: %v", err)
				return false
			}
			return find(t, l, shop).State == health.Stopped && find(t, l, web).State == health.Unknown && strings.Contains(l.Degraded, `"web"`)
		})
		began := time.Now()
		if s, err := i.Look(context.Background(), web, health.Process{}); err == nil || !strings.Contains(err.Error(), "lock") || time.Since(began) > 8*time.Second {
			t.Errorf("%+v, %v after %v", s, err, time.Since(began))
		}
		if a := i.Do(context.Background(), health.VerbStart, shop, 0); a.Err != "" {
			t.Errorf("the other is healed as before: %+v", a)
		}
		before := w.reads.Load()
		if s := find(t, list(t, i), shop); s.State != health.Running || w.reads.Load()-before > 4 {
			t.Errorf("started beside a hung one: %+v, %d processes", s, w.reads.Load()-before)
		}
		release()
		eventually(t, "no longer degraded", func() bool {
			l := list(t, i)
			return l.Degraded == "" && find(t, l, web).State != health.Unknown && find(t, l, web).Mark == was.Mark
		})
	})
}

// What is kept as evidence can be had, and in time.
func TestOCIEvidence(t *testing.T) {
	t.Parallel()
	bothOCI(t, func(t *testing.T, name string, r *rig.OCI, i *engine.Instance, w *watched) {
		r.Make("web")
		r.Start("web")
		id := r.ID("web")
		s := find(t, list(t, i), id)
		r.Run("stop", "-t", "5", "web")
		for _, src := range i.Evidence(id, s) {
			began := time.Now()
			out := w.Read(context.Background(), hostexec.Command{Argv: src.Argv, Env: r.Env()})
			if !out.OK() || time.Since(began) > 10*time.Second {
				t.Errorf("%s: %v after %v", src.Name, out.Err(), time.Since(began))
			}
			if src.Name == name+"-events.txt" && !strings.Contains(string(out.Stdout), "start") {
				t.Errorf("the last hour tells of no start: %q", out.Stdout)
			}
		}
	})
}

// Another docker client in front of an old daemon, as there is one on many hosts.
func TestDockerNewClient(t *testing.T) {
	const client = "/usr/local/bin/docker"
	if _, err := os.Stat(client); err != nil {
		t.Log("no other client on this machine: the one of docker.io is tested by all other tests")
		return
	}
	t.Parallel()
	r := ociRig(t, "docker", rig.NewDocker)
	s := ociSpecOf(r, "docker")
	s.Bin = filepath.Dir(client)
	i, _ := ociOpenSpec(t, s)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	if s := find(t, list(t, i), id); s.State != health.Running || s.Init.PID != r.InitPID("web") || len(s.Addrs) != 1 {
		t.Errorf("%+v", s)
	}
	if a := i.Do(context.Background(), health.VerbRestart, id, 5*time.Second); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, id, health.Running)
	r.Remove("web")
	if s := look(t, i, id); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
}

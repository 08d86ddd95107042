package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// Daemons, shims and monitors that hang, end and come back: traps 12 and 13, and others.

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

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// What a list costs, and who else looks after a container.

// A poll starts one process, whatever the number of containers; what changed costs one more for all of it.
func ociOneProcess(h ociHost, t *testing.T) {
	r, i, w := h.on(t)
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
	if h.name == "podman" {
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
}

// What looks after a container besides us, by its restart policy and its labels.
func ociOthers(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
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
		if s.State != health.Running && s.Supervisor != h.name+" restart policy always" {
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
		if s := find(t, l, r.ID(n)); s.Supervisor != want || s.State != health.Running || s.Elsewhere != (n != "unit") {
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
}

// Docker gives up on a policy when the start itself fails: then it is nobody's but ours.
func dockerGivesUp(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
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

package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// Other daemons, services and storages of docker and podman, by the options that a configuration makes.

// dockerSecond: two daemons side by side, each with its own containers.
func dockerSecond(h ociHost, t *testing.T) {
	first, _, _ := h.on(t)
	second := rig.NewDocker(t)
	for n, r := range []*rig.OCI{first, second} {
		r.Make(fmt.Sprintf("web%d", n))
		id := r.ID(fmt.Sprintf("web%d", n))
		i, _ := ociOpenSpec(t, engine.Spec{Engine: "docker", Instance: fmt.Sprintf("d%d", n), Args: r.Args(), Bin: "/usr/bin"})
		l := list(t, i)
		if s := find(t, l, id); len(l.Containers) != 1 || s.State != health.Stopped || s.Ref.Instance != fmt.Sprintf("d%d", n) {
			t.Errorf("%+v", l.Containers)
		}
		if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
			t.Errorf("%+v", a)
		}
		awaitState(t, i, id, health.Running)
		if other, _, _ := i.Meaning([]string{"docker", "--host=unix:///run/no.sock", "stop", fmt.Sprintf("web%d", n)}); other != "" {
			t.Error("a stop by another daemon is taken for one by this")
		}
		x := i.Examine(context.Background())
		if !x.Reachable || x.Binary != "/usr/bin/docker" || !strings.Contains(x.Where, "--host=unix://") || x.Running != 1 {
			t.Errorf("%+v", x)
		}
	}
}

// podmanService: podman by its service, as another user's is watched.
func podmanService(h ociHost, t *testing.T) {
	r, _, _ := h.on(t)
	socket := r.Serve()
	i, _ := ociOpenSpec(t, engine.Spec{Engine: "podman", Args: []string{"--url=" + socket}})
	r.Make("web")
	id := r.ID("web")
	if s := find(t, list(t, i), id); s.State != health.Stopped || s.Name != "web" {
		t.Errorf("%+v", s)
	}
	told := ociFollow(t, r, i)
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	told(id)
	awaitState(t, i, id, health.Running)
	was := find(t, list(t, i), id)
	if was.Init.PID != r.InitPID("web") || len(was.Addrs) != 1 {
		t.Errorf("%+v", was)
	}
	if out := i.Exec(context.Background(), id, []string{"cat", "/proc/1/comm"}, 10*time.Second); strings.TrimSpace(string(out.Stdout)) != "init" {
		t.Errorf("%+v", out)
	}
	for _, v := range []health.Verb{health.VerbRestart, health.VerbStop} {
		if a := i.Do(context.Background(), v, id, 5*time.Second); a.Err != "" {
			t.Errorf("%s: %+v", v, a)
		}
	}
	if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("we stopped it: %+v", s)
	}
	r.Start("web")
	list(t, i)
	r.Run("stop", "-t", "5", "web")
	eventually(t, "a person's stop is seen", func() bool { return strings.HasPrefix(look(t, i, id).OnPurpose, "podman stop") })
	if i.Can(health.VerbRepair) || slices.ContainsFunc(i.Logs(id), func(s engine.Source) bool { return s.Path != "" }) {
		t.Error("files of another user's are touched")
	}
	r.Remove("web")
	if s := look(t, i, id); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
}

// podmanStorage: another storage of root's.
func podmanStorage(h ociHost, t *testing.T) {
	r, _, _ := h.on(t)
	at := filepath.Join(r.Scratch(), "podman")
	i, _ := ociOpenSpec(t, engine.Spec{Engine: "podman", Args: []string{"--root=" + filepath.Join(at, "root"), "--runroot=" + filepath.Join(at, "run")}, Env: r.Env()})
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	if s := find(t, list(t, i), id); s.State != health.Running || s.Init.PID != r.InitPID("web") {
		t.Errorf("%+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStop, id, 5*time.Second); a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, id, health.Stopped)
}

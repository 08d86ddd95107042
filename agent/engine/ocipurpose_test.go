package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// Who stopped a container, on real docker and podman.

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

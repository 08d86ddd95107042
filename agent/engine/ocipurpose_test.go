package engine_test

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// Who stopped a container, on real docker and podman.

// Who stopped it, where the engine knows: a person, by stop or kill, and not what merely died.
func ociWhoStopped(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	for n, tt := range []struct {
		how  []string
		want string
	}{
		{[]string{"stop", "-t", "5", "web"}, h.name + " stop"}, {[]string{"kill", "web"}, h.name + " "},
		{[]string{"stop", "-t", "0", "web"}, h.name + " stop"}, {[]string{"stop", "-t", "5", "web"}, h.name + " stop"},
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
		fresh, _ := ociOpen(t, r, h.name, 0) // an agent that was started afterwards
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
}

// A HUP by "docker kill" marks a container as stopped by hand, for the rest of its life: docker's record alone cannot tell.
func dockerHup(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
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
	deaf, _ := ociOpen(t, r, h.name, 0)
	if s := find(t, list(t, deaf), id); s.OnPurpose == "" {
		t.Errorf("docker has no such record any more, and needs no events: %+v", s)
	}
}

// dockerByAPI: who speaks to the daemon without its client is known by the same record.
func dockerByAPI(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.Scratch(), "docker.sock"))
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Post("http://docker/containers/"+id+"/stop?t=5", "", nil)
	ociMust(t, err)
	_ = resp.Body.Close()
	if s := look(t, i, id); resp.StatusCode != http.StatusNoContent || s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, "docker stop") {
		t.Errorf("%s: %+v", resp.Status, s)
	}
}

// ociGoesByItself: what ends itself, as by a poweroff inside, was stopped by nobody; without error it is done.
func ociGoesByItself(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("off", "--cap-add=SYS_BOOT")
	r.Make("done")
	for _, n := range []string{"off", "done"} {
		r.Start(n)
	}
	list(t, i)
	_, _ = r.Try("exec", "off", "poweroff", "-f") // these end with their container, and may be killed by its end
	_, _ = r.Try("exec", "done", "kill", "1")
	for _, n := range []string{"off", "done"} {
		r.WaitState(n, "exited", 10*time.Second)
		if s := look(t, i, r.ID(n)); s.State != health.Stopped || s.OnPurpose != "" || s.Finished != (n == "done") {
			t.Errorf("%s: %+v", n, s)
		}
	}
}

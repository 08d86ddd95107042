package config

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What tells one daemon, service or storage from another becomes the options of every command.
func TestToolOptions(t *testing.T) {
	clean(t)
	c := loaded(t, `engines:
  - {engine: docker, host: unix:///run/other.sock, bin: /opt/docker/bin}
  - {engine: podman, name: anna, url: unix:///run/user/1000/podman/podman.sock}
  - {engine: podman, name: srv, root: /srv/podman, runroot: /run/podman-srv}
  - {engine: docker, name: old, host: unix:///run/other.sock, ssh: root@old}
`)
	for n, want := range []string{"--host=unix:///run/other.sock", "--url=unix:///run/user/1000/podman/podman.sock",
		"--root=/srv/podman --runroot=/run/podman-srv", "--host=unix:///run/other.sock"} {
		if got := strings.Join(c.Engines[n].Args, " "); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if c.Engines[0].Bin != "/opt/docker/bin" || c.Engines[1].Bin != "" {
		t.Errorf("%+v", c.Engines)
	}
}

// A second dockerd, which is none of the host's own: what is configured is what is watched.
func TestSecondDocker(t *testing.T) {
	clean(t)
	rig.Require(t, "root", "docker", "busybox")
	r := rig.NewDocker(t)
	r.Make("web")
	c := loaded(t, fmt.Sprintf("engines: [{engine: docker, name: second, host: %q, bin: %s}]\n", strings.TrimPrefix(r.Args()[0], "--host="), r.Bin()))
	i, err := engine.Open(c.Engines[0], hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect}), nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := i.List(context.Background(), nil)
	if err != nil || len(l.Containers) != 1 || l.Containers[0].Ref.String() != "docker:second/"+r.ID("web") || !slices.Contains(i.Version(), r.Args()[0]) {
		t.Errorf("%+v, %v", l.Containers, err)
	}
}

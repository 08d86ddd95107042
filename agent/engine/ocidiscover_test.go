package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// answers is a Runner whose commands have all run already.
type answers struct {
	Runner
	said hostexec.Transcript
	argv []string
}

func (a *answers) Read(_ context.Context, c hostexec.Command) hostexec.Transcript {
	a.argv = c.Argv
	return a.said
}

func TestDiscoverDocker(t *testing.T) {
	records := 0 // those of docker itself on this machine
	if dirs, err := os.ReadDir(dockerContainers); err == nil && len(dirs) > 0 {
		records = 1
	}
	for name, tt := range map[string]struct {
		said hostexec.Transcript
		want int
	}{
		"docker":               {hostexec.Transcript{Stdout: []byte("Engine containerd runc docker-init \n")}, 1},
		"podman behind docker": {hostexec.Transcript{Stdout: []byte("Podman Engine Conmon OCI Runtime (runc) \n")}, 0},
		"podman-docker":        {hostexec.Transcript{Exit: 125, Stderr: []byte("Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\n")}, 0},
		"no daemon":            {hostexec.Transcript{Exit: 1, Stderr: ociFixture(t, "docker/no-daemon.stderr")}, records},
		"hung":                 {hostexec.Transcript{Exit: -1, TimedOut: true}, records},
		"not installed":        {hostexec.Transcript{Exit: -1, Failure: "not started"}, 0},
	} {
		if got := discoverDocker(context.Background(), &answers{said: tt.said}); len(got) != tt.want {
			t.Errorf("%s: %+v, want %d", name, got, tt.want)
		}
	}
}

func TestDiscoverPodman(t *testing.T) {
	dir := t.TempDir()
	root, conf := filepath.Join(dir, "storage"), filepath.Join(dir, "storage.conf")
	if got := podmanRoot(conf); got != "/var/lib/containers/storage" {
		t.Errorf("without a configuration: %q", got)
	}
	if err := os.WriteFile(conf, []byte("[storage]\ndriver = \"overlay\"\n# graphroot = \"/no\"\ngraphroot = \""+root+"\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := podmanRoot(conf); got != root {
		t.Errorf("%q, want %q", got, root)
	}
	if podmanUsed(root) {
		t.Error("where nothing is, podman keeps containers")
	}
	if err := os.MkdirAll(filepath.Join(root, "libpod"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "libpod", "bolt_state.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !podmanUsed(root) {
		t.Error("its database is not seen")
	}
}

func TestPodmanUsers(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"0", "1000"} {
		if err := os.MkdirAll(filepath.Join(root, "run", "user", dir, "libpod"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{{nil, "Now these users run podman: 1000."}, {[]string{"--url=unix:///run/user/1000/podman/podman.sock"}, "asked through its service"}} {
		i, err := Open(Spec{Engine: "podman", Root: root, Args: tt.args}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(i.Blind()[0], tt.want) || i.Can(health.VerbRepair) != (tt.args == nil) {
			t.Errorf("%q: %q", tt.args, i.Blind())
		}
	}
}

func TestCheckSocket(t *testing.T) {
	for s, ok := range map[string]bool{
		"unix:///run/other.sock": true, "unix:///run/user/1000/podman/podman.sock": true,
		"": false, "/run/docker.sock": false, "unix://run/docker.sock": false, "unix:///": false, "unix:///run/a b": false, "unix:///run/x?y": false,
		"tcp://127.0.0.1:2375": false, "ssh://root@old": false, "unix:///" + strings.Repeat("x", 108): false, "unix:///run/x\n": false, "\x00": false,
	} {
		if err := CheckSocket(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestOCISpecs(t *testing.T) {
	for _, engine := range []string{"docker", "podman"} {
		for _, s := range []Spec{{Path: "/x"}, {URI: "qemu:///system"}, {Custom: &CustomSpec{}}} {
			s.Engine = engine
			if _, err := Open(s, nil, nil); err == nil {
				t.Errorf("%+v was opened", s)
			}
		}
		i, err := Open(Spec{Engine: engine}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !i.HasEvents() || len(i.Blind()) == 0 || len(i.Version()) == 0 || len(i.Files()) == 0 || i.Limit("restart") == 0 {
			t.Errorf("%s does not tell what it can", engine)
		}
	}
}

package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Docker and podman as the host's own.

// ociInside tells the process that TestOCIFoundInside runs in which engine's installation is the host's own there.
const ociInside = "ATALAYA_TEST_INSIDE"

// ociFound finds the engine as the host's own: in a mount namespace in which the installation of the rig is where the
// host's would be.
func ociFound(h ociHost, t *testing.T) {
	r, _, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	cmd := exec.Command("unshare", "--mount", "--propagation=private", os.Args[0], "-test.run=^TestOCIFoundInside$", "-test.v")
	cmd.Env = append(os.Environ(), ociInside+"="+h.name+" "+r.Scratch()+" "+r.ID("web"))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestOCIFoundInside") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOCIFoundInside is the inner half of ociFound: a process of its own, whose mounts end with it.
func TestOCIFoundInside(t *testing.T) {
	about := strings.Fields(os.Getenv(ociInside))
	if len(about) != 3 {
		return // it is only run by ociFound
	}
	name, dir, id := about[0], about[1], about[2]
	mount := func(source, at string) {
		t.Helper()
		flags, kind := uintptr(syscall.MS_BIND|syscall.MS_REC), ""
		if source == "tmpfs" {
			flags, kind = 0, source
		}
		if err := syscall.Mount(source, at, kind, flags, ""); err != nil {
			t.Fatalf("mount %s at %s: %v", source, at, err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	finds := func() []engine.Spec {
		return slices.DeleteFunc(engine.Discover(context.Background(), h), func(s engine.Spec) bool { return s.Engine != name })
	}
	if name == "docker" {
		mount("tmpfs", "/run")
		mount("tmpfs", "/root") // where a context says that root's client speaks to another host
		ociMust(t, os.Mkdir("/root/.docker", 0o700))
		write("/root/.docker/config.json", `{"currentContext":"far"}`)
	} else {
		mount("tmpfs", "/etc/containers")
		write("/etc/containers/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
		storage := filepath.Join(dir, "podman", "none")
		write("/etc/containers/storage.conf", fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", storage, filepath.Join(dir, "podman", "run")))
	}
	if got := finds(); len(got) != 0 {
		t.Errorf("where nothing is: %+v", got)
	}
	if name == "docker" {
		if err := os.Symlink(filepath.Join(dir, "docker.sock"), "/run/docker.sock"); err != nil {
			t.Fatal(err)
		}
	} else {
		write("/etc/containers/storage.conf", fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "podman", "root"), filepath.Join(dir, "podman", "run")))
		write("/etc/containers/containers.conf", fmt.Sprintf("[engine]\ntmp_dir = %q\n", filepath.Join(dir, "podman", "tmp")))
	}
	got := finds()
	if len(got) != 1 || got[0].Instance != "" {
		t.Fatalf("%+v", got)
	}
	i, err := engine.Open(got[0], h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := find(t, list(t, i), id); s.State != health.Running || s.Name != "web" {
		t.Errorf("%+v", s)
	}
}

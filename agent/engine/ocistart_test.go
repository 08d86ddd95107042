package engine_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// Starts and stops of docker's and podman's containers that do not go as they should.

// ociFailure is one way in which a start fails.
type ociFailure struct {
	what  string
	make  func(r *rig.OCI, t *testing.T)
	cause []string // docker's innermost words, and podman's
}

func ociFailures() []ociFailure {
	options := func(o ...string) func(*rig.OCI, *testing.T) {
		return func(r *rig.OCI, _ *testing.T) { r.Make("web", o...) }
	}
	both := func(words string) []string { return []string{words, words} }
	return []ociFailure{
		{"init missing", func(r *rig.OCI, _ *testing.T) { r.MakeCommand("web", []string{"/no/such/init"}) }, both(`exec: "/no/such/init": stat /no/such/init: no such file or directory`)},
		{"init not executable", func(r *rig.OCI, _ *testing.T) { r.MakeCommand("web", []string{"/www/index.html"}) }, both(`exec: "/www/index.html": permission denied`)},
		{"storage gone", func(r *rig.OCI, t *testing.T) {
			dir := filepath.Join(r.Scratch(), "data")
			ociMust(t, os.Mkdir(dir, 0o755))
			r.Make("web", "--mount=type=bind,source="+dir+",target=/data")
			ociMust(t, os.Remove(dir))
		}, []string{"invalid mount config for type \"bind\": bind source path does not exist", "no such file or directory"}},
		{"bridge gone", func(r *rig.OCI, _ *testing.T) {
			r.AddNetwork()
			r.MakeOn("second", "web")
			r.RemoveNetwork()
		}, []string{"network", "unable to find network with name or ID second: network not found"}},
		{"port taken", func(r *rig.OCI, t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			ociMust(t, err)
			t.Cleanup(func() { _ = l.Close() })
			r.Make("web", fmt.Sprintf("--publish=127.0.0.1:%d:80", l.Addr().(*net.TCPAddr).Port))
		}, both("address already in use")},
		{"device missing", func(r *rig.OCI, t *testing.T) {
			dev := filepath.Join(r.Scratch(), "dev")
			ociMust(t, syscall.Mknod(dev, syscall.S_IFCHR|0o600, 1<<8|3))
			r.Make("web", "--device="+dev)
			ociMust(t, os.Remove(dev))
		}, []string{"no such file or directory", ""}}, // podman asks what it is when the container is made
		{"user unknown", options("--user=nosuch"), both("unable to find user nosuch: no matching entries in passwd file")},
		{"bad configuration", options("--sysctl=net.nosuch=1"), both("open /proc/sys/net/nosuch: no such file or directory")},
	}
}

// ociWrappedRE finds the layers around the innermost words.
var ociWrappedRE = regexp.MustCompile(`runc: |runc create failed|create failed|unable to start container`)

func ociMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ociFailsToStart: each has its cause named, and is down afterwards.
func ociFailsToStart(h ociHost, t *testing.T) {
	for _, f := range ociFailures() {
		t.Run(f.what, func(t *testing.T) {
			r, i, _ := h.on(t)
			want := f.cause[0]
			if h.name == "podman" {
				want = f.cause[1]
			}
			if want == "" {
				return
			}
			f.make(r, t)
			id := r.ID("web")
			list(t, i)
			a := i.Do(context.Background(), health.VerbStart, id, 0)
			if a.Err == "" || a.Already || !strings.Contains(a.Cause, want) || strings.HasPrefix(a.Cause, "Error") || ociWrappedRE.MatchString(a.Cause) {
				t.Errorf("cause %q, want %q of %+v", a.Cause, want, a)
			}
			if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose != "" || s.Finished || s.Init.PID != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// ociRootfsGone: inspect fails for it, and with podman for all that are asked about together. The others stay watched.
func ociRootfsGone(h ociHost, t *testing.T) {
	r, i, w := h.on(t)
	for _, n := range []string{"web", "gone", "runs"} {
		r.Make(n)
	}
	r.Start("web")
	r.Start("runs")
	web, gone, runs := r.ID("web"), r.ID("gone"), r.ID("runs")
	was := find(t, list(t, i), runs)
	for _, n := range []string{"gone", "runs"} {
		dir := filepath.Dir(r.Run("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", n))
		ociMust(t, os.Rename(dir, dir+".away"))
		t.Cleanup(func() { ociMust(t, os.Rename(dir+".away", dir)) })
	}
	s := ociSpecOf(r, h.name)
	s.Quiet = time.Nanosecond
	asking, _ := ociOpenSpec(t, s) // about all, with each list
	for range 2 {
		l := list(t, asking)
		if s := find(t, l, web); s.State != health.Running || s.Init.PID == 0 {
			t.Errorf("the others: %+v", s)
		}
		if s := find(t, l, gone); s.State != health.Broken || !strings.Contains(s.Detail, "no such file or directory") || s.Name != "gone" {
			t.Errorf("%+v", s)
		}
	}
	if s := look(t, i, gone); s.State != health.Broken || s.Name != "gone" || s.Mark == "" {
		t.Errorf("%+v", s)
	}
	if s := look(t, i, runs); s.State != health.Running || s.Init != was.Init {
		t.Errorf("it runs on: %+v, was %+v", s, was)
	}
	before := w.reads.Load()
	list(t, i)
	if n := w.reads.Load() - before; n > 1 {
		t.Errorf("what is known to be broken costs %d processes a list", n)
	}
	if a := i.Do(context.Background(), health.VerbStart, gone, 0); a.Err == "" || !strings.Contains(a.Cause, "no such file or directory") {
		t.Errorf("%+v", a)
	}
}

// ociIgnores: the stop of what ignores it works by force, and not before the time it was given.
func ociIgnores(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.MakeCommand("deaf", []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}, "--stop-timeout=1")
	r.Start("deaf")
	id := r.ID("deaf")
	list(t, i)
	began := time.Now()
	a := i.Do(context.Background(), health.VerbStop, id, 3*time.Second)
	if took := time.Since(began); a.Err != "" || took < 3*time.Second {
		t.Errorf("%+v after %v", a, took)
	}
	if s := look(t, i, id); s.State != health.Stopped || !strings.Contains(s.Detail, "137") || s.OnPurpose != "" {
		t.Errorf("%+v", s)
	}
}

// ociReboots: a reboot inside is an end; only a restart policy makes a new life of it, and that is named.
func ociReboots(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web", "--cap-add=SYS_BOOT")
	r.Make("ever", "--cap-add=SYS_BOOT", "--restart=always")
	for _, n := range []string{"web", "ever"} {
		r.Start(n)
	}
	l := list(t, i)
	web, ever := find(t, l, r.ID("web")), find(t, l, r.ID("ever"))
	for _, n := range []string{"web", "ever"} {
		_, _ = r.Try("exec", n, "reboot", "-f") // it does not live to answer
	}
	eventually(t, "it has ended", func() bool {
		s, err := i.Look(context.Background(), web.Ref.ID, web.Init)
		return err == nil && s.State == health.Stopped && s.OnPurpose == "" && !s.Finished
	})
	eventually(t, "its policy has it run again", func() bool {
		s, err := i.Look(context.Background(), ever.Ref.ID, ever.Init)
		return err == nil && s.State == health.Running && s.Init != ever.Init && s.OnPurpose == ""
	})
}

// An init that ends at once: the engine's 0 is not believed by whoever looks.
func ociStartLies(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.MakeCommand("brief", []string{"/bin/false"})
	list(t, i)
	if a := i.Do(context.Background(), health.VerbStart, r.ID("brief"), 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	eventually(t, "it is down again", func() bool {
		s := look(t, i, r.ID("brief"))
		return s.State == health.Stopped && strings.Contains(s.Detail, "exit code 1")
	})
}

// Trap 12: conmon killed, then init: podman says "running" for ever, and a start of it does nothing, rc 0.
func podmanStale(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
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

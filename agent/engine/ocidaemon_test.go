package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// Docker's daemon, locks that are held, and storage that goes away.

// dockerStopped: no daemon is no observation, and what ended with it was nobody's stop.
func dockerStopped(h ociHost, t *testing.T) {
	r, i, _ := h.onWithin(t, 2*time.Second)
	r.Make("web")
	r.Start("web")
	r.Make("ever", "--restart=always")
	r.Start("ever")
	web, ever := r.ID("web"), r.ID("ever")
	list(t, i)
	r.StopDaemon()
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "Cannot connect to the Docker daemon") || len(l.Containers) != 0 {
		t.Errorf("no daemon: %+v, %v", l, err)
	}
	if s, err := i.Look(context.Background(), web, health.Process{}); err == nil {
		t.Errorf("no daemon: %+v", s)
	}
	r.StartDaemon()
	// it asked web to end, which did so without an error: neither a person's stop nor a job that is done
	if s := find(t, list(t, i), web); s.State != health.Stopped || s.OnPurpose != "" || s.Finished || !strings.Contains(s.Detail, "exit code 0") {
		t.Errorf("stopped with its daemon: %+v", s)
	}
	eventually(t, "its policy brings it back", func() bool { return find(t, list(t, i), ever).State == health.Running })
}

// dockerHung: a list and a look end at their limits; so does the waiting for a start, which works out later all the same.
func dockerHung(h ociHost, t *testing.T) {
	r, i, _ := h.onWithin(t, 2*time.Second)
	r.Make("web")
	r.Start("web")
	r.Make("late")
	was := find(t, list(t, i), r.ID("web"))
	late := r.ID("late")
	r.HangDaemon()
	t.Cleanup(r.ResumeDaemon)
	began := time.Now()
	if l, err := i.List(context.Background(), nil); err == nil || time.Since(began) > 10*time.Second || len(l.Containers) != 0 {
		t.Errorf("a hung daemon, after %v: %+v, %v", time.Since(began), l, err)
	}
	if s, err := i.Look(context.Background(), was.Ref.ID, health.Process{}); err == nil {
		t.Errorf("a hung daemon: %+v", s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a := i.Do(ctx, health.VerbStart, late, 0); a.Err == "" || !a.Transcript.Abandoned {
		t.Errorf("a start that is not waited for any more: %+v", a)
	}
	r.ResumeDaemon()
	if s := find(t, list(t, i), was.Ref.ID); s.State != health.Running || s.Init != was.Init {
		t.Errorf("%+v, was %+v", s, was)
	}
	awaitState(t, i, late, health.Running)
}

// dockerAnew: with live-restore containers outlive their daemon. All is seen as before, and the events go on.
func dockerAnew(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.StopDaemon()
	t.Cleanup(func() { r.StopDaemon(); r.StartDaemon() })
	r.StartDaemon("--live-restore")
	r.Make("web")
	r.Start("web")
	was := find(t, list(t, i), r.ID("web"))
	ended := make(chan error, 1)
	go func() { ended <- i.Events(context.Background(), func(string) {}) }()
	r.KillDaemon()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the stream ended with its daemon, and nothing is said")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the stream outlives its daemon")
	}
	if _, err := i.List(context.Background(), nil); err == nil {
		t.Error("a list without daemon")
	}
	r.StartDaemon("--live-restore")
	if s := find(t, list(t, i), was.Ref.ID); s.State != health.Running || s.Init != was.Init || s.Mark != was.Mark || s.Config != was.Config {
		t.Errorf("%+v, was %+v", s, was)
	}
	told := ociFollow(t, r, i)
	r.Kill9("web")
	told(was.Ref.ID)
	eventually(t, "it is down", func() bool { return find(t, list(t, i), was.Ref.ID).State == health.Stopped })
}

// dockerLosesRecord: docker leaves out, at its start, what it cannot read, and says so in its log only.
func dockerLosesRecord(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Make("other")
	r.Start("other")
	id := r.ID("web")
	list(t, i)
	dir := filepath.Join(r.Scratch(), "docker", "containers", id)
	ociMust(t, os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte("{"), 0o600))
	r.StopDaemon()
	r.StartDaemon()
	if s := peek(list(t, i), id); s != nil {
		t.Errorf("docker cannot read it, and lists it: %+v", s)
	}
	if s := look(t, i, id); s.State != health.Missing || !strings.Contains(s.Detail, "folder") {
		t.Errorf("%+v", s)
	}
	ociMust(t, os.RemoveAll(dir))
	if s := look(t, i, id); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
}

// podmanStorageAway: where its file system is not mounted, podman begins anew, with a list of nothing. Its place tells.
func podmanStorageAway(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	was := find(t, list(t, i), r.ID("web"))
	place := i.Place()
	root := filepath.Join(r.Scratch(), "podman", "root")
	ociMust(t, syscall.Mount("tmpfs", root, "tmpfs", 0, ""))
	unmount := func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) }
	t.Cleanup(unmount)
	l, err := i.List(context.Background(), nil)
	if s := peek(l, was.Ref.ID); s != nil {
		t.Errorf("%+v", s)
	}
	s, lookErr := i.Look(context.Background(), was.Ref.ID, health.Process{})
	if away := i.Place(); place == "" || away == place || lookErr == nil && s.State != health.Removed && s.State != health.Missing {
		t.Errorf("listed %v; looked at %+v, %v; from %q to %q", err, s, lookErr, place, away)
	}
	unmount()
	if s := find(t, list(t, i), was.Ref.ID); s.State != health.Running || s.Init != was.Init || i.Place() != place {
		t.Errorf("%+v, was %+v", s, was)
	}
}

// ociLocked: while some operation holds the lock, it is unknown, and when that ends, it is seen.
func ociLocked(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	release := r.HoldLock("web")
	if s, err := i.Look(context.Background(), id, health.Process{}); err == nil || !strings.Contains(err.Error(), "some operation holds its lock") {
		t.Errorf("%+v, %v", s, err)
	}
	release()
	awaitState(t, i, id, health.Running)
}

// podmanLeavesNoLock: the lock of a command that was killed goes with it (robust mutexes).
func podmanLeavesNoLock(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	list(t, i)
	release := r.HoldLock("web")
	r.KillHolder()
	if s := look(t, i, id); s.State != health.Stopped {
		t.Errorf("%+v", s)
	}
	release()
	eventually(t, "it can be started", func() bool { return i.Do(context.Background(), health.VerbStart, id, 0).Err == "" })
	awaitState(t, i, id, health.Running)
}

// dockerBreaks: what it runs by is in its daemon's memory; its record on the disk only tells who stopped it.
func dockerBreaks(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	was := find(t, list(t, i), r.ID("web"))
	for _, name := range []string{"config.v2.json", "hostconfig.json"} {
		ociMust(t, os.WriteFile(filepath.Join(r.Scratch(), "docker", "containers", was.Ref.ID, name), []byte("{"), 0o600))
	}
	fresh, _ := ociOpen(t, r, h.name, 0)
	for _, in := range []*engine.Instance{i, fresh} {
		if s := find(t, list(t, in), was.Ref.ID); s.State != health.Running || s.Init != was.Init || s.OnPurpose != "" {
			t.Errorf("%+v, was %+v", s, was)
		}
		if s := look(t, in, was.Ref.ID); s.State != health.Running || s.Init != was.Init {
			t.Errorf("%+v, was %+v", s, was)
		}
	}
	r.Kill9("web")
	eventually(t, "its death is one", func() bool {
		s, err := i.Look(context.Background(), was.Ref.ID, was.Init)
		return err == nil && s.State == health.Stopped && s.OnPurpose == "" && !s.Finished
	})
}

// podmanBreaks: of a container, and of podman itself. The first runs on; without the second there is no observation.
func podmanBreaks(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	dir := filepath.Join(r.Scratch(), "data")
	ociMust(t, os.Mkdir(dir, 0o755))
	r.Make("web", "--mount=type=bind,source="+dir+",target=/data")
	r.Start("web")
	was := find(t, list(t, i), r.ID("web"))
	ociMust(t, os.Remove(dir))
	spec := filepath.Join(r.Scratch(), "podman", "root", "overlay-containers", was.Ref.ID, "userdata", "config.json")
	ociMust(t, os.WriteFile(spec, []byte("{"), 0o600))
	if s := look(t, i, was.Ref.ID); s.State != health.Running || s.Init != was.Init {
		t.Errorf("%+v, was %+v", s, was)
	}
	conf := filepath.Join(r.Scratch(), "podman", "containers.conf")
	good, err := os.ReadFile(conf)
	ociMust(t, err)
	mend := func() { ociMust(t, os.WriteFile(conf, good, 0o644)) }
	t.Cleanup(mend)
	ociMust(t, os.WriteFile(conf, []byte("[containers"), 0o644))
	if l, err := i.List(context.Background(), nil); err == nil {
		t.Errorf("podman cannot read its configuration: %+v", l)
	}
	if s, err := i.Look(context.Background(), was.Ref.ID, was.Init); err == nil {
		t.Errorf("podman cannot read its configuration: %+v", s)
	}
	mend()
	if s := find(t, list(t, i), was.Ref.ID); s.State != health.Running || s.Init != was.Init {
		t.Errorf("%+v, was %+v", s, was)
	}
}

// One container whose lock somebody holds has every inspect that names it hang, with podman the list, too: the others stay
// watched, and it is named.
func ociOneHangs(h ociHost, t *testing.T) {
	r, _, _ := h.on(t)
	spec := ociSpecOf(r, h.name)
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
}

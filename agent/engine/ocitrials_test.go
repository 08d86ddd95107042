package engine_test

import (
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// What docker and podman meet in the field, on real ones: each has one installation of its own for all its trials.

// ociHost is one installation, shared by the trials of its engine.
type ociHost struct {
	name string
	rig  *rig.OCI
}

func newOCIHost(name string, start func(rig.TB) *rig.OCI) func(*testing.T) ociHost {
	return func(t *testing.T) ociHost { return ociHost{name, ociRig(t, name, start)} }
}

// on gives the host to one test, and takes from it what the test made.
func (h ociHost) on(t *testing.T) (*rig.OCI, *engine.Instance, *watched) {
	t.Helper()
	return h.onWithin(t, 0)
}

func (h ociHost) onWithin(t *testing.T, timeout time.Duration) (*rig.OCI, *engine.Instance, *watched) {
	t.Helper()
	r := h.rig.With(t)
	t.Cleanup(r.RemoveAll)
	i, w := ociOpen(t, r, h.name, timeout)
	return r, i, w
}

// What both say of themselves.
const (
	ociNoDaemon   = "It has no daemon: each command does its own work."
	ociKills      = "Its stop kills what has not ended in its time: there is no asking alone."
	ociNoReboot   = "A reboot inside ends the container. Whether it runs again is up to its restart policy."
	ociNoHolder   = "It tells neither who holds a lock nor since when: only that nothing about the container is answered."
	ociNoTemplate = "It has no templates: an image is not one of its containers."
	dockerLocks   = "Its locks live in its daemon, and go with it."
)

func dockerTrials() stager {
	stands := ociStands()
	stands[missing] = by(dockerLosesRecord)
	stands[staleLock] = stand[ociHost]{never: dockerLocks}
	stands[daemonStopped] = by(dockerStopped)
	stands[daemonHung] = by(dockerHung)
	stands[daemonAnew] = by(dockerAnew)
	stands[breaks] = by(dockerBreaks)
	stands[whoStopped] = by(ociWhoStopped, ociGoesByItself, dockerHup, dockerByAPI)
	stands[others] = by(ociOthers, dockerGivesUp)
	return stages("docker", newOCIHost("docker", rig.NewDocker), nil, stands)
}

func podmanTrials() stager {
	stands := ociStands()
	stands[missing] = by(podmanStorageAway)
	stands[startLies] = by(ociStartLies, podmanStale)
	stands[staleLock] = by(podmanLeavesNoLock)
	for _, k := range []trial{daemonStopped, daemonHung, daemonAnew} {
		stands[k] = stand[ociHost]{never: ociNoDaemon}
	}
	stands[breaks] = by(podmanBreaks)
	return stages("podman", newOCIHost("podman", rig.NewPodman), nil, stands)
}

// ociStands are those that both meet alike.
func ociStands() map[trial]stand[ociHost] {
	return map[trial]stand[ociHost]{
		found:        by(ociFound),
		rebooted:     {by: []func(ociHost, *testing.T){ociReboots}, never: ociNoReboot},
		ignores:      {by: []func(ociHost, *testing.T){ociIgnores}, never: ociKills},
		failsToStart: by(ociFailsToStart, ociRootfsGone),
		startLies:    by(ociStartLies),
		locked:       {by: []func(ociHost, *testing.T){ociLocked}, never: ociNoHolder},
		oneHangs:     by(ociOneHangs),
		renamed:      by(ociRenamed),
		halfMade:     {by: []func(ociHost, *testing.T){ociHalfMade}, never: ociNoTemplate},
		addresses:    by(ociAddresses),
		whoStopped:   by(ociWhoStopped, ociGoesByItself),
		others:       by(ociOthers),
		strange:      by(ociStrange),
		oneProcess:   by(ociOneProcess),
		takesOver:    by(ociTakesOver),
		keeps:        by(ociKeeps, ociKeepsFlood),
	}
}

// ociRenamed: also while it runs; the id stays, and the events tell of it.
func ociRenamed(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("web")
	r.Start("web")
	was := find(t, list(t, i), r.ID("web"))
	r.Run("rename", "web", "shop")
	if s := find(t, list(t, i), was.Ref.ID); s.Name != "shop" || s.State != health.Running || s.Mark != was.Mark || s.Init != was.Init {
		t.Errorf("%+v, was %+v", s, was)
	}
	if s := look(t, i, was.Ref.ID); s.Name != "shop" {
		t.Errorf("%+v", s)
	}
	if id, _, _ := i.Meaning([]string{h.name, "stop", "shop"}); id != was.Ref.ID {
		t.Errorf("a stop of it by its new name means %q", id)
	}
}

// ociHalfMade: what was made and never ran is nobody's failure, whatever its policy.
func ociHalfMade(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.Make("made", "--restart=always")
	r.MakeCommand("half", []string{"/no/such/init"}, "--restart=always")
	if out, err := r.Try("start", "half"); err == nil {
		t.Fatalf("it starts: %s", out)
	}
	names := []string{"made", "half"}
	if h.name == "podman" {
		r.Make("initialized")
		r.Run("init", "initialized")
		names = append(names, "initialized")
	}
	l := list(t, i)
	for _, n := range names {
		if s := find(t, l, r.ID(n)); s.State != health.Stopped || s.Finished || s.OnPurpose != "" || s.Supervisor != "" || s.Init.PID != 0 {
			t.Errorf("%s: %+v", n, s)
		}
	}
	if len(l.Containers) != len(names) { // its image is none of them
		t.Errorf("%d containers are listed", len(l.Containers))
	}
}

// ociAddresses: of two networks with v4 and v6, and of none.
func ociAddresses(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	r.AddNetwork()
	t.Cleanup(r.RemoveNetwork)
	t.Cleanup(r.RemoveAll)
	r.Make("web")
	r.Start("web")
	r.Run("network", "connect", "second", "web")
	r.MakeAlone("none")
	r.Start("none")
	l := list(t, i)
	var v4, v6 int
	s := find(t, l, r.ID("web"))
	for _, a := range s.Addrs {
		ip := a.Prefix.Addr().String()
		if !strings.Contains(r.Run("exec", "web", "ip", "-oneline", "address"), " "+a.Prefix.String()+" ") || a.MAC == "" {
			t.Errorf("it has no such address: %+v", a)
		}
		if strings.Contains(ip, ":") {
			v6++
		} else {
			v4++
		}
	}
	if v4 != 2 || v6 != 1 {
		t.Errorf("%d addresses of IPv4 and %d of IPv6: %v", v4, v6, s.Addrs)
	}
	if s := find(t, l, r.ID("none")); s.State != health.Running || len(s.Addrs) != 0 || s.Init.PID == 0 {
		t.Errorf("%+v", s)
	}
}

// ociTakesOver: an agent that begins finds all as it is, also what happened while there was none.
func ociTakesOver(h ociHost, t *testing.T) {
	r, i, _ := h.on(t)
	for _, n := range []string{"runs", "paused", "dead", "stopped"} {
		r.Make(n)
		r.Start(n)
	}
	was := find(t, list(t, i), r.ID("runs"))
	r.Freeze("paused")
	t.Cleanup(func() { r.Thaw("paused") })
	r.Kill9("dead")
	r.WaitState("dead", "exited", 10*time.Second)
	r.Run("stop", "-t", "5", "stopped")
	fresh, _ := ociOpen(t, r, h.name, 0)
	eventually(t, "its log of events is complete", func() bool { return find(t, list(t, fresh), r.ID("stopped")).OnPurpose != "" })
	l := list(t, fresh)
	if s := find(t, l, r.ID("runs")); s.State != health.Running || s.Init != was.Init || s.Mark != was.Mark || s.Config != was.Config {
		t.Errorf("%+v, was %+v", s, was)
	}
	if s := find(t, l, r.ID("paused")); s.State != health.Paused || s.Init.PID == 0 {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, r.ID("dead")); s.State != health.Stopped || s.OnPurpose != "" || s.Finished || !strings.Contains(s.Detail, "137") {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, r.ID("stopped")); s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, h.name+" stop") || s.Finished {
		t.Errorf("%+v", s)
	}
	if fresh.Place() == "" || fresh.Place() != i.Place() {
		t.Errorf("the new agent finds its containers at %q, the old one at %q", fresh.Place(), i.Place())
	}
}

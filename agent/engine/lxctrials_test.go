package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/sentinel"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// The trials of LXC, on real containers. It has no daemon, so each test has an lxcpath of its own.
func lxcTrials() stager {
	never := func(why string) stand[nowhere] { return stand[nowhere]{never: why} }
	return stages("lxc", nowhere{}.host, nil, map[trial]stand[nowhere]{
		found:         apart(lxcFound),
		missing:       apart(lxcPathAway, lxcPathCovered, lxcOtherNetwork),
		rebooted:      apart(lxcReboots),
		ignores:       apart(lxcOnlyAsks),
		failsToStart:  apart(lxcCauses, lxcLateStart),
		startLies:     apart(lxcExitsAtOnce, lxcFrozenStart),
		locked:        apart(lxcLockFileHeld),
		staleLock:     apart(lxcCreateInterrupted),
		daemonStopped: never(noDaemon),
		daemonHung:    never(noDaemon),
		daemonAnew:    never(noDaemon),
		oneHangs:      apart(lxcHungMonitor, lxcHangingHook, lxcKilledMonitor),
		renamed:       apart(lxcRenamed, lxcOddNames),
		halfMade:      apart(lxcHalfCreated),
		breaks:        apart(lxcConfigBreaks),
		addresses:     apart(lxcAddresses),
		whoStopped:    {by: apart(lxcStopMeans).by, never: noRecord},
		others:        never(noOther),
		strange:       apart(lxcStrange),
		oneProcess:    apart(lxcCosts, lxcLooksAtTheDead),
		takesOver:     apart(lxcTakesOver, lxcFrozenByCgroup),
		keeps:         apart(lxcEvidence, lxcConsole, lxcBackup),
	})
}

// Of each engine for which it is so.
const (
	noDaemon = "It has no daemon: each command does its own work."
	noRecord = "It keeps no record: a stop is known by the command's run, while an agent is there to see it."
	noOther  = "It restarts nothing by itself, and keeps no word of another that would."
)

func lxcFound(t *testing.T) {
	r, _, _ := lxcRig(t, rig.LXCOptions{}, 0)
	before, after := discoveredIn(t, "lxc", map[string]string{r.Path(): "/var/lib/lxc"})
	if len(before) != 0 || len(after) != 1 || after[0].Path != "/var/lib/lxc" {
		t.Fatalf("found %+v, and before it was there %+v", after, before)
	}
	i := open(t, after[0])
	_, err := os.Stat("/run/systemd/system")
	if !slices.Equal(i.Units(), []string{"lxc.service", "lxc-net.service"}) || (err == nil) != (i.Autostarter() == "lxc.service") {
		t.Errorf("units %q, autostarter %q", i.Units(), i.Autostarter())
	}
}

// Another file system over the lxcpath, or its own not mounted, is another place: what is not there is not gone.
func lxcPathCovered(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was, place := find(t, list(t, i), "web1"), i.Place()
	if err := syscall.Mount("none", r.Path(), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	s, err := i.Look(context.Background(), "web1", health.Process{})
	covered := i.Place()
	if err := syscall.Unmount(r.Path(), syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if covered == place || place == "" || err == nil && s.State != health.Running {
		t.Errorf("place %q, covered %q: %+v, %v", place, covered, s, err)
	}
	if s := find(t, list(t, i), "web1"); i.Place() != place || s.State != health.Running || s.Init != was.Init {
		t.Errorf("mounted again: %+v", s)
	}
}

// lxc-create that was killed leaves "partial" without a lock on it. It is not busy, and LXC will not start it.
func lxcCreateInterrupted(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	r.Add("half")
	partial := holdPartial(t, filepath.Join(r.Dir("half"), "partial"))
	if s := look(t, i, "half"); s.State != health.Busy || s.Lock == nil || s.Lock.Dead {
		t.Errorf("%+v, %+v", s, s.Lock)
	}
	partial.Close()
	for what, s := range map[string]health.Sighting{"list": find(t, list(t, i), "half"), "look": look(t, i, "half")} {
		if s.State != health.Stopped || s.Lock == nil || !s.Lock.Dead || !strings.Contains(s.Detail, "interrupted") {
			t.Errorf("%s: %+v, %+v", what, s, s.Lock)
		}
	}
	if a := i.Do(context.Background(), health.VerbStart, "half", 0); a.Cause != "Ongoing container creation detected" {
		t.Errorf("%+v", a)
	}
	if err := os.Remove(partial.Name()); err != nil {
		t.Fatal(err)
	}
	if s := find(t, list(t, i), "half"); s.State != health.Stopped || s.Lock != nil || s.Detail != "" {
		t.Errorf("%+v, %+v", s, s.Lock)
	}
}

func lxcAddresses(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	addressTrial(t, r, i)
}

// addressTrial is for each engine that stands on LXC, as is takeOverTrial.
func addressTrial(t *testing.T, r *rig.LXC, i *engine.Instance) {
	r.Add("many", "lxc.net.0.ipv4.address = 192.0.2.7/32", "lxc.net.0.ipv6.address = fd00:77::11/64")
	r.Add("none", "lxc.net =", "lxc.net.0.type = empty")
	r.Start("many")
	r.Start("none")
	for id, want := range map[string][]string{"many": {"192.0.2.7", "fd00:77::11", r.Addr("many").String()}, "none": nil} {
		for what, s := range map[string]health.Sighting{"list": find(t, list(t, i), id), "look": look(t, i, id)} {
			var got []string
			for _, a := range s.Addrs {
				got = append(got, a.Prefix.Addr().String())
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || s.State != health.Running || id == "none" && len(s.Links) != 0 {
				t.Errorf("%s, %s: %q, want %q; %+v", what, id, got, want, s)
			}
		}
	}
}

// The commands that a person types mean what they do, and are seen being run; a death is nobody's.
func lxcStopMeans(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	for line, want := range map[string]health.Verb{"lxc-stop -n web1": health.VerbStop, "/usr/bin/lxc-stop -k web1": health.VerbKill, "lxc-info web1": ""} {
		argv := append(strings.Fields(line), "-P", r.Path())
		if id, v, ok := i.Meaning(argv); ok != (want != "") || ok && (id != "web1" || v != want) {
			t.Errorf("%q: %q %q %v", argv, id, v, ok)
		}
	}
	runs, err := sentinel.WatchExecs(i.Files(), nil, func(argv []string) (health.Verb, bool) { _, v, ok := i.Meaning(argv); return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = runs.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	for _, end := range []struct {
		by   func(name string)
		verb health.Verb
	}{{func(name string) { r.Kill9(name) }, ""}, {r.Stop, health.VerbKill}} {
		was := find(t, list(t, i), "web1")
		end.by("web1")
		eventually(t, "init has ended", func() bool { return syscall.Kill(was.Init.PID, 0) != nil })
		died := time.Now()
		if s, err := i.Look(context.Background(), "web1", was.Init); err != nil || s.State != health.Stopped || s.OnPurpose != "" || s.Finished {
			t.Errorf("%+v, %v", s, err)
		}
		if end.verb == "" {
			if seen := runs.At(died); len(seen) != 0 {
				t.Errorf("a kill -9 was somebody's: %+v", seen)
			}
			r.WaitState("web1", "STOPPED", 10*time.Second)
			r.Start("web1")
			continue
		}
		eventually(t, "it is seen who stopped it", func() bool {
			return slices.ContainsFunc(runs.At(died), func(a health.Actor) bool { return a.Verb == end.verb && slices.Contains(a.Argv, "web1") })
		})
	}
}

// Words of another version of the tools are unknown, never stopped, and told.
func lxcStrange(t *testing.T) {
	r, _, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	w := &retold{Runner: runnerOf(t)}
	i, err := engine.Open(engine.Spec{Engine: "lxc", Path: r.Path(), RunDir: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.change = func(s string) string { return strings.ReplaceAll(s, "RUNNING", "FLYING") }
	if s := find(t, list(t, i), "web1"); s.State != health.Unknown || !strings.Contains(s.Detail, `"FLYING", which is no state of LXC`) {
		t.Errorf("%+v", s)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("%+v", s)
	}
	w.change = func(s string) string { return "Colour: red\n" + strings.ReplaceAll(s, "PID:", "PID: \t") }
	if s := look(t, i, "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("a new line, other blanks: %+v", s)
	}
	w.change = func(s string) string { return s + "in\x1bvalid\n" }
	if l := list(t, i); len(l.Notes) != 1 || find(t, l, "web1").State != health.Running {
		t.Errorf("what is no name: %+v", l)
	}
	if l := list(t, i); len(l.Notes) != 0 {
		t.Errorf("told twice: %q", l.Notes)
	}
}

// An agent that begins finds them as they are. LXC does not tell one that was stopped from one that died.
func lxcTakesOver(t *testing.T) {
	r, _, _ := lxcRig(t, rig.LXCOptions{N: 4}, 0)
	takeOverTrial(t, r, openLXC)
}

func takeOverTrial(t *testing.T, r *rig.LXC, open func(*testing.T, *rig.LXC) *engine.Instance) {
	r.Freeze("web2")
	r.Kill9("web3")
	r.Stop("web4")
	r.WaitState("web3", "STOPPED", scripted.Patience(20*time.Second))
	l := list(t, open(t, r))
	for id, want := range map[string]health.RunState{"web1": health.Running, "web2": health.Paused, "web3": health.Stopped, "web4": health.Stopped} {
		s := find(t, l, id)
		if s.State != want || (s.Init.PID != 0) != (want != health.Stopped) || s.OnPurpose != "" {
			t.Errorf("%s: %+v, want %s", id, s, want)
		}
	}
	r.Thaw("web2")
}

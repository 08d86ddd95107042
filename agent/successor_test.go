package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/cmd/atalaya-lab/rig"
)

// stored waits until the state that another process keeps of a container is as wanted.
func stored(t testing.TB, dir, what string, ok func(s health.State) bool) health.State {
	t.Helper()
	var last health.State
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, s := range states(dir) {
			if last = s; ok(s) {
				return s
			}
		}
	}
	t.Fatalf("not within %s: %s; last %+v", patience, what, last)
	return last
}

func states(dir string) []health.State {
	s, err := store.OpenReadOnly(dir)
	if err != nil {
		return nil // it is not there yet
	}
	defer s.Close()
	l, err := s.Load(context.Background())
	if err != nil {
		return nil
	}
	return l.States
}

func isUp(s health.State) bool { return s.Phase == health.Up }

// counting makes a container note each of its starts in a file, and wait in it while a file "slow" is there.
func counting(t *testing.T, l *rig.LXC, name string) (starts func() int, slow string) {
	t.Helper()
	notes, slow, hook := filepath.Join(l.Scratch(), name+".starts"), filepath.Join(l.Scratch(), name+".slow"), filepath.Join(l.Scratch(), name+".hook")
	replace(t, hook, fmt.Sprintf("#!/bin/sh\necho start >> %s\nwhile test -e %s; do sleep 0.1; done\n", notes, slow))
	l.Add(name, "lxc.hook.pre-start = "+hook)
	t.Cleanup(func() { _ = os.Remove(slow) }) // before the rig is taken down
	return func() int {
		b, _ := os.ReadFile(notes)
		return strings.Count(string(b), "start")
	}, slow
}

// The agent is killed between the two halves of a restart. Its successor finishes what it began, whether the stop was not
// even begun by then, was under way or has ended.
func TestKilledBetweenStopAndStart(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"ordered", "stopping", "stopped"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			l := newRig(t, rig.LXCOptions{N: 1})
			p := planFor(t, l)
			p.Web = true
			p.Policy.StopWithin = 8 * time.Second
			v := p.inProcess(t)
			stored(t, p.state(), "the probe has passed", func(s health.State) bool { return isUp(s) && s.Probes["web"].Life })
			was := l.HoldInit("web1")
			l.Hang("web1") // busybox' init takes two seconds to end what hangs
			s := stored(t, p.state(), "it is being stopped", func(s health.State) bool { return s.Phase == health.Stopping })
			if moment != "ordered" {
				until(t, "lxc-stop is at it", func() bool { return len(commands(l.Path(), "lxc-stop")) > 0 })
			}
			v.kill()
			if moment == "stopped" {
				if err := was.Wait(patience); err != nil {
					t.Fatal(err)
				}
				l.WaitState("web1", "STOPPED", patience)
				until(t, "lxc-stop has ended", func() bool { return len(commands(l.Path(), "lxc-stop")) == 0 })
			}
			r := p.start(t)
			in := r.resolved("lxc/web1", 1)[0]
			if in.ID != s.Case.ID || in.Attempts != 1 {
				t.Errorf("incident: %+v, its case was %+v", in, s.Case)
			}
			l.WaitHTTP("web1", patience)
			r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved)
		})
	}
}

// commands gives the pids of the tools of LXC that are at something in this lxcpath.
func commands(path, tool string) (pids []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range procs {
		b, _ := os.ReadFile(f)
		if argv := strings.Split(string(b), "\x00"); filepath.Base(argv[0]) == tool && strings.Contains(string(b), path) {
			pids = append(pids, f)
		}
	}
	return pids
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// The agent is killed while a start is under way, which goes on. Its successor awaits it and starts nothing beside it.
func TestKilledDuringAStart(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{})
	starts, slow := counting(t, l, "web1")
	l.Start("web1")
	p := planFor(t, l)
	p.Specs[0].Timeout = time.Second
	v := p.inProcess(t)
	stored(t, p.state(), "it is up", isUp)
	if err := os.WriteFile(slow, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill9(t, l, "web1")
	until(t, "the start has begun", func() bool { return starts() == 2 })
	s := stored(t, p.state(), "the start is stored", func(s health.State) bool { return s.Phase == health.Starting })
	v.kill()
	r := p.start(t)
	r.until("it is awaited", func(v health.View) bool {
		return strings.HasPrefix(of(v, "lxc/web1").Why, "awaiting a command of the agent before this one: [lxc-start -P "+l.Path())
	})
	r.always("nothing is started beside it", 2*time.Second, func(health.View) bool { return starts() == 2 && len(commands(l.Path(), "lxc-start")) <= 2 })
	if err := os.Remove(slow); err != nil {
		t.Fatal(err)
	}
	r.up("lxc/web1")
	if n := starts(); n != 2 {
		t.Errorf("it was started %d times, one of them by the test", n)
	}
	in := r.resolved("lxc/web1", 1)[0]
	if in.ID != s.Case.ID {
		t.Errorf("incident: %+v, its case was %+v", in, s.Case)
	}
	l.WaitHTTP("web1", patience)
}

// What stops while no agent is there: after an orderly stop somebody may have wanted it, so it is told; after a kill of
// the agent nobody did, so it is started.
func TestStoppedWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	r.stop()
	kill9(t, l, "web1")

	r = p.start(t)
	if c := r.phase("lxc/web1", health.Alerted); c.Why != "it stopped while no agent was watching; whether on purpose is not known" {
		t.Errorf("why: %q", c.Why)
	}
	r.alerted("lxc/web1", health.AlertOpen)
	r.lists()
	if s := l.State("web1"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
	r.up("lxc/web2")
	r.alerted("lxc/web2")
	r.stop()

	began := time.Now()
	v := p.inProcess(t)
	stored(t, p.state(), "it has seen web2 running", func(s health.State) bool {
		return s.Ref.ID == "web2" && !s.Absent && s.Last.After(began)
	})
	v.kill()
	kill9(t, l, "web2")
	r = p.start(t)
	r.resolved("lxc/web2", 1)
	r.alerted("lxc/web2", health.AlertOpen, health.AlertResolved)
	r.phase("lxc/web1", health.Alerted)
}

// An incident outlives the agent that opened it: the successor resolves it under its id, and its alerts go on where they
// stood.
func TestAnIncidentOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Policy.Attempts, p.Policy.RetryMin = 2, time.Hour
	v := p.inProcess(t)
	stored(t, p.state(), "it is up", isUp)
	l.DeleteBridge()
	kill9(t, l, "web1")
	s := stored(t, p.state(), "the budget is spent", func(s health.State) bool { return s.Phase == health.Exhausted })
	v.kill()
	r := p.start(t)
	r.phase("lxc/web1", health.Exhausted)
	if n := of(r.view(), "lxc/web1").Attempts; n != 2 {
		t.Errorf("of the budget %d attempts are remembered", n)
	}
	r.lists()
	if n := len(r.incidents("lxc/web1")[0].Cause); n == 0 {
		t.Error("the cause is forgotten")
	}
	l.RestoreBridge()
	in := r.resolved("lxc/web1", 1)[0]
	if in.ID != s.Incident.ID || in.Attempts != 3 || !in.Escalated {
		t.Errorf("incident: %+v, it was %+v", in, s.Incident)
	}
	all := r.alerted("lxc/web1", health.AlertOpen, health.AlertEscalate, health.AlertResolved)
	for i, d := range all {
		if d.Alert.Seq != i+1 || d.Key != fmt.Sprintf("%s/%d", in.ID, i+1) {
			t.Errorf("alert %d has number %d and key %q", i+1, d.Alert.Seq, d.Key)
		}
	}
	if n := len(all[2].Alert.Attempts); n != 3 {
		t.Errorf("the last alert tells of %d attempts: %+v", n, all[2].Alert.Attempts)
	}
}

// A person's hold outlives the agent, and the agent that finds it holds off.
func TestAHoldOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	hold := health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), Reason: "new disk", By: "ana (uid 1000)"}
	if _, err := r.agent.Order(t.Context(), "", true, hold); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = p.start(t)
	l.Add("web3") // nobody knew of it when the hold was given
	r.lists()
	kill9(t, l, "web1")
	c := r.phase("lxc/web1", health.Deferred)
	if !strings.HasPrefix(c.Why, "on hold until ") || !strings.HasSuffix(c.Why, ", by ana (uid 1000): new disk") || c.Hold == nil {
		t.Errorf("why: %q", c.Why)
	}
	if c := of(r.view(), "lxc/web3"); c.Hold == nil {
		t.Errorf("what is new is not held: %+v", c)
	}
	r.lists()
	if s := l.State("web1"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
	if _, err := r.agent.Order(t.Context(), "", true, health.Order{Kind: health.OrderRelease, By: "ana (uid 1000)"}); err != nil {
		t.Fatal(err)
	}
	r.up("lxc/web1")
}

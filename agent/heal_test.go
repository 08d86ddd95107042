package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// A killed init is back, serving, and the host reaches it although every start gives it another MAC: with the stale
// neighbour entry its probe would fail for some 40 s.
func TestAKilledContainerIsStarted(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2, RandomMAC: true})
	p := planFor(t, l)
	p.Web = true
	p.Poll = 5 * time.Second // the kernel's notice comes first, on a busy machine too
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	was := of(r.view(), "lxc/web1").Init
	kill9(t, l, "web1")
	in := r.resolved("lxc/web1", 1)[0]
	if in.Attempts != 1 || in.Escalated || in.Resolved.Sub(in.Opened) > 20*time.Second {
		t.Errorf("incident: %+v", in)
	}
	if !strings.HasPrefix(in.How, "recovered by us in ") || in.Reason != fmt.Sprintf("its init process %d has ended", was.PID) {
		t.Errorf("incident: %q, %q", in.Reason, in.How)
	}
	l.WaitHTTP("web1", patience)
	r.up("lxc/web1")
	if is := of(r.view(), "lxc/web1").Init; is == was || is.PID != l.InitPID("web1") {
		t.Errorf("its init was %v and is %v", was, is)
	}
	all := r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved)
	open, over := all[0].Alert, all[1].Alert
	if open.Severity != "critical" || len(open.Attempts) != 1 || open.Attempts[0].Exit != 0 || open.Attempts[0].Command[0] != "lxc-start" {
		t.Errorf("opening: %+v", open)
	}
	if over.How != in.How || over.Seq != 2 || all[0].Key != in.ID+"/1" || all[1].Key != in.ID+"/2" {
		t.Errorf("resolution: %+v, keys %q and %q", over, all[0].Key, all[1].Key)
	}
	r.tellsTheWholeStory(in, "open: "+open.Summary, "resolved: "+over.Summary)
	if n := len(r.incidents("lxc/web2")); n != 0 {
		t.Errorf("%d incidents of the other", n)
	}
	r.until("its evidence is sealed, of the attempt and of the end", func(health.View) bool {
		b, err := r.store.Bundles(t.Context(), in.ID)
		return err == nil && len(b) == 2
	})
	r.until("both alerts are delivered", func(health.View) bool {
		b, _ := os.ReadFile(filepath.Join(p.Dir, "alerts.jsonl"))
		return strings.Count(string(b), in.ID) >= 2
	})
}

// tellsTheWholeStory holds that the incident's timeline has what was told of it, and ends with its end.
func (r *running) tellsTheWholeStory(in health.Incident, told ...string) {
	r.t.Helper()
	_, notes, err := r.store.Incident(r.t.Context(), in.ID)
	if err != nil || len(notes) == 0 {
		r.t.Fatalf("%d notes, %v", len(notes), err)
	}
	var alerts, all []string
	for _, n := range notes {
		all = append(all, n.Kind+" "+n.Text)
		if n.Kind == "alert" {
			alerts = append(alerts, n.Text)
		}
	}
	end := notes[max(0, len(notes)-2):]
	if !slices.Equal(alerts, told) || end[0].Kind != "phase" || end[len(end)-1].Text != told[len(told)-1] {
		r.t.Errorf("its story:\n%s\nwant the alerts:\n%s", strings.Join(all, "\n"), strings.Join(told, "\n"))
	}
}

// A web server that hangs while its container runs: the probe fails, it fails from inside too, and a restart cures it.
func TestAHungServerIsRestarted(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Web = true
	r := p.start(t)
	r.up("lxc/web1")
	was := l.InitPID("web1")
	l.Hang("web1")
	in := r.resolved("lxc/web1", 1)[0]
	if in.Attempts != 1 || !strings.HasPrefix(in.Reason, `probe "web" fails: `) || !strings.HasPrefix(in.How, "recovered by us ") {
		t.Errorf("incident: %+v", in)
	}
	l.WaitHTTP("web1", patience)
	if is := l.InitPID("web1"); is == was {
		t.Errorf("its init is still %d", is)
	}
	all := r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved)
	var verbs []health.Verb
	for _, tr := range all[1].Alert.Attempts {
		verbs = append(verbs, tr.Verb)
	}
	if n := len(verbs); n < 2 || verbs[0] != health.VerbStop || verbs[n-1] != health.VerbStart {
		t.Errorf("it was healed by %v", verbs)
	}
}

// A start that cannot work is tried as often as the budget allows, then told as such, with the engine's own words; when
// what was missing is back, it recovers at once: the next attempt would have been half an hour later.
func TestABridgeThatReturns(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Policy.Attempts = 3
	p.Policy.RetryMin, p.Policy.RetryMax = time.Hour, time.Hour
	r := p.start(t)
	r.up("lxc/web1")
	l.DeleteBridge()
	kill9(t, l, "web1")
	c := r.phase("lxc/web1", health.Exhausted)
	if !strings.Contains(c.Why, "3 attempts within 30m0s did not help") {
		t.Errorf("why: %q", c.Why)
	}
	all := r.alerted("lxc/web1", health.AlertOpen, health.AlertEscalate)
	if e := all[1].Alert; !strings.Contains(e.Summary, l.Bridge()) || len(e.Attempts) != 3 || e.Attempts[2].Exit == 0 || e.Attempts[2].Cause == "" {
		t.Errorf("escalation: %q %+v", e.Summary, e.Attempts)
	}
	l.RestoreBridge()
	in := r.resolved("lxc/web1", 1)[0]
	if in.Attempts != 4 || !in.Escalated || !strings.Contains(in.How, "4 attempts") {
		t.Errorf("incident: %+v", in)
	}
	l.WaitHTTP("web1", patience)
	r.alerted("lxc/web1", health.AlertOpen, health.AlertEscalate, health.AlertResolved)
}

// An init that ends as soon as it is started: the engine says each time that it worked.
func TestACrashLoop(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1, OwnRoot: true})
	p := planFor(t, l)
	p.Policy.Attempts = 3
	r := p.start(t)
	r.up("lxc/web1")
	init := filepath.Join(l.Rootfs("web1"), "sbin/init")
	replace(t, init, "#!/bin/sh\nexit 1\n")
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Exhausted)
	r.until("it is escalated", func(health.View) bool { // a view may be of a turn that is not committed yet
		k := kindsOf(r.alerts("lxc/web1"))
		return strings.HasPrefix(k, "[open") && strings.HasSuffix(k, "escalate]")
	})
	if in := r.incidents("lxc/web1"); len(in) != 1 || in[0].Attempts != 3 {
		t.Errorf("incidents: %+v", in)
	}
	if err := os.Remove(init); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../bin/busybox", init); err != nil {
		t.Fatal(err)
	}
	in := r.resolved("lxc/web1", 1)[0]
	if !in.Escalated || in.Attempts < 4 {
		t.Errorf("incident: %+v", in)
	}
	l.WaitHTTP("web1", patience)
}

// Six die at once: two are started at a time, all come back, and one message tells of it, and one that it is over.
func TestManyDieAtOnce(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 6})
	r := planFor(t, l).start(t)
	var refs []string
	for _, name := range l.Names() {
		refs = append(refs, "lxc/"+name)
	}
	r.up(refs...)
	for _, name := range l.Names() {
		l.Kill9(name)
	}
	type span struct{ from, to time.Time }
	var spans []span
	for _, ref := range refs {
		in := r.resolved(ref, 1)[0]
		if in.Attempts != 1 {
			t.Errorf("%s: %+v", ref, in)
		}
		for _, tr := range r.tried(in.ID) {
			spans = append(spans, span{tr.At, tr.At.Add(time.Duration(float64(tr.Took) * float64(time.Millisecond)))})
		}
		r.alerted(ref)
	}
	r.ofHost(health.AlertOpen, health.AlertResolved)
	if len(spans) != 6 {
		t.Errorf("%d attempts", len(spans))
	}
	for _, s := range spans {
		at := 0
		for _, o := range spans {
			if !o.from.After(s.from) && o.to.After(s.from) {
				at++
			}
		}
		if at > 2 {
			t.Errorf("%d starts at once: %+v", at, spans)
		}
	}
}

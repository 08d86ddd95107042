package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// sicken has several containers fail their check from this moment on, or be well again.
func (w *world) sicken(sick bool, ids ...string) {
	w.do(func() {
		for _, id := range ids {
			w.guests[id].sick = sick
		}
	})
}

func manyNames(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("c%02d", i))
	}
	return ids
}

// Twenty of forty that fail at once are told once, and restarted by the bucket, ten within ten minutes, and each only after
// it was seen how many fail. When all are well, that is told once, too.
func TestManyFailAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := manyNames(40)
		w := newWorld(ids...)
		b := newBubble(t, w, t.TempDir(), nil)
		defer b.stop()
		time.Sleep(2 * mnt)
		w.sicken(true, ids[:20]...)
		began := time.Now()
		time.Sleep(5 * mnt)
		if n := len(w.restarted()); n != 10 {
			t.Errorf("%d restarts within 5 minutes, want those of the bucket, 10", n)
		}
		for _, tr := range w.restarted() {
			if tr.at.Sub(began) < 20*sec {
				t.Errorf("%s was restarted after %s, before it was seen how many fail", tr.id, tr.at.Sub(began))
			}
		}
		if got := b.delivered(); got != "[open]" {
			t.Errorf("told: %s", got)
		}
		if text := b.text(); !strings.Contains(text, `"affected":["custom/c`) || !strings.Contains(text, " of 40 containers fail since ") {
			t.Errorf("%s", text)
		}
		w.sicken(false, ids...)
		time.Sleep(5 * mnt)
		if got := b.delivered(); got != "[open resolved]" {
			t.Errorf("told: %s", got)
		}
		for _, id := range ids[:20] {
			in := b.incidents("custom/" + id)
			if len(in) != 1 || in[0].Parent == "" || in[0].Resolved.IsZero() {
				t.Errorf("%s: %+v", id, in)
			}
		}
	})
}

// Who still fails when the event is over is told by itself; and the event goes on with the next agent.
func TestWhoIsLeftIsToldByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := manyNames(6)
		w := newWorld(ids...)
		b := newBubble(t, w, t.TempDir(), nil)
		defer func() { b.stop() }()
		time.Sleep(2 * mnt)
		for _, id := range ids[:4] {
			w.die(id, true)
		}
		time.Sleep(mnt)
		if got := b.delivered(); got != "[open]" {
			t.Fatalf("told: %s", got)
		}
		b.stop()
		b.begin(t)
		time.Sleep(mnt)
		w.do(func() {
			for _, id := range ids[1:4] {
				w.guests[id].broken = false
			}
		})
		time.Sleep(15 * mnt)
		got := b.delivered()
		if !strings.HasPrefix(got, "[open ") || !strings.Contains(got, "resolved") {
			t.Fatalf("told: %s\n%s", got, b.text())
		}
		b.alerted("custom/c00", health.AlertOpen, health.AlertEscalate)
	})
}

// A few of many are no event: each is told by itself.
func TestAFewAreNoEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := manyNames(40)
		w := newWorld(ids...)
		b := newBubble(t, w, t.TempDir(), nil)
		defer b.stop()
		time.Sleep(2 * mnt)
		w.sicken(true, ids[:3]...)
		time.Sleep(5 * mnt)
		if got := b.delivered(); strings.Count(got, "open") != 3 || strings.Count(got, "resolved") != 3 {
			t.Errorf("told: %s", got)
		}
		if n := len(w.restarted()); n != 3 {
			t.Errorf("%d restarts", n)
		}
	})
}

// Where one failure is enough to restart, one period is waited for all the same, and then it is seen that all fail.
func TestOneFailureAndMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := manyNames(8)
		w := newWorld(ids...)
		b := newBubble(t, w, t.TempDir(), func(s *agent.Settings) {
			made := s.Setup
			s.Setup = func(g health.Sighting) agent.Setup {
				out := made(g)
				pp := out.Policy.Probes["check"]
				pp.FailAfter = 1
				out.Policy.Probes = map[string]health.ProbePolicy{"check": pp}
				return out
			}
		})
		defer b.stop()
		time.Sleep(2 * mnt)
		w.sicken(true, ids...)
		time.Sleep(15 * sec)
		if n := len(w.restarted()); n != 0 {
			t.Errorf("%d restarts before one period was over", n)
		}
		time.Sleep(mnt)
		if got := b.delivered(); !strings.HasPrefix(got, "[open") || strings.Count(got, "open") != 1 {
			t.Errorf("told: %s", got)
		}
	})
}

// On real containers: the bridge of eight is gone, and one of them has really died. One message tells of it, with the
// verdict that it is the network; nobody is restarted; the dead one is started when it can be; and one message tells that
// it is over.
func TestABridgeOfEightContainers(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 8})
	p := planFor(t, l)
	p.Web = true
	p.Survey.Together.Within = 3 * time.Second
	r := p.start(t)
	var refs []string
	for _, name := range l.Names() {
		refs = append(refs, "lxc/"+name)
	}
	r.up(refs...)
	dead := l.Name(7)
	inits := map[string]int{}
	for _, name := range l.Names() {
		inits[name] = l.InitPID(name)
	}
	l.DeleteBridge()
	kill9(t, l, dead)
	open := r.ofHost(health.AlertOpen)[0].Alert
	if v := open.Verdict; v == nil || v.Layer != "network" || v.Confidence != "high" || !strings.Contains(v.Sentence, "bridge "+l.Bridge()+" is missing") {
		t.Errorf("verdict: %+v", v)
	}
	r.until("the dead one was tried", func(health.View) bool { return len(r.incidents("lxc/"+dead)) == 1 })
	r.always("nothing else is touched", 3*time.Second, func(v health.View) bool {
		for _, c := range v.Containers {
			if c.Name != dead && c.Attempts != 0 {
				return false
			}
		}
		return true
	})
	l.RestoreBridge()
	r.ofHost(health.AlertOpen, health.AlertResolved)
	r.up(refs...)
	for name, was := range inits {
		if is := l.InitPID(name); (is == was) == (name == dead) {
			t.Errorf("%s: its init was %d and is %d", name, was, is)
		}
	}
}

func (w *world) restarted() (out []try) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tr := range w.tries {
		if tr.verb == "restart" {
			out = append(out, tr)
		}
	}
	return out
}

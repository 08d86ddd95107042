package agent_test

import (
	"archive/zip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// files are those of one part of a bundle, by name, with blanks and line ends made one: reports are wrapped.
func files(t *testing.T, path string) map[string]string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name] = strings.Join(strings.Fields(string(b)), " ")
	}
	return out
}

// parts waits until an incident has n parts of evidence, and gives their files.
func (r *running) parts(id string, n int) []map[string]string {
	r.t.Helper()
	var out []map[string]string
	r.until("the evidence is sealed", func(health.View) bool {
		b, err := r.store.Bundles(r.t.Context(), id)
		out = nil
		for _, x := range b {
			out = append(out, files(r.t.(*testing.T), x.Path))
		}
		return err == nil && len(b) == n
	})
	return out
}

// sent waits until the file channel has the end of an incident, and gives the parts of the evidence beside each kind of
// alert.
func (r *running) sent(id string) map[health.AlertKind][]int {
	r.t.Helper()
	parts := map[health.AlertKind][]int{}
	r.until("the alerts are delivered", func(health.View) bool {
		b, _ := os.ReadFile(filepath.Join(r.plan.Dir, "alerts.jsonl"))
		for line := range strings.Lines(string(b)) {
			var doc struct {
				health.Alert
				Delivery struct{ Bundles []struct{ Part int } }
			}
			if json.Unmarshal([]byte(line), &doc) != nil || doc.Incident != id {
				continue
			}
			parts[doc.Kind] = nil
			for _, b := range doc.Delivery.Bundles {
				parts[doc.Kind] = append(parts[doc.Kind], b.Part)
			}
		}
		_, over := parts[health.AlertResolved]
		return over
	})
	return parts
}

// leftWith says that each kind of alert had its own part with it. A slow delivery may bring later ones as well.
func leftWith(t *testing.T, parts map[health.AlertKind][]int, own map[health.AlertKind]int) {
	t.Helper()
	for kind, part := range own {
		if !slices.Contains(parts[kind], part) {
			t.Errorf("the alert %q left with the parts %v, without %d", kind, parts[kind], part)
		}
	}
}

func holds(t *testing.T, what, text string, want, not []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not hold %q:\n%s", what, w, text)
		}
	}
	for _, n := range not {
		if strings.Contains(text, n) {
			t.Errorf("%s holds %q:\n%s", what, n, text)
		}
	}
}

// A server that hangs answers nobody, and while we restart its container its port refuses: the report blames the first.
func TestTheReportOfAHungServer(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Web, p.Due = true, patience
	r := p.start(t)
	r.up("lxc/web1")
	broken := time.Now()
	l.Hang("web1")
	in := r.resolved("lxc/web1", 1)[0]
	if late := in.Confirmed.Sub(in.Opened); late < 400*time.Millisecond || in.Opened.Before(broken) {
		t.Errorf("broken %s, opened %s, confirmed %s", broken, in.Opened, in.Confirmed)
	}
	const sentence = `Container "web1" runs, but its service does not answer, not even from inside its own network.`
	parts := r.parts(in.ID, 2)
	for _, part := range parts {
		holds(t, "the report", part["REPORT.txt"], []string{sentence, "no answer within", "(before/probes-web.txt)", "Confirmed"}, []string{"refused"})
		if _, ok := part["after/probes-web.txt"]; ok {
			t.Error("what the probe met during our restart is evidence")
		}
	}
	holds(t, "the first part", parts[0]["before/probes-web.txt"], []string{"no answer within"}, []string{"refused"})
	holds(t, "the first part", parts[0]["REPORT.txt"], []string{"Now running again, after 1 attempt", "before/probes-web.txt",
		"engine-console.log (before): this container's configuration keeps no console log"}, nil)
	holds(t, "the last part", parts[1]["REPORT.txt"], []string{"Now up again since", "recovered by us in", "Attempt 1: stop", "To do Nothing at once"}, nil)
	leftWith(t, r.sent(in.ID), map[health.AlertKind]int{health.AlertOpen: 1, health.AlertResolved: 2})
	for _, d := range r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved) {
		if v := d.Alert.Verdict; d.Alert.Kind == health.AlertOpen && (v == nil || v.Sentence != sentence || v.Confidence != "high") {
			t.Errorf("verdict: %+v", v)
		}
		if !d.Alert.Confirmed.After(d.Alert.Since) {
			t.Errorf("since %s, confirmed %s", d.Alert.Since, d.Alert.Confirmed)
		}
	}
}

// A container that could not start and recovered says so in its last part, and what the cause was; every alert has the
// part with it that tells of it.
func TestTheReportsOfABridgeThatReturns(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Web, p.Due = true, patience
	p.Policy.Attempts = 3
	p.Policy.RetryMin, p.Policy.RetryMax = time.Hour, time.Hour
	r := p.start(t)
	r.up("lxc/web1")
	l.DeleteBridge()
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Exhausted)
	id := r.incidents("lxc/web1")[0].ID
	escalated := r.parts(id, 3)
	l.RestoreBridge()
	r.resolved("lxc/web1", 1)
	all := r.parts(id, 5)
	for i, part := range all {
		want := []string{`Container "web1" cannot start because`, l.Bridge(), "bridge interface doesn't exist"}
		not := []string{"not seen"}
		switch {
		case i < 2:
			want, not = append(want, "Now down when this was written"), append(not, "up again")
		case i == 2:
			want, not = append(want, "STILL DOWN after 3 attempts; a person is needed"), append(not, "up again")
		case i == 3:
			not = append(not, "STILL DOWN") // it is running again, or up already when this is written
		case i == 4:
			want, not = append(want, "Now up again since", "recovered by us after 4 attempts"), append(not, "STILL DOWN")
		}
		holds(t, "the report", part["REPORT.txt"], want, not)
	}
	holds(t, "the escalated part", escalated[2]["REPORT.txt"], []string{"action/03-start-engine.log",
		"the virtualization software's own log of attempt 3 (start)"}, []string{"of the action"})
	leftWith(t, r.sent(id), map[health.AlertKind]int{health.AlertOpen: 1, health.AlertEscalate: 3, health.AlertResolved: 5})
}

// A container that outgrew its own limit, and died: the kernel's log says which cgroup, and the verdict blames the guest.
func TestTheReportOfAContainerWithoutMemory(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1, Config: []string{"lxc.cgroup.memory.limit_in_bytes = 24M", "lxc.cgroup2.memory.max = 24M",
		"lxc.cgroup2.memory.swap.max = 0"}})
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	l.Exhaust("web1")
	kill9(t, l, "web1")
	in := r.resolved("lxc/web1", 1)[0]
	for _, part := range r.parts(in.ID, 2) {
		holds(t, "the report", part["REPORT.txt"], []string{"because it used up its own memory limit, and the kernel killed \"tail\" in it",
			"(before/kernel.log)", "Side inside the container"}, nil)
	}
}

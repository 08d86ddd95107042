package evidence

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// story is a container that cannot start because its bridge is gone, told as the agent would.
func story(failed time.Time) Report {
	const words = `lxc-start: web1: ../src/lxc/lxccontainer.c: wait_on_daemonized_start: 878 Received container state "ABORTING" instead of "RUNNING"
lxc-start: web1: ../src/lxc/tools/lxc_start.c: main: 306 The container failed to start`
	const cause = `Failed to attach "veth7Zk2Qa" to bridge "br0", bridge interface doesn't exist`
	return Report{
		Incident: health.Incident{Reason: "init process died", Attempts: 5, Escalated: true},
		Subject: health.Subject{
			Ref: "lxc/web1", Engine: "lxc", ID: "web1", Name: "web1", State: health.Stopped,
			Addresses: []string{"10.77.1.11/24", "2001:db8::11/64"},
		},
		Verdict: health.Verdict{
			Layer: "network", Confidence: "high",
			Sentence: `Container "web1" cannot start because the network bridge "br0" that it is attached to does not exist on the host.`,
			Proof: []string{
				`the engine's log says: ` + cause + ` (action/lxc-start.log)`,
				`the host's list of network links has no "br0" (before/network-host.txt)`,
			},
			Disproof:   `"ip link show br0" on the host shows the bridge, and the start fails all the same.`,
			RetryHelps: health.No,
			Cure:       `Bring the bridge "br0" back ("ifup br0", or whatever configures it); the container then starts by itself.`,
		},
		Tried: []health.Tried{{
			Attempt: 1, Verb: health.VerbStart, At: failed.Add(7 * time.Millisecond), Took: 54.2,
			Command: []string{"lxc-start", "-P", "/var/lib/lxc", "-n", "web1", "-l", "ERROR", "-o", "/run/atalaya/web1.log"},
			Exit:    1, Answer: words, Cause: cause,
		}},
		Timeline: []Moment{
			{failed, "init process 4711 ended (pidfd)"},
			{failed.Add(2 * time.Millisecond), "engine asked: stopped, no lock, nobody at it"},
			{failed.Add(6 * time.Millisecond), "evidence before the start taken"},
			{failed.Add(7 * time.Millisecond), "start 1 ordered"},
			{failed.Add(61 * time.Millisecond), "start 1 failed: " + cause},
			{failed.Add(5 * time.Minute), "budget of 5 attempts spent: escalated"},
		},
		Next: "one further attempt in 30 min, and at once when the bridge is back.",
	}
}

// A whole part of an incident, from Begin to the sealed archive, checked with the tools a stranger has.
func TestBundleSpeaksToAStranger(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "web1.log")
	if err := os.WriteFile(log, []byte("lxc web1 ERROR start - first\nlxc web1 ERROR start - second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t)
	q := request(
		Item{Name: "engine-log.log", Path: log, Volatile: true, Shows: "the engine's own log of this container"},
		Item{Name: "uptime", Argv: []string{"uptime"}},
		Item{Name: "failing", Argv: []string{"ls", "/no/such/folder"}},
	)
	q.Failed = time.Now().Add(-3 * time.Millisecond)
	c := r.Begin(q)
	c.Volatile(t.Context())
	c.AddTranscript("lxc-start", hostexec.Transcript{
		Argv: []string{"lxc-start", "-n", "web1"}, Started: time.Now(), Took: 54 * time.Millisecond, Exit: 1, Stderr: []byte("failed\n"), StderrSize: 7,
	})
	c.Add("timeline.txt", "all of it", []byte("one line\n"))
	c.After([]Item{{Name: "uptime", Argv: []string{"uptime"}}})
	s, m := seal(t, c, story(q.Failed))

	if got := m.record(t, "before/failing.stderr.txt"); got.Exit == nil || *got.Exit != 2 {
		t.Errorf("exit code of ls: %+v", got)
	}
	report := string(content(t, s.Path, ReportName))
	if dir := os.Getenv("SHOW"); dir != "" {
		t.Log("\n" + report + "\n" + string(content(t, s.Path, ManifestName)))
	}
	inOrder(t, report, `cannot start because the network bridge "br0"`, "1. WHAT IS DOWN", "10.77.1.11/24", "+00:00",
		"2. WHAT WAS TRIED", "lxc-start -P /var/lib/lxc", `instead of "RUNNING"`, "bridge interface",
		"3. WHY", "before/network-host.txt", "4. WHAT TO DO", "5. TIMELINE", "+61.0 ms", "6. FILES", "sha256sum -c")
	for line := range strings.Lines(report) {
		if !strings.HasSuffix(line, "\r\n") || len([]rune(line)) > width+2 {
			t.Errorf("line is not CRLF or too long: %q", line)
		}
	}
	unpackElsewhere(t, s.Path)
}

// unpackElsewhere opens the archive with unzip and checks it with sha256sum, as REPORT.txt says.
func unpackElsewhere(t *testing.T, path string) {
	t.Helper()
	rig.Require(t, "unzip", "sha256sum")
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "unzip", "-q", path, "-d", dir).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("unzip: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "sha256sum", "--strict", "-c", SumsName)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sha256sum -c: %v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "unzip", "-Z1", path).Output()
	if err != nil || !strings.HasPrefix(string(out), ReportName+"\n"+ManifestName+"\n"+SumsName+"\nbefore/") {
		t.Fatalf("order in the archive: %v: %s", err, out)
	}
}

func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, p := range parts {
		i := strings.Index(flat, p)
		if i < 0 {
			t.Fatalf("%q is not there, or not in its place, in:\n%s", p, text)
		}
		flat = flat[i+len(p):]
	}
}

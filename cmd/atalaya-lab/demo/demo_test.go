package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atalaya/cmd/atalaya-lab/rig"
)

// buildAgent builds the binary that the stories are told with, as 'make build' does.
func buildAgent(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "atalaya")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "atalaya/cmd/atalaya")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return bin
}

// The three stories end as they should, and what is told of them is what happened.
func TestDemoHeals(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox", "ip")
	var out bytes.Buffer
	keep := t.TempDir()
	if err := Run(t.Context(), Options{Agent: buildAgent(t), Out: &out, Keep: keep}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"says the kernel", "recovered by us in", "every digest right", "signature good", "cannot be started",
		"bridge interface doesn't exist", "recovered by us after", "atalaya_attempts_total", "the bridge is back",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out.String())
		}
	}
	if text := shown(out.String()); !inOrder(text,
		`webhook open`, `-p1.zip`, `report Container "web" stopped running for a reason that was not seen. now: running again, after 1 attempt`,
		`webhook resolved`, `-p2.zip`, `report Container "web" stopped running for a reason that was not seen. now: up again since`,
		`webhook open`, `-p1.zip`, `report Container "api" runs, but its service does not answer, not even from inside its own network. now: running again`,
		`webhook resolved`, `-p2.zip`, `report Container "api" runs, but its service does not answer, not even from inside its own network. now: up again since`,
		`webhook open`, `-p1.zip`, `report Container "mail" cannot start because`, `now: down when this was written; after 1 attempt`,
		`webhook escalate`, `-p3.zip`, `report Container "mail" cannot start because`, `now: STILL DOWN after 3 attempts; a person is needed`,
		`webhook resolved`, `-p5.zip`, `report Container "mail" cannot start because`, `now: up again since`, `recovered by us after 4 attempts`,
	) {
		t.Errorf("the reports do not say what happened:\n%s", out.String())
	}
	bundles, err := filepath.Glob(filepath.Join(keep, "evidence", "*.zip"))
	if err != nil || len(bundles) != 9 {
		t.Errorf("%d bundles are left to look at, want one for each attempt and each end (%v)", len(bundles), err)
	}
	for _, path := range bundles {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := open(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if report := shown(opened.Report); strings.Contains(report, "nothing in it listens") || strings.Contains(report, "keeps no console log") {
			t.Errorf("%s: %s", path, opened.Report)
		}
	}
}

// shown is a text without its line breaks and indents.
func shown(text string) string { return strings.Join(strings.Fields(text), " ") }

func inOrder(text string, parts ...string) bool {
	for _, p := range parts {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return true
}

// A person who has seen enough, in the middle of a story: everything is cleaned up, and nothing is called a failure.
func TestDemoInterrupted(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox", "ip")
	ctx, cancel := context.WithCancel(t.Context())
	out := &watchedOutput{until: "The web server in api hangs", then: cancel}
	if err := Run(ctx, Options{Agent: buildAgent(t), Out: out, Keep: t.TempDir()}); err != nil {
		t.Fatalf("to be interrupted is a failure: %v", err)
	}
	if text := out.String(); !strings.HasSuffix(text, "\ninterrupted; cleaned up\n") || strings.Contains(text, "the end of its log") {
		t.Error(text)
	}
}

// watchedOutput does something when a text was printed.
type watchedOutput struct {
	bytes.Buffer
	until string
	then  func()
}

func (w *watchedOutput) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.until) {
		w.then()
	}
	return n, err
}

// With mode: observe the same failures are recorded, and neither healed nor told.
func TestDemoObserves(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox", "ip")
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Agent: buildAgent(t), Out: &out, Keep: t.TempDir(), Mode: "observe"}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "nothing was started") {
		t.Error(out.String())
	}
}

package demo

import (
	"bytes"
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
		"bridge interface doesn't exist", "recovered by us after", "atalaya_attempts_total",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out.String())
		}
	}
	if bundles, err := filepath.Glob(filepath.Join(keep, "evidence", "*.zip")); err != nil || len(bundles) < 3 {
		t.Errorf("%d bundles are left to look at, want one for each story at least (%v)", len(bundles), err)
	}
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

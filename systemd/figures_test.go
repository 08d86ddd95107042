package systemd_test

import (
	"path/filepath"
	"testing"

	"atalaya/cmd/atalaya-lab/bench"
	"atalaya/cmd/atalaya-lab/rig"
)

// TestFigures prints how fast the agent is as a service, beside a program that does nothing but start by systemd-run. The
// figures proper are those of make bench: this run is short, and others share the machine.
func TestFigures(t *testing.T) {
	t.Parallel()
	h := raise(t, rig.SystemdOptions{N: 4})
	for _, name := range h.Names() {
		h.byHand(name)
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	k, err := bench.MeasureUnit(t.Context(), h.Systemd, filepath.Join(dir, "atalaya-lab"), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kill -9 of an init to HTTP 200, ms:\n%s", k)
	if agent, evidence := k.Ratios(); agent > 3 || evidence > 5 {
		t.Errorf("%.2f times the floor, %.2f with evidence: something waits that should not", agent, evidence)
	}
}

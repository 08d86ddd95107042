package probes

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// here runs commands on this machine, as an engine's exec does in a guest.
func here(ctx context.Context, argv []string) (int, []byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return cmd.ProcessState.ExitCode(), out, nil
	}
	return 0, out, err
}

func TestExec(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec Spec
		exec func(context.Context, []string) (int, []byte, error)
		want health.Outcome
		says string
	}{
		"exit 0":              {Spec{Argv: []string{"echo", "all well"}}, here, health.Pass, "exit 0 after "},
		"exit 1":              {Spec{Argv: []string{"false"}}, here, health.Fail, `"false": exit 1 after `},
		"a good exit 1":       {Spec{Argv: []string{"false"}, Exits: "0-1"}, here, health.Pass, "exit 1"},
		"exit 0 is not asked": {Spec{Argv: []string{"true"}, Exits: "7"}, here, health.Fail, "(expected 7)"},
		"its first line":      {Spec{Argv: []string{"ls", "/nonexistent\x1b[2J"}}, here, health.Fail, "cannot access"},
		"no such command":     {Spec{Argv: []string{"/nonexistent"}}, here, health.Unsure, "no such file"},
		"no way in":           {Spec{Argv: []string{"true"}}, nil, health.Unsure, "no way"},
		"hangs":               {Spec{Argv: []string{"sleep", "60"}, Timeout: 200 * time.Millisecond}, here, health.Fail, "not finished within"},
		"signalled": {Spec{Argv: []string{"true"}}, func(context.Context, []string) (int, []byte, error) { return -1, nil, nil },
			health.Unsure, "without an exit code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Kind = Exec
			expect(t, once(t, c.spec, Guest{Exec: c.exec}), c.want, c.says)
		})
	}
}

func TestExecOutputIsBounded(t *testing.T) {
	t.Parallel()
	r := once(t, Spec{Kind: Exec, Argv: []string{"head", "-c", "200000", "/dev/zero"}}, Guest{Exec: here})
	expect(t, r, health.Pass, "exit 0")
	holds(t, r, "[cut here: 183616 bytes more]", "--- exit 0")
	if strings.Contains(r.Detail, "\x00") {
		t.Errorf("detail %q", r.Detail)
	}
}

package engine_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// watched is a Runner that counts, and may put words before each command line.
type watched struct {
	engine.Runner
	reads   atomic.Int64
	changes atomic.Int64
	prefix  atomic.Pointer[[]string]
}

func (w *watched) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	w.reads.Add(1)
	if p := w.prefix.Load(); p != nil {
		c.Argv = append(slices.Clone(*p), c.Argv...)
	}
	return w.Runner.Read(ctx, c)
}

func (w *watched) Change(ctx context.Context, op hostexec.Op, c hostexec.Command) hostexec.Transcript {
	w.changes.Add(1)
	return w.Runner.Change(ctx, op, c)
}

// lxcRig is N running containers and an instance whose processes are counted.
func lxcRig(t testing.TB, o rig.LXCOptions, timeout time.Duration) (*rig.LXC, *engine.Instance, *watched) {
	t.Helper()
	if tt, ok := t.(interface {
		rig.TB
		Skipf(string, ...any)
	}); ok {
		rig.Require(tt, "root", "lxc", "busybox")
	}
	r := rig.NewLXC(t, o)
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	i, err := engine.Open(engine.Spec{Engine: "lxc", Path: r.Path(), Timeout: timeout, RunDir: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, i, w
}

func refs(l engine.Listing) []health.Ref {
	var out []health.Ref
	for _, s := range l.Containers {
		if s.State == health.Running {
			out = append(out, s.Ref)
		}
	}
	return out
}

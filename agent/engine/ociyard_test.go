package engine_test

import (
	"context"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// ociYard is real docker or podman. What starts at boot is restarted when it dies, too, by both: a yard where one dies
// cannot have any, so restart policies have tests of their own.
type ociYard struct {
	*rig.OCI
	engine string
}

func newOCIYard(name string, start func(rig.TB) *rig.OCI) func(*testing.T) yard {
	return func(t *testing.T) yard { return &ociYard{ociRig(t, name, start), name} }
}

func ociRig(t *testing.T, name string, start func(rig.TB) *rig.OCI) *rig.OCI {
	t.Helper()
	rig.Require(t, "root", name, "busybox")
	return start(t)
}

func (y *ociYard) With(t *testing.T) yard             { return &ociYard{y.OCI.With(t), y.engine} }
func (y *ociYard) Open(t *testing.T) *engine.Instance { return open(t, ociSpecOf(y.OCI, y.engine)) }
func (y *ociYard) Run(name string)                    { y.Start(name) }
func (y *ociYard) Die(name string)                    { y.Kill9(name) }
func (y *ociYard) Addrs(name string) []string         { return []string{y.Addr(name)} }

func (y *ociYard) Await(name string) {
	if _, err := rig.WaitHTTP(context.Background(), "http://"+y.Addr(name)+"/", 10*time.Second); err != nil {
		y.Fail(err)
	}
}

func (y *ociYard) Make(name string, o made) {
	if o.failing {
		y.MakeCommand(name, []string{"/bin/nosuch"})
		return
	}
	y.OCI.Make(name)
}

func ociSpecOf(r *rig.OCI, name string) engine.Spec {
	return engine.Spec{Engine: name, Bin: r.Bin(), Args: r.Args(), Env: r.Env()}
}

// ociOpen is an instance whose processes are counted.
func ociOpen(t *testing.T, r *rig.OCI, name string, timeout time.Duration) (*engine.Instance, *watched) {
	t.Helper()
	s := ociSpecOf(r, name)
	s.Timeout = timeout
	return ociOpenSpec(t, s)
}

func ociOpenSpec(t *testing.T, s engine.Spec) (*engine.Instance, *watched) {
	t.Helper()
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	s.RunDir = t.TempDir()
	i, err := engine.Open(s, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

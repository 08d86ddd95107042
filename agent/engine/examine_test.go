package engine_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

func grades(t *testing.T, x engine.Examination) map[string]health.Grade {
	t.Helper()
	out := map[string]health.Grade{}
	for _, f := range x.Findings {
		out[f.Check] = f.Grade
		if f.Check == "" || f.What == "" || f.Grade != health.GradeOK && (f.Why == "" || f.Do == "") {
			t.Errorf("%+v", f)
		}
	}
	return out
}

func TestExamineLXC(t *testing.T) {
	t.Parallel()
	y := newLXCYard(openLXC)(t)
	y.Make("web1", made{autostart: true})
	y.Make("web2", made{})
	y.Run("web1")
	x := y.Open(t).Examine(t.Context())
	g := grades(t, x)
	if !x.Reachable || x.Containers != 2 || x.Running != 1 || x.Events || filepath.Base(x.Binary) != "lxc-ls" || x.Version == "" || len(x.Blind) == 0 {
		t.Errorf("%+v", x)
	}
	if health.StopsHealing(x.Findings) || g["notices"] != health.GradeOK || g["list"] != health.GradeOK {
		t.Errorf("%+v", x.Findings)
	}
}

func TestExamineOverSSH(t *testing.T) {
	t.Parallel()
	y := newFarYard(openFarLXC)(t).(*farYard)
	y.Make("web1", made{})
	i := y.Open(t)
	x := i.Examine(t.Context())
	if g := grades(t, x); !x.Reachable || x.Containers != 1 || x.Version == "" || x.Binary != "lxc-ls" || g["notices"] != health.GradeNote || health.StopsHealing(x.Findings) {
		t.Errorf("%+v", x)
	}
	y.sshd.ForgetUserKey()
	y.sshd.Stop()
	y.sshd.Cut()
	y.sshd.Start()
	eventually(t, "it is told that the key is refused", func() bool {
		x = i.Examine(t.Context())
		n := slices.IndexFunc(x.Findings, func(f health.Finding) bool { return f.Check == "list" })
		return !x.Reachable && x.Findings[n].Grade == health.GradeStop && strings.Contains(x.Findings[n].What, "Permission denied") && strings.Contains(x.Findings[n].Do, "right")
	})
}

func TestExamineCustom(t *testing.T) {
	t.Parallel()
	spec := engine.CustomSpec{List: []string{"/bin/echo", "a UP"}, Line: `^(?P<id>\S+) (?P<state>\S+)$`, States: map[string]health.RunState{"UP": health.Running}}
	x := open(t, engine.Spec{Engine: "custom", Custom: &spec}).Examine(t.Context())
	if g := grades(t, x); g["verbs"] == "" || !health.StopsHealing(x.Findings) || x.Containers != 1 || x.Running != 1 || x.Binary != "/bin/echo" {
		t.Errorf("without a start it heals: %+v", x)
	}
	spec.Start, spec.Stop, spec.Kill = []string{"true", "{{.ID}}"}, []string{"true", "{{.ID}}"}, []string{"true", "{{.ID}}"}
	x = open(t, engine.Spec{Engine: "custom", Custom: &spec}).Examine(t.Context())
	if g := grades(t, x); health.StopsHealing(x.Findings) || g["notices"] != health.GradeNote {
		t.Errorf("%+v", x)
	}
	spec.List = []string{"no-such-tool"}
	x = open(t, engine.Spec{Engine: "custom", Custom: &spec}).Examine(t.Context())
	if g := grades(t, x); g["binary"] != health.GradeStop || g["list"] != health.GradeStop || x.Binary != "" {
		t.Errorf("%+v", x)
	}
	x = engine.Unopened(engine.Spec{Engine: "custom", SSH: "root@old"}, engine.CheckSSH(""))
	if g := grades(t, x); g["configuration"] != health.GradeStop || x.Where != "root@old" {
		t.Errorf("%+v", x)
	}
	if f := engine.NoEngine(); f.Grade != health.GradeStop {
		t.Errorf("%+v", f)
	}
}

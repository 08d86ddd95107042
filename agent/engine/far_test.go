package engine

import (
	"slices"
	"testing"

	"atalaya/agent/health"
)

// Whatever a tool says, nothing of another host is taken for this one's.
func TestFarSighting(t *testing.T) {
	lock := &health.Lock{Operation: "backup", Holder: health.Process{PID: 7, Start: 1}}
	g := farSighting(health.Sighting{State: health.Removed, Init: health.Process{PID: 1, Start: 2}, Links: []string{"br0"}, Lock: lock})
	if g.Init.PID != 0 || g.Links != nil || g.Lock.Holder.PID != 0 || g.Lock.Operation != "backup" || g.State != health.Missing || lock.Holder.PID != 7 {
		t.Errorf("%+v %+v", g, g.Lock)
	}
}

func TestFarEvidence(t *testing.T) {
	own := []Source{
		{Name: "a", Argv: []string{"x"}}, {Name: "b", Path: "/var/log/b.log", Tail: 9}, {Name: "c", Path: nowhere + "/etc/c"},
		{Name: "d", Path: "console", Root: "/var/lib/d"}, {Name: "e", Path: "relative"},
	}
	got := farEvidence(own)
	for i, want := range [][]string{{"x"}, {"tail", "-c", "9", "--", "/var/log/b.log"}, {"head", "-c", "262144", "--", "/etc/c"}, {"uptime"}} {
		if !slices.Equal(got[i].Argv, want) || got[i].Path != "" {
			t.Errorf("%+v, want %q", got[i], want)
		}
	}
}

package agent_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/cmd/atalaya-lab/rig"
)

// LXC's own backup refuses a container that runs: that is an incident of its own, with the tool's words, while the container
// is well. Once it is stopped, the next backup is good, and ends the incident.
func TestScheduledBackupOfLXC(t *testing.T) {
	t.Parallel()
	rig.Require(t, "rsync")
	l := newRig(t, rig.LXCOptions{N: 1, OwnRoot: true})
	p := planFor(t, l)
	p.Edit = func(_ health.Sighting, s *agent.Setup) {
		s.Policy.Jobs = map[string]health.JobPolicy{"often": {Do: health.VerbBackup, Limit: time.Minute}}
		s.Schedules = []agent.Schedule{{Name: "often", Spec: spec(t, "@every 5s")}}
	}
	r := p.start(t)
	r.up("lxc/web1")
	var c health.ContainerView
	r.until("the backup has failed", func(v health.View) bool {
		c = of(v, "lxc/web1")
		return c.Backup != nil && c.Backup.Incident != ""
	})
	if c.Phase != health.Up || c.Incident != "" || !strings.Contains(c.Backup.Err, "Original container (web1) is running") {
		t.Errorf("it is shown as %+v, %+v", c, c.Backup)
	}
	l.Stop("web1")
	r.until("the backup is good", func(v health.View) bool {
		c = of(v, "lxc/web1")
		return c.Backup.Incident == "" && !c.Backup.Good.IsZero()
	})
	if c.Phase != health.Off || c.State != health.Stopped {
		t.Errorf("it was stopped on purpose, and is %+v", c)
	}
	in := r.incidents("lxc/web1")
	if len(in) != 1 || in[0].Kind != health.KindBackup || in[0].Resolved.IsZero() {
		t.Fatalf("incidents: %+v", in)
	}
	all := slices.DeleteFunc(r.alerts("lxc/web1"), func(d store.Delivery) bool { return d.Alert.Incident != in[0].ID })
	if len(all) != 2 || all[0].Alert.Severity != "warning" || all[0].Alert.Kind != health.AlertOpen || all[1].Alert.Kind != health.AlertResolved {
		t.Fatalf("alerts: %+v", all)
	}
	r.until("its evidence is sealed", func(health.View) bool {
		b, err := r.store.Bundles(t.Context(), in[0].ID)
		return err == nil && len(b) == 2
	})
}

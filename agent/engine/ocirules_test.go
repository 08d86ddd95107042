package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// A policy is another supervisor while it may act, and not for ever.
func TestOCIPolicySupervises(t *testing.T) {
	o := ociOpened(t, "docker")
	now := time.Now()
	at := func(ago time.Duration) looseString { return looseString(now.Add(-ago).Format(time.RFC3339Nano)) }
	base := ociInspect{ociState: ociState{Status: "exited", ExitCode: 1, StartedAt: at(time.Hour), FinishedAt: at(time.Second)}, Policy: ociPolicy{Name: "always"}}
	for name, tt := range map[string]struct {
		change func(*ociInspect)
		ours   bool
		want   string
	}{
		"just ended":            {func(*ociInspect) {}, false, "docker restart policy always"},
		"by us":                 {func(*ociInspect) {}, true, ""},
		"long ago":              {func(in *ociInspect) { in.FinishedAt = at(ociPolicyActs) }, false, ""},
		"gave up":               {func(in *ociInspect) { in.Error = "no such mount" }, false, ""},
		"never started":         {func(in *ociInspect) { in.StartedAt, in.Status = "0001-01-01T00:00:00Z", "created" }, false, ""},
		"no policy":             {func(in *ociInspect) { in.Policy.Name = "no" }, false, ""},
		"unless-stopped":        {func(in *ociInspect) { in.Policy.Name = "unless-stopped" }, false, "docker restart policy unless-stopped"},
		"on-failure":            {func(in *ociInspect) { in.Policy = ociPolicy{"on-failure", 3}; in.RestartCount = 2 }, false, "docker restart policy on-failure"},
		"on-failure, exhausted": {func(in *ociInspect) { in.Policy = ociPolicy{"on-failure", 3}; in.RestartCount = 3 }, false, ""},
		"on-failure, well":      {func(in *ociInspect) { in.Policy = ociPolicy{"on-failure", 3}; in.ExitCode = 0 }, false, ""},
		"waiting to restart":    {func(in *ociInspect) { in.Status, in.FinishedAt = "restarting", at(time.Hour) }, false, "docker restart policy always"},
		"runs":                  {func(in *ociInspect) { in.Status = "running" }, false, ""},
		"kubernetes": {func(in *ociInspect) {
			in.Labels = map[string]string{"io.kubernetes.pod.name": "web\n-1", "io.kubernetes.pod.namespace": "shop"}
		}, false, "Kubernetes, pod shop/web -1"},
		"nomad":   {func(in *ociInspect) { in.Labels = map[string]string{"com.hashicorp.nomad.alloc_id": "42"} }, false, "Nomad, allocation 42"},
		"swarm":   {func(in *ociInspect) { in.Labels = map[string]string{"com.docker.swarm.task.id": "t1"} }, false, "Docker Swarm, task t1"},
		"quadlet": {func(in *ociInspect) { in.Labels = map[string]string{"PODMAN_SYSTEMD_UNIT": "web.service"} }, false, "systemd unit web.service"},
		"compose": {func(in *ociInspect) {
			in.Policy.Name = ""
			in.Labels = map[string]string{"PODMAN_SYSTEMD_UNIT": "podman-compose@x.service"}
		}, false, ""},
		"infra": {func(in *ociInspect) { in.Infra = true }, false, "podman, which starts a pod's infra container with the pod's others"},
	} {
		in := base
		tt.change(&in)
		got := o.supervisor(&ociEntry{in: in, ours: tt.ours}, health.Sighting{State: in.state()}, false, now)
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Why a container ended, by what the events told of it.
func TestOCITold(t *testing.T) {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	type e struct {
		after  time.Duration
		action string
		signal string
	}
	for name, tt := range map[string]struct {
		events   []e
		ended    time.Duration
		order    string
		harmless bool
	}{
		"nothing":                          {nil, 0, "", false},
		"died":                             {[]e{{0, "start", ""}, {9e9, "die", ""}}, 9e9, "", false},
		"docker stop":                      {[]e{{0, "kill", "15"}, {10e9, "kill", "9"}, {10e9, "die", ""}, {11e9, "stop", ""}}, 10e9, "stop", false},
		"docker stop, asked for long":      {[]e{{0, "kill", "15"}, {300e9, "die", ""}}, 300e9, "kill", false},
		"docker kill":                      {[]e{{0, "kill", "9"}, {1e8, "die", ""}}, 1e8, "kill", false},
		"HUP, and died much later":         {[]e{{0, "kill", "1"}, {60e9, "die", ""}}, 60e9, "", true},
		"HUP, and died of it":              {[]e{{0, "kill", "1"}, {1e9, "die", ""}}, 1e9, "kill", false},
		"stopped, started, died":           {[]e{{0, "stop", ""}, {1e9, "start", ""}, {9e9, "die", ""}}, 9e9, "", false},
		"TERM that was not heard":          {[]e{{0, "kill", "15"}, {2 * 3600e9, "die", ""}}, 2 * 3600e9, "", true},
		"podman stop":                      {[]e{{0, "stop", ""}, {1e7, "died", ""}, {2e7, "cleanup", ""}, {3e7, "cleanup", ""}}, 1e7, "stop", false},
		"podman stop, its event lost":      {[]e{{0, "died", ""}, {2e7, "cleanup", ""}, {3e7, "cleanup", ""}}, 0, "stop", false},
		"podman, one cleanup told twice":   {[]e{{0, "died", ""}, {2e7, "cleanup", ""}, {2e7, "cleanup", ""}}, 0, "", false},
		"podman, cleaned up later by hand": {[]e{{0, "died", ""}, {2e7, "cleanup", ""}, {60e9, "cleanup", ""}}, 0, "", false},
		"podman kill":                      {[]e{{0, "kill", ""}, {3e7, "died", ""}, {5e7, "cleanup", ""}}, 3e7, "kill", false},
		"podman kill -s HUP":               {[]e{{0, "kill", ""}, {60e9, "died", ""}, {60e9, "cleanup", ""}}, 60e9, "", true},
	} {
		var told ociTold
		for _, v := range tt.events {
			told.take(ociEvent{action: v.action, signal: v.signal, at: at.Add(v.after)})
		}
		if order, harmless := told.purpose(at.Add(-time.Hour), at.Add(tt.ended)); order != tt.order || harmless != tt.harmless {
			t.Errorf("%s: %q %v, want %q %v", name, order, harmless, tt.order, tt.harmless)
		}
		later := at.Add(tt.ended + 2*time.Second)
		if order, harmless := told.purpose(later, later.Add(time.Second)); order != "" || harmless {
			t.Errorf("%s, and the end of a later life: %q %v", name, order, harmless)
		}
	}
}

// Docker's record against what was heard.
func TestDockerRecord(t *testing.T) {
	for _, tt := range []struct {
		fixture string
		heard   *ociTold
		want    string
	}{
		{"docker/config.v2-stopped.json", nil, "docker stop or kill, by its record HasBeenManuallyStopped"},
		{"docker/config.v2-stopped.json", &ociTold{order: "kill", signal: "1"}, ""},
		{"docker/config.v2-stopped.json", &ociTold{order: "stop"}, "docker stop, by its events"},
		{"docker/config.v2-job.json", nil, ""},
		{"docker/config.v2-job.json", &ociTold{order: "kill", signal: "15"}, ""}, // the daemon itself, going down
		{"", nil, ""},
		{"", &ociTold{order: "kill", signal: "15"}, "docker kill, by its events"},
	} {
		o := ociOpened(t, "docker")
		in := ociInspect{ID: "02b244c2e934722427e6e11a1406140ca1aa034b5019ec27032b37571286eb5d"}
		if strings.Contains(tt.fixture, "job") {
			in.ID = "6c981de18bd0632189d2ddaf5eb578696b2d3841fb7dbde23ea49e20f2b3c1f5"
		}
		in.Dir = "/var/lib/docker/containers/" + in.ID + "/hosts"
		now := time.Now()
		in.FinishedAt = looseString(now.Format(time.RFC3339Nano))
		if tt.fixture != "" {
			dir := filepath.Join(o.spec.Root, in.folder())
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), ociFixture(t, tt.fixture), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if tt.heard != nil {
			tt.heard.at = now
			if tt.heard.signal == "1" {
				tt.heard.at = now.Add(-time.Minute)
			}
			o.told[string(in.ID)] = tt.heard
		}
		if got := o.purpose(string(in.ID), &ociEntry{in: in}); got != tt.want {
			t.Errorf("%q, heard %+v: %q, want %q", tt.fixture, tt.heard, got, tt.want)
		}
	}
}

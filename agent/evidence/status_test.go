package evidence

import (
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

// The report says how the container is when it is written, not what was said of it before.
func TestStatusIsThatOfThePresent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 4, 5, 6, 0, time.UTC)
	open := health.Incident{Attempts: 2}
	escalated := health.Incident{Attempts: 3, Escalated: true}
	over := health.Incident{Attempts: 4, Escalated: true, Resolved: at, How: "recovered by us after 4 attempts"}
	for _, c := range []struct {
		in    health.Incident
		state health.RunState
		phase health.Phase
		want  string
	}{
		{health.Incident{}, health.Stopped, health.Alerted, "down when this was written; nothing was tried"},
		{open, health.Stopped, health.Waiting, "down when this was written; after 2 attempts"},
		{open, health.Running, health.Alerted, "it runs and does not serve, when this was written; after 2 attempts"},
		{open, health.Running, health.Settling, "running again, after 2 attempts; that it serves was not proven yet when this was written"},
		{escalated, health.Stopped, health.Exhausted, "STILL DOWN after 3 attempts; a person is needed"},
		{escalated, health.Running, health.Exhausted, "STILL NOT SERVING after 3 attempts, although it runs; a person is needed"},
		{escalated, health.Running, health.Settling, "running again, after 3 attempts; that it serves was not proven yet when this was written"},
		{over, health.Running, health.Up, "up again since 2026-11-24 04:05:06.000 +00:00: recovered by us after 4 attempts"},
		{over, health.Stopped, health.Off, "closed at 2026-11-24 04:05:06.000 +00:00: recovered by us after 4 attempts"},
	} {
		rep := Report{Incident: c.in, Subject: health.Subject{State: c.state}, Phase: c.phase}
		if got := rep.status(); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.state, c.phase, got, c.want)
		}
	}
}

// An outage is stated from its first failure on, and when it was sure beside it.
func TestSinceAndConfirmed(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	q := request()
	q.Failed = time.Now().Add(-30 * time.Second)
	q.Part = 2
	s, _ := seal(t, r.Begin(q), Report{Incident: health.Incident{Confirmed: q.Failed.Add(20 * time.Second)}})
	inOrder(t, string(content(t, s.Path, ReportName)), "Since "+stampOf(q.Failed), "Confirmed "+stampOf(q.Failed.Add(20*time.Second))+" (+20000.0 ms)",
		"This is part 2", "sha256sum -c SHA256SUMS", "certutil -hashfile REPORT.txt SHA256", "Get-FileHash REPORT.txt")
	q = request()
	q.Failed = time.Now()
	s, _ = seal(t, r.Begin(q), Report{Incident: health.Incident{Confirmed: q.Failed}})
	if text := string(content(t, s.Path, ReportName)); strings.Contains(text, "Confirmed") || strings.Contains(text, "This is part") {
		t.Error(text)
	}
}

// The kernel's lines about a container are those that name its cgroup, from its last life and shortly before the failure.
func TestKernelLines(t *testing.T) {
	t.Parallel()
	const log = `<6>[   10.000000] oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/lxc.payload.web1,task=old,pid=1
<6>[  120.500000] oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/lxc.payload.web2,task=other,pid=2
<6>[  121.500000] oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/lxc.payload.web1/system.slice,task=new,pid=3
<3>[ nonsense] /lxc.payload.web1
no stamp /lxc.payload.web1
<3>[   99.000000] I/O error, dev sdb, sector 1 op 0x0:(READ), long ago
<3>[  122.000000] I/O error, dev sdb, sector 2 op 0x0:(READ)
<6>[  123.000000] Memory cgroup out of memory: Killed process 2 (other)
`
	own, host := kernelLines(log, 100, "/lxc.payload.web1")
	if len(own) != 1 || !strings.Contains(own[0], "task=new") {
		t.Errorf("its own: %q", own)
	}
	if len(host) != 1 || !strings.Contains(host[0], "sector 2") {
		t.Errorf("of the host: %q", host)
	}
	for text, want := range map[string]string{
		"0::/lxc.payload.web1\n":                                         "/lxc.payload.web1",
		"0::/lxc.payload.web1/init.scope\n":                              "/lxc.payload.web1",
		"5:devices:/d/web1\n4:memory:/lxc.payload.web1\n0::/u/web1\n":    "/lxc.payload.web1",
		"5:devices:/lxc.payload.web1\n4:memory:/\n0::/\n":                "",
		"1:name=systemd:/system.slice/docker-1.scope\n3:cpuset:/other\n": "",
	} {
		if got := MemoryCgroup(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

package engine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

func TestLXDEvents(t *testing.T) {
	l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
	var changed, told []string
	for line := range strings.Lines(string(fixture(t, "lxd/events.json"))) {
		e, ok := parseLXDEvent([]byte(line))
		if !ok {
			continue
		}
		l.hear(e, func(id string) { changed = append(changed, id+" "+strings.TrimPrefix(e.action, "instance-")) })
		if e.action == "instance-shutdown" || e.action == "instance-stopped" {
			told = append(told, l.told[e.id].by)
		}
	}
	want := []string{
		"x1 shutdown", "x1 started", "x1 shutdown", "x1 started", "x1 shutdown", "x1 restarted", "x1 paused", "x1 resumed", "x1 stopped",
		"p1_x1 stopped", " renamed", " deleted", "x1 started", "x1 shutdown", "x1 updated", "x1 shutdown", "x1 updated",
	}
	if !slices.Equal(changed, want) {
		t.Errorf("got  %q\nwant %q", changed, want)
	}
	want = []string{"instance-shutdown by root (unix)", "", "", "instance-stopped by root (unix)", "instance-stopped by root (unix)", "", ""}
	if !slices.Equal(told, want) {
		t.Errorf("got  %q\nwant %q", told, want)
	}
	for _, bad := range []string{"", "{}", "null", `{"type":"logging"}`, `{"type":"lifecycle","metadata":{"source":"/1.0/networks/x"}}`} {
		if e, ok := parseLXDEvent([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, e)
		}
	}
}

// Who stopped it counts until it is started again, and we ourselves are nobody.
func TestLXDPurpose(t *testing.T) {
	l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
	now := time.Now()
	in := lxdInstance{Name: "a", StatusCode: 102, Used: looseString(now.Add(-time.Hour).Format(time.RFC3339Nano))}
	purpose := func() string { return l.sighting(in, now).OnPurpose }
	l.tell("a", "instance-stopped", "root (unix)", now)
	if purpose() != "instance-stopped by root (unix)" {
		t.Errorf("%q", purpose())
	}
	in.Used = looseString(now.Add(time.Second).Format(time.RFC3339Nano))
	if purpose() != "" {
		t.Errorf("it was started since: %q", purpose())
	}
	in.Used = ""
	l.begin(context.Background(), call{id: "a"})
	l.tell("a", "instance-stopped", "root (unix)", now)
	if purpose() != "" {
		t.Errorf("it was us: %q", purpose())
	}
	l.end(context.Background(), call{id: "a"}, &Answer{})
	l.tell("a", "instance-stopped", "root (unix)", now.Add(time.Minute))
	if purpose() == "" {
		t.Error("a minute after we did, somebody stopped it")
	}
	for failed, want := range map[string]string{"exit 1": "", "": "instance-stopped by root (unix)"} {
		l.begin(context.Background(), call{id: "a"})
		time.Sleep(3 * time.Second) // a start takes its time
		l.started(context.Background(), call{id: "a"}, &Answer{Err: failed})
		l.tell("a", "instance-stopped", "root (unix)", time.Now())
		if purpose() != want {
			t.Errorf("after a start (%q) the daemon stops it: %q, want %q", failed, purpose(), want)
		}
	}
}

func TestLXDOperations(t *testing.T) {
	in := lxdInstance{Name: "x1", Project: "default", StatusCode: 102, Used: "2026-11-25T10:31:35.75Z"}
	for file, want := range map[string]struct{ lock, purpose string }{
		"operations-stopping.json": {"Stopping instance", `its operation "Stopping instance"`},
		"operations-stopped.json":  {"", `its operation "Stopping instance"`},
		"operations-none.json":     {},
	} {
		l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
		ops, err := parseLXDOperations(fixture(t, "lxd/"+file))
		if err != nil {
			t.Fatal(err)
		}
		lock := l.atWork(ops, in)
		if (lock == nil) != (want.lock == "") || lock != nil && (lock.Operation != want.lock || lock.Since.IsZero()) {
			t.Errorf("%s: %+v", file, lock)
		}
		if got := l.purpose("x1", in); got != want.purpose {
			t.Errorf("%s: %q", file, got)
		}
		later := in
		later.Used = "2026-11-25T11:00:00Z"
		other := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
		if other.atWork(ops, later); other.purpose("x1", later) != "" {
			t.Errorf("%s: a stop before the last start", file)
		}
	}
	for _, bad := range []string{"", "{}", "[]", `{"type":"error","metadata":{}}`} {
		if _, err := parseLXDOperations([]byte(bad)); err == nil {
			t.Errorf("%q is a list of operations", bad)
		}
	}
}

func TestLXDMeaning(t *testing.T) {
	l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
	for _, id := range []string{"web1", "p1_web1", "p1_db", "p1_two", "p2_two"} {
		l.known[id] = &lxdEntry{}
	}
	for _, tt := range []struct {
		line string
		id   string
		verb health.Verb
	}{
		{"lxc stop web1", "web1", health.VerbStop},
		{"/snap/bin/lxc stop web1 --timeout 30", "web1", health.VerbStop},
		{"lxc stop --timeout 30 local:web1", "web1", health.VerbStop},
		{"lxc stop -f web1", "web1", health.VerbKill},
		{"lxc stop web1 --force", "web1", health.VerbKill},
		{"lxc --project p1 stop web1", "p1_web1", health.VerbStop},
		{"lxc stop --project=p1 web1", "p1_web1", health.VerbStop},
		{"lxc stop db", "p1_db", health.VerbStop}, // the only one of that name
		{"lxc stop two", "", ""},                  // there are two
		{"lxc stop other:web1", "", ""},
		{"lxc stop nosuch web1", "web1", health.VerbStop},
		{"lxc stop --all", "", ""},
		{"lxc restart web1", "web1", health.VerbRestart},
		{"lxc delete -f web1", "web1", health.VerbRemove},
		{"lxc delete web1/snap0", "", ""},
		{"lxc move web1 other:", "web1", health.VerbMove},
		{"lxc mv web1 --target node2", "web1", health.VerbMove},
		{"lxc copy web1 web9", "web1", health.VerbSnapshot},
		{"lxc copy web1/snap0 web1", "", ""},
		{"lxc snapshot web1 before", "web1", health.VerbSnapshot},
		{"lxc snapshot create web1 before", "web1", health.VerbSnapshot},
		{"lxc restore web1 before", "web1", health.VerbSnapshot},
		{"lxc export web1 /tmp/web1.tar", "web1", health.VerbSnapshot},
		{"lxc publish web1", "web1", health.VerbSnapshot},
		{"lxc query -X PUT -d {\"action\":\"stop\"} /1.0/instances/web1/state", "web1", health.VerbStop},
		{"lxc query -X PUT -d {\"action\":\"stop\",\"force\":true} local:/1.0/instances/web1/state?project=p1", "p1_web1", health.VerbKill},
		{"lxc query --request=DELETE /1.0/instances/web1", "web1", health.VerbRemove},
		{"lxc query -X PUT -d {\"action\":\"start\"} /1.0/instances/web1/state", "", ""},
		{"lxc query /1.0/instances/web1", "", ""},
		{"lxc start web1", "", ""}, {"lxc exec web1 -- stop web1", "", ""}, {"lxc pause web1", "", ""}, {"lxc console web1", "", ""},
		{"lxc info web1", "", ""}, {"lxc list", "", ""}, {"lxc", "", ""}, {"lxc stop --help web1", "", ""}, {"incus stop web1", "", ""}, {"vi lxc stop web1", "", ""},
	} {
		if id, v, ok := l.meaning(strings.Fields(tt.line)); id != tt.id || v != tt.verb || ok != (tt.id != "") {
			t.Errorf("%s: %q %q %v", tt.line, id, v, ok)
		}
	}
}

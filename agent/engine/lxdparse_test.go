package engine

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

func lxdSightings(t testing.TB, l *lxd, b []byte) map[string]health.Sighting {
	t.Helper()
	all, err := parseLXDList(b, &l.notes)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]health.Sighting{}
	for _, in := range all {
		out[in.id()] = l.sighting(in, time.Now())
	}
	return out
}

func TestLXDList(t *testing.T) {
	l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
	// By pids that no process can have: those in the sample may be somebody's here.
	got := lxdSightings(t, l, regexp.MustCompile(`"pid":[1-9][0-9]*`).ReplaceAll(fixture(t, "lxd/list.json"), []byte(`"pid":4194304`)))
	if ids := sortedKeys(got); !slices.Equal(ids, []string{"X-2", "p1_x1", "x1"}) {
		t.Fatalf("%q: snapshots are none", ids)
	}
	off := got["X-2"]
	if off.State != health.Stopped || off.Autostart != health.No || off.Mark != "c4343107-364a-4d79-b98c-7df50582bec0" || off.Init.PID != 0 || off.OnPurpose != "" {
		t.Errorf("%+v", off)
	}
	if !slices.Equal(off.Links, []string{"brhlxd"}) || !slices.Equal(got["x1"].Tags, []string{"role=web"}) {
		t.Errorf("links %q, tags %q", off.Links, got["x1"].Tags)
	}
	// Those processes are not here: what the daemon says is not believed.
	if s := got["x1"]; s.State != health.Unknown || s.Autostart != health.Yes || !strings.Contains(s.Detail, "is gone") {
		t.Errorf("%+v", s)
	}
	if s := got["p1_x1"]; s.State != health.Unknown || s.Autostart != health.Maybe || s.Ref.ID != "p1_x1" || s.Name != "p1_x1" {
		t.Errorf("%+v", s)
	}
	all, _ := parseLXDList(fixture(t, "lxd/list.json"), &notes{})
	i := slices.IndexFunc(all, func(in lxdInstance) bool { return in.id() == "x1" })
	if a := lxdAddrs(all[i].State); len(a) != 1 || a[0].Prefix.String() != "10.82.77.11/24" || a[0].Iface != "eth0" || a[0].MAC != "00:16:3e:9a:26:55" {
		t.Errorf("%v: of scope global only", a)
	}
}

// What the daemon says is held against the processes that there are.
func TestLXDStates(t *testing.T) {
	self := os.Getpid()
	for _, tt := range []struct {
		code  int64
		word  string
		state *lxdState
		lived bool // its last init is known, and lives
		want  health.RunState
		pid   int
	}{
		{103, "Running", &lxdState{PID: looseInt(self), StatusCode: 103}, false, health.Running, self},
		{113, "Ready", &lxdState{PID: looseInt(self), StatusCode: 113}, false, health.Running, self},
		{110, "Frozen", &lxdState{PID: looseInt(self), StatusCode: 110}, false, health.Paused, self},
		{103, "Running", &lxdState{PID: 1 << 22, StatusCode: 103}, false, health.Unknown, 0},
		{103, "Running", nil, true, health.Running, self}, // a list without states
		{103, "Running", nil, false, health.Running, 0},
		{102, "Stopped", nil, false, health.Stopped, 0},
		{102, "Stopped", &lxdState{StatusCode: 102}, true, health.Unknown, self},
		{112, "Error", nil, true, health.Unknown, self},
		{112, "Error", nil, false, health.Broken, 0},
		{106, "Starting", nil, false, health.Busy, 0}, {107, "Stopping", nil, false, health.Busy, 0}, {109, "Freezing", nil, false, health.Busy, 0},
		{0, "Stopped", nil, false, health.Stopped, 0}, {0, "RUNNING", nil, true, health.Running, self},
		{999, "Hovering", nil, false, health.Unknown, 0},
		{102, "Stopped", &lxdState{StatusCode: 103, Status: "Running", PID: looseInt(self)}, false, health.Running, self},
	} {
		l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
		if tt.lived {
			p, _ := identify(self)
			l.known["a"] = &lxdEntry{init: p}
		}
		in := lxdInstance{Name: "a", Type: "container", Status: looseString(tt.word), StatusCode: looseInt(tt.code), State: tt.state}
		if s := l.sighting(in, time.Now()); s.State != tt.want || s.Init.PID != tt.pid {
			t.Errorf("%d %s %+v: %s, init %d, want %s, %d (%s)", tt.code, tt.word, tt.state, s.State, s.Init.PID, tt.want, tt.pid, s.Detail)
		}
		told := l.notes.take()
		if (len(told) != 0) != (tt.code == 999 || tt.code == 0) {
			t.Errorf("%d: %q", tt.code, told)
		}
		if l.sighting(in, time.Now()); len(l.notes.take()) != 0 {
			t.Errorf("%d: told twice", tt.code)
		}
	}
}

func TestLXDOthersLookAfterIt(t *testing.T) {
	l := newLXD(Spec{Engine: "incus"}, nil, dialectIncus())
	in := lxdInstance{Name: "a", StatusCode: 102, Config: map[string]looseString{"boot.autorestart": "true", "volatile.evacuate.origin": "node2"}}
	s := l.sighting(in, time.Now())
	if s.Supervisor != "incus (boot.autorestart)" || s.Lock == nil || s.Lock.Operation != "evacuation from cluster member node2" {
		t.Errorf("%+v %+v", s, s.Lock)
	}
	in.Config = map[string]looseString{"boot.autorestart": "false"}
	if s := l.sighting(in, time.Now()); s.Supervisor != "" || s.Lock != nil {
		t.Errorf("%+v", s)
	}
}

// A change of what a person sets is one, a change of what the daemon notes down is none.
func TestLXDConfigMark(t *testing.T) {
	in := lxdInstance{Name: "a", Config: map[string]looseString{"limits.cpu": "1", "volatile.last_state.power": "RUNNING"}, Devices: map[string]lxdDevice{"eth0": {"type": "nic", "parent": "br0", "nictype": "bridged"}}}
	was := lxdConfig(in)
	in.Config["volatile.last_state.power"] = "STOPPED"
	if lxdConfig(in) != was {
		t.Error("it was stopped, and counts as configured anew")
	}
	in.Config["limits.cpu"] = "2"
	is := lxdConfig(in)
	if is == was {
		t.Error("limits.cpu changed")
	}
	in.Devices["eth0"]["parent"] = "br1"
	if lxdConfig(in) == is {
		t.Error("its bridge changed")
	}
}

func TestLXDBadLists(t *testing.T) {
	for _, bad := range []string{"", " \n", "null", "{}", `{"error":"x"}`, "[", `[{"name":"a"}`, `[1]`, `[{}]`, `[{"name":"../a"}]`, "Error: x", `[null]`} {
		if all, err := parseLXDList([]byte(bad), &notes{}); err == nil {
			t.Errorf("%q is a list: %+v", bad, all)
		}
	}
	n := &notes{}
	all, err := parseLXDList([]byte(`[{"name":"a","status_code":"102","new":{"x":1}},{"name":"-b"},{"name":"a"},{"name":"c","project":"p","project":"q","status_code":103,"ephemeral":"no"},7]`), n)
	if err != nil || len(all) != 2 || all[0].StatusCode != 102 || all[1].id() != "q_c" || len(n.take()) != 3 { //nolint:usestdlibvars // LXD has codes of its own
		t.Errorf("%+v %v", all, err)
	}
}

func TestLXDID(t *testing.T) {
	for id, want := range map[string][2]string{
		"web1": {"default", "web1"}, "p1_web1": {"p1", "web1"}, "p-1.x_a-b": {"p-1.x", "a-b"}, "p:1_a": {"p:1", "a"},
	} {
		p, n := splitLXDID(id)
		if err := checkLXDID(id); err != nil || p != want[0] || n != want[1] || joinLXDID(p, n) != id {
			t.Errorf("%q: %q %q %v", id, p, n, err)
		}
	}
	for _, bad := range []string{"", "-x", "--help", "a b", "a.b", "a/b", "default_a", "_a", "p_", "p p_a", "*_a", "-p_a", "p_a_", "local:a", strings.Repeat("x", 64)} {
		if checkLXDID(bad) == nil {
			t.Errorf("%q is an id", bad)
		}
	}
}

func TestLXDAnswers(t *testing.T) {
	for file, want := range map[string]string{
		"start-busy":      `Failed to create instance start operation: Instance is busy running a "stop" operation`,
		"start-no-bridge": `Failed to start device "eth0": Parent device "brNOPE" doesn't exist`,
		"stop-stopped":    "The instance is already stopped",
		"instance-gone":   "Instance not found",
	} {
		a := readLXDAnswer(hostexec.Transcript{Exit: 1, Stderr: fixture(t, "lxd/"+file+".stderr")}, nil)
		if a.Cause != want || a.Err == "" || a.Already {
			t.Errorf("%s: %+v", file, a)
		}
	}
	if a := readLXDAnswer(hostexec.Transcript{Exit: 1, Stderr: fixture(t, "lxd/start-running.stderr")}, nil); !a.Already || a.Err != "" {
		t.Errorf("%+v", a)
	}
	l := newLXD(Spec{Engine: "lxd"}, said{out: string(fixture(t, "lxd/info-show-log.txt"))}, dialectLXD())
	a := readLXDAnswer(hostexec.Transcript{Exit: 1, Stderr: fixture(t, "lxd/start-forkstart.stderr")}, nil)
	if l.cause(context.Background(), call{id: "x1"}, &a); a.Cause != `No such file or directory - Failed to exec "/nosuch"` || len(a.Log) == 0 {
		t.Errorf("%q", a.Cause)
	}
}

func TestLXDDiscover(t *testing.T) {
	root := t.TempDir()
	put := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put("/usr/bin/lxc")
	put("/var/lib/lxd/unix.socket")
	if got := discoverLXDIn(root, dialectLXD()); got != nil {
		t.Errorf("it never ran: %+v", got)
	}
	put("/var/lib/lxd/database/local.db")
	if got := discoverLXDIn(root, dialectLXD()); len(got) != 1 || got[0].Engine != "lxd" || got[0].Path != "" {
		t.Errorf("%+v", got)
	}
	put("/var/snap/lxd/common/lxd/database/local.db")
	put("/snap/bin/lxc")
	if got := discoverLXDIn(root, dialectLXD()); len(got) != 2 || got[1].Instance != "snap" || got[1].Bin != "/snap/bin" || got[1].Path != "/var/snap/lxd/common/lxd" {
		t.Errorf("%+v", got)
	}
	put("/var/lib/incus/database/local.db")
	if got := discoverLXDIn(root, dialectIncus()); got != nil {
		t.Errorf("its client is not there: %+v", got)
	}
}

// The containers of LXD are containers of liblxc too, and watched once.
func TestLXDCoversLXC(t *testing.T) {
	low := kind{name: "lxc", discover: func(context.Context, Runner) []Spec {
		return []Spec{{Engine: "lxc", Path: "/var/lib/lxd/containers"}, {Engine: "lxc", Instance: "own", Path: "/var/lib/lxc"}}
	}}
	high := kind{name: "lxd", discover: func(context.Context, Runner) []Spec { return []Spec{{Engine: "lxd"}} }, covers: dialectLXD().covers()}
	got := discover(context.Background(), nil, []kind{high, low})
	if len(got) != 2 || got[1].Path != "/var/lib/lxc" {
		t.Errorf("%+v", got)
	}
}

// In a cluster every member lists all instances, and each agent watches those of its own.
func TestLXDCluster(t *testing.T) {
	r := said{out: string(fixture(t, "lxd/server.json"))} // server_name "vm"
	l := newLXD(Spec{Engine: "lxd"}, r, dialectLXD())
	out, err := l.listing(context.Background(), []byte(`[{"name":"a","location":"vm","status_code":102},{"name":"b","location":"node2","status_code":103,"state":{"status_code":103,"pid":1}}]`))
	if err != nil || len(out.Containers) != 1 || out.Containers[0].Ref.ID != "a" || l.defined("b") || !l.defined("a") {
		t.Fatalf("%+v %v", out, err)
	}
	out, err = l.listing(context.Background(), []byte(`[{"name":"a","location":"vm","status_code":102},{"name":"b","location":"vm","status_code":102}]`))
	if err != nil || len(out.Containers) != 2 || !l.defined("b") {
		t.Errorf("it came here: %+v %v", out, err)
	}
	l = newLXD(Spec{Engine: "lxd"}, said{}, dialectLXD())
	if out, err := l.listing(context.Background(), []byte(`[{"name":"a","location":"vm","status_code":102}]`)); err == nil {
		t.Errorf("which member this is was not told: %+v", out)
	}
}

func FuzzLXD(f *testing.F) {
	for _, file := range []string{"list", "without-states", "instance", "operations-stopping", "events", "server"} {
		f.Add(fixture(f, "lxd/"+file+".json"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
		if all, err := parseLXDList(b, &l.notes); err == nil {
			for _, in := range all {
				s := l.sighting(in, time.Now())
				if checkLXDID(s.Ref.ID) != nil || s.State == "" {
					t.Errorf("%+v", s)
				}
			}
		}
		for line := range strings.Lines(string(b)) {
			if e, ok := parseLXDEvent([]byte(line)); ok && checkLXDID(e.id) != nil {
				t.Errorf("%+v", e)
			}
		}
		if ops, err := parseLXDOperations(b); err == nil {
			l.atWork(ops, lxdInstance{Name: "x1"})
		}
		_, _ = parseLXDServer(b)
		_, _ = parseLXDInstance(b)
	})
}

func FuzzLXDMeaning(f *testing.F) {
	f.Add("lxc\x00stop\x00--project=p1\x00web1")
	f.Add("lxc\x00query\x00-X\x00PUT\x00-d\x00{\"action\":\"stop\"}\x00/1.0/instances/a/state")
	l := newLXD(Spec{Engine: "lxd"}, nil, dialectLXD())
	l.known["web1"] = &lxdEntry{}
	f.Fuzz(func(t *testing.T, line string) {
		if id, _, ok := l.meaning(strings.Split(line, "\x00")); ok && checkLXDID(id) != nil {
			t.Errorf("%q means %q", line, id)
		}
	})
}

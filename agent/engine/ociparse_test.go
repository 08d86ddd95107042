package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

func ociFixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ociOpened is one of both engines, which runs nothing.
func ociOpened(t testing.TB, engine string) *oci {
	t.Helper()
	open := map[string]func(Spec, Runner) (*oci, error){"docker": newDocker, "podman": newPodman}
	o, err := open[engine](Spec{Engine: engine, Root: t.TempDir(), Quiet: DefaultQuiet}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ociTelling is an instance that has heard the fixtures.
func ociTelling(t testing.TB, engine, ps string) (*oci, []ociRow) {
	t.Helper()
	o := ociOpened(t, engine)
	rows, err := o.rows(ociFixture(t, engine+"/"+ps), &o.notes)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseOCIInspect(ociFixture(t, engine+"/inspect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	o.changed(rows, time.Now())
	for id, in := range got {
		o.known[id].learn(in)
	}
	return o, rows
}

// What the fixtures say of each container. Their processes are long gone, so what ran reads as just ending.
func TestOCIFixtures(t *testing.T) {
	type want struct {
		state      health.RunState
		detail     string
		autostart  health.Tri
		supervisor string
		finished   bool
		patience   time.Duration
	}
	for _, tt := range []struct {
		engine, ps string
		want       map[string]want
	}{
		{"docker", "ps.txt", map[string]want{
			"web":     {health.Unknown, "docker says running, but its process ", health.No, "", false, 0},
			"db":      {health.Unknown, "it is just ending", health.Yes, "docker restart policy unless-stopped", false, 5 * time.Minute},
			"sick":    {health.Unknown, "it is just ending", health.No, "", false, 0},
			"job":     {health.Stopped, "exited, exit code 0", health.No, "", true, 0},
			"fail":    {health.Stopped, "exited, exit code 1", health.Yes, "", false, 0},
			"bad":     {health.Stopped, `created: exec: "/no/such/init": stat /no/such/init: no such file or directory: unknown`, health.No, "Docker Swarm, service front", false, 0},
			"never":   {health.Stopped, "created", health.No, "", false, 0},
			"held":    {health.Unknown, "docker says paused", health.No, "", false, 0},
			"loop":    {health.Busy, "restarting", health.Yes, "docker restart policy always", false, 0},
			"stopped": {health.Stopped, "exited, exit code 137", health.No, "", false, 0},
		}},
		{"podman", "ps.json", map[string]want{
			"web":    {health.Stopped, "podman says running, but its process ", health.No, "", false, 10 * time.Second},
			"p2":     {health.Stopped, "has not noticed", health.Yes, "", false, 10 * time.Second},
			"job":    {health.Stopped, "exited, exit code 0", health.No, "", true, 10 * time.Second},
			"fail":   {health.Stopped, "exited, exit code 1", health.Yes, "", false, 10 * time.Second},
			"bad":    {health.Stopped, "created", health.No, "systemd unit bad.service", false, 10 * time.Second},
			"never":  {health.Stopped, "created", health.No, "", false, 10 * time.Second},
			"held":   {health.Stopped, "podman says paused", health.No, "", false, 10 * time.Second},
			"halted": {health.Stopped, "exited, exit code 137", health.No, "", false, 10 * time.Second},
			"stale":  {health.Stopped, "has not noticed", health.No, "", false, 10 * time.Second},
		}},
	} {
		o, rows := ociTelling(t, tt.engine, tt.ps)
		for _, e := range o.known { // of another machine: none of these processes is one of ours
			e.init = health.Process{}
			if e.in.Pid != 0 {
				e.in.Pid += 1 << 23
			}
			if e.in.ConmonPid != 0 {
				e.in.ConmonPid += 1 << 23
			}
		}
		all := o.sightings(rows)
		if len(all) != len(tt.want) || len(o.notes.take()) != 0 {
			t.Errorf("%s: %d containers, want %d", tt.engine, len(all), len(tt.want))
		}
		for _, s := range all {
			w, ok := tt.want[s.Name]
			if !ok || s.State != w.state || !strings.Contains(s.Detail, w.detail) || s.Autostart != w.autostart || s.Supervisor != w.supervisor ||
				s.Finished != w.finished || s.OnPurpose != "" || s.Mark == "" || s.Config == "" || o.patience(s.Ref.ID) != w.patience {
				t.Errorf("%s %s: %+v (patience %v), want %+v", tt.engine, s.Name, s, o.patience(s.Ref.ID), w)
			}
		}
	}
}

func TestOCIAddresses(t *testing.T) {
	got, err := parseOCIInspect(ociFixture(t, "docker/inspect.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range got {
		if in.Name == "/web" {
			if s := fmt.Sprint(in.addrs()); s != "[{10.212.1.2/24  02:42:0a:d4:01:02} {10.212.3.2/24  02:42:0a:d4:03:02} {fd00:dead::2/64  02:42:0a:d4:03:02}]" {
				t.Errorf("web has %s", s)
			}
		}
	}
}

// Only what the time does to the sentence may change without the container being asked about.
func TestOCIStatus(t *testing.T) {
	for _, tt := range []struct {
		status, words string
		age           time.Duration
		check         health.Outcome
	}{
		{"Up 17 seconds", "Up …", 17 * time.Second, ""},
		{"Up Less than a second", "Up …", 0, ""},
		{"Up About a minute (healthy)", "Up … ", time.Minute, health.Pass},
		{"Up About an hour (unhealthy)", "Up … ", time.Hour, health.Fail},
		{"Up 3 seconds (health: starting)", "Up … ", 3 * time.Second, health.Unsure},
		{"Up Less than a second ago (starting)", "Up … ", 0, health.Unsure},
		{"Up 2 weeks (Paused)", "Up … (Paused)", 14 * 24 * time.Hour, ""},
		{"Exited (137) 2 minutes ago", "Exited (137) …", 2 * time.Minute, ""},
		{"Exited (1) 3 years ago", "Exited (1) …", 3 * 365 * 24 * time.Hour, ""},
		{"Restarting (1) 5 seconds ago", "Restarting (1) …", 5 * time.Second, ""},
		{"Created", "Created", 0, ""},
		{"", "", 0, ""},
	} {
		if words, age, check := ociStatus(tt.status); words != tt.words || age != tt.age || check != tt.check {
			t.Errorf("%q: %q %v %q, want %q %v %q", tt.status, words, age, check, tt.words, tt.age, tt.check)
		}
	}
}

// Trap 25 and its kin: what is no list is an error, and never an empty one.
func TestOCISenselessLists(t *testing.T) {
	id := strings.Repeat("a", 64)
	for _, tt := range []struct {
		engine, out string
		want        int // -1: an error
		notes       int
	}{
		{"docker", string(ociFixture(t, "docker/ps-20.10-word-json.txt")), -1, 0},
		{"docker", "", 0, 0},
		{"docker", "null\n", -1, 0},
		{"docker", `{"ID":"38caa1a2b6a5","State":"running"}`, -1, 0}, // a short id
		{"docker", `{"ID":"` + id + `","State":""}`, -1, 0},
		{"docker", `{"ID":"` + id + `","State":"running"`, -1, 0},
		{"docker", `{"ID":"` + id + `","State":"sleeping","New":{"a":[1]},"State":"napping"}`, 1, 1},
		{"docker", `{"ID":"` + id + `","Names":5,"State":"running","Status":null}`, 1, 0},
		{"podman", "[]", 0, 0},
		{"podman", "", -1, 0},
		{"podman", "null", -1, 0},
		{"podman", `[{"Id":"` + id + `"}]`, -1, 0},
		{"podman", `[{"Id":"` + id + `","State":"running","Pid":"12","StartedAt":"1","ExitedAt":-62135596800,"Names":["a"]}]`, 1, 0},
		{"podman", `[{"Id":"` + id + `","State":"hibernating"}]`, 1, 1},
	} {
		o := ociOpened(t, tt.engine)
		rows, err := o.rows([]byte(tt.out), &o.notes)
		if notes := o.notes.take(); (err != nil) != (tt.want < 0) || err == nil && len(rows) != tt.want || len(notes) != tt.notes {
			t.Errorf("%s %q: %v, %v, %q", tt.engine, tt.out, rows, err, notes)
		}
	}
}

func TestOCICauses(t *testing.T) {
	const noInit = `exec: "/no/such/init": stat /no/such/init: no such file or directory`
	for file, want := range map[string]string{
		"docker/start-no-init.stderr": noInit,
		"docker/start-paused.stderr":  "cannot start a paused container, try unpause instead",
		"docker/no-daemon.stderr":     "Cannot connect to the Docker daemon at unix:///run/rig/nosuch.sock. Is the docker daemon running?",
		"podman/start-no-init.stderr": noInit + ": OCI runtime attempted to invoke a command that was not found",
		"podman/start-paused.stderr":  "container bc6c38c758744d5df48d15b552ca38b91bfc68870721344454b90468c5841617 must be in Created or Stopped state to be started: container state improper",
	} {
		a := readOCIAnswer(hostexec.Transcript{Argv: []string{"x"}, Exit: 1, Stderr: ociFixture(t, file)}, nil)
		if a.Cause != want || a.Err == "" {
			t.Errorf("%s: %q, want %q", file, a.Cause, want)
		}
	}
	id := strings.Repeat("0", 64)
	for file, engine := range map[string]string{"docker/inspect-missing.stderr": "docker", "docker/inspect-missing-28.stderr": "docker", "podman/inspect-missing.stderr": "podman"} {
		if gone := ociGone(ociOpened(t, engine).gone, ociFixture(t, file), []string{id, strings.Repeat("1", 64)}); len(gone) != 1 || gone[0] != id {
			t.Errorf("%s: gone %q", file, gone)
		}
	}
}

// What stays "stopping" in podman with nobody to end it is stopped, or broken where podman cannot be told; but not before
// that is sure.
func TestPodmanStuckInStopping(t *testing.T) {
	o, rows := ociTelling(t, "podman", "ps.json")
	for _, tt := range []struct {
		since time.Duration
		exits string
		want  health.RunState
	}{
		{0, "", health.Busy}, {ociStuck - time.Second, "/x", health.Busy},
		{ociStuck + time.Second, "", health.Broken}, {ociStuck + time.Second, "/x", health.Stopped},
	} {
		o.exits = tt.exits
		var e *ociEntry
		for _, k := range o.known {
			if k.in.Name == "stale" {
				e = k
			}
		}
		e.in.Status, e.init, e.in.Pid, e.odd = "stopping", health.Process{}, 1<<30, time.Now().Add(-tt.since)
		for _, s := range o.sightings(rows) {
			if s.Name == "stale" && (s.State != tt.want || tt.want == health.Broken && !strings.Contains(s.Detail, "podman rm --force")) {
				t.Errorf("after %v: %+v, want %s", tt.since, s, tt.want)
			}
		}
	}
}

var fuzzedNameRE = regexp.MustCompile(`[\x00-\x1f\x7f]`)

func FuzzDockerRows(f *testing.F) {
	f.Add(ociFixture(f, "docker/ps.txt"))
	f.Add(ociFixture(f, "docker/ps-20.10-word-json.txt"))
	f.Fuzz(func(t *testing.T, b []byte) { checkRows(t, b, parseDockerRows) })
}

func FuzzPodmanRows(f *testing.F) {
	f.Add(ociFixture(f, "podman/ps.json"))
	f.Fuzz(func(t *testing.T, b []byte) { checkRows(t, b, parsePodmanRows) })
}

func checkRows(t *testing.T, b []byte, parse func([]byte, *notes) ([]ociRow, error)) {
	var n notes
	rows, err := parse(b, &n)
	for _, r := range rows {
		if err == nil && (checkOCIID(r.id) != nil || r.state == "" || r.print == "" || r.age < 0) {
			t.Errorf("%q: %+v", b, r)
		}
	}
}

func FuzzOCIInspect(f *testing.F) {
	f.Add(ociFixture(f, "docker/inspect.txt"))
	f.Add(ociFixture(f, "podman/inspect.txt"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseOCIInspect(b)
		if err != nil {
			return
		}
		o := ociOpened(t, "podman")
		for id, in := range got {
			e := &ociEntry{}
			e.learn(in)
			o.known[id] = e
			s := o.sighting(id, e, time.Now())
			if s.State == "" || s.Name == "" || fuzzedNameRE.MatchString(s.Name+s.Detail+s.Supervisor) || checkOCIID(id) != nil {
				t.Errorf("%q: %+v", b, s)
			}
		}
	})
}

func FuzzOCIEvents(f *testing.F) {
	for _, name := range []string{"docker/events.txt", "podman/events.txt"} {
		for line := range strings.Lines(string(ociFixture(f, name))) {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (ociEvent, bool){parseDockerEvent, parsePodmanEvent} {
			if v, ok := parse(b); ok && checkOCIID(v.id) != nil {
				t.Errorf("%q: %+v", b, v)
			}
		}
	})
}

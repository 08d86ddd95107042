package engine

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

func TestNspawnShow(t *testing.T) {
	units, err := parseSystemctlShow(fixture(t, "nspawn/show.txt"))
	if err != nil || len(units) != 5 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	n := &nspawn{base: base{spec: Spec{Engine: "nspawn", Root: withImages(t, "web1", "web2", "bad1", "odd1")}}, known: map[string]*nspawnEntry{}}
	for name, want := range map[string]struct {
		state  health.RunState
		detail string
		auto   health.Tri
	}{
		// Those processes are not here: what systemd says is not believed.
		"web1": {health.Unknown, "no init of it lives", health.Yes},
		"web2": {health.Unknown, "no init of it lives", health.No},
		"bad1": {health.Stopped, "failed: exit-code 1", health.No},
		"odd1": {health.Stopped, "", health.No},
		"many": {health.Broken, "bad unit file setting", health.No},
	} {
		s := n.sighting(name, units[nspawnUnitOf(name)])
		if s.State != want.state || !strings.Contains(s.Detail, want.detail) || s.Autostart != want.auto || s.Supervisor != "" || s.Lock != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if got := n.stopsIn("web1"); got != 90*time.Second {
		t.Errorf("TimeoutStopUSec is %v", got)
	}
}

// withImages is the root of a host that has folders for machines of these names.
func withImages(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(root, nspawnImages, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestNspawnStates(t *testing.T) {
	for _, tt := range []struct {
		unit nspawnUnit
		want health.RunState
		lock bool
		by   string
	}{
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "inactive", "Restart": "no"}, health.Stopped, false, ""},
		{nspawnUnit{"LoadState": "masked", "ActiveState": "inactive"}, health.Stopped, false, ""},
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "inactive", "Job": "77"}, health.Busy, true, ""},
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart", "Restart": "always"}, health.Busy, false, "systemd (Restart=always)"},
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "failed", "Restart": "on-failure", "Result": "start-limit-hit"}, health.Stopped, false, ""},
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "deactivating"}, health.Busy, false, ""},
		{nspawnUnit{"LoadState": "loaded", "ActiveState": "hovering"}, health.Unknown, false, ""},
		{nspawnUnit{"LoadState": "novel", "ActiveState": "inactive"}, health.Stopped, false, ""},
	} {
		n := &nspawn{base: base{spec: Spec{Root: withImages(t, "a")}}, known: map[string]*nspawnEntry{}}
		s := n.sighting("a", tt.unit)
		if s.State != tt.want || (s.Lock != nil) != tt.lock || s.Supervisor != tt.by {
			t.Errorf("%v: %+v", tt.unit, s)
		}
		odd := tt.unit["ActiveState"] == "hovering" || tt.unit["LoadState"] == "novel"
		if told := n.notes.take(); (len(told) != 0) != odd {
			t.Errorf("%v: %q", tt.unit, told)
		}
		if n.sighting("a", tt.unit); len(n.notes.take()) != 0 {
			t.Errorf("%v: told twice", tt.unit)
		}
	}
}

// An answer that leaves out what was asked for, or is none, is no list.
func TestNspawnBadLists(t *testing.T) {
	root := withImages(t, "web1")
	for _, bad := range []string{"", "\n\n", "Id=systemd-nspawn@web1.service", "Failed to connect to bus: Host is down", "Id=systemd-nspawn@other.service\nLoadState=loaded\nActiveState=active\n", "a=b\n"} {
		n := &nspawn{base: base{spec: Spec{Engine: "nspawn", Root: root}, run: said{out: bad}}, known: map[string]*nspawnEntry{}}
		if l, err := n.list(t.Context(), nil); err == nil {
			t.Errorf("%q is a list: %+v", bad, l)
		}
		if s, err := n.look(t.Context(), "web1", health.Process{}); err == nil {
			t.Errorf("%q is an answer: %+v", bad, s)
		}
	}
}

func TestNspawnImages(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, nspawnImages)
	for _, name := range []string{"web1", ".hidden", "we b3", "my-box.example", "disk.raw.d"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"disk.raw", "web1.nspawn", "readme"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := &nspawn{base: base{spec: Spec{Root: root}}}
	names, err := n.images(t.Context())
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"disk", "disk.raw.d", "my-box.example", "web1"}) || len(n.notes.take()) != 1 {
		t.Errorf("%q %v", names, err)
	}
	if !n.defined("web1") || !n.defined("disk") || n.defined("nosuch") {
		t.Error("what is defined")
	}
	for _, bad := range []string{"", "-x", ".a", "a.", "a-", "a b", "a/b", "a@b", "a..b", strings.Repeat("x", 65)} {
		if checkNspawnID(bad) == nil {
			t.Errorf("%q is a machine", bad)
		}
	}
}

func TestNspawnJournal(t *testing.T) {
	for file, want := range map[string]string{
		"stopped": "a stop job of systemd", "died": "", "poweroff": "it ended by itself, without an error: a poweroff inside", "killed": "systemctl kill",
	} {
		lines := parseJournal(fixture(t, "nspawn/journal-"+file+".json"))
		if got := nspawnPurpose(lines); got != want {
			t.Errorf("%s: %q", file, got)
		}
		last := lines[len(lines)-1].Micros
		for at, was := range map[looseInt]string{last - looseInt(4*time.Second/time.Microsecond): "", last - looseInt(time.Minute/time.Microsecond): want} {
			sign := journalLine{Ident: nspawnSigner, Message: "stop systemd-nspawn@web1.service", Micros: at}
			if got := nspawnPurpose(append(slices.Clone(lines), sign)); got != was {
				t.Errorf("%s: signed %d µs before its end: %q, want %q", file, last-at, got, was)
			}
		}
	}
	if got := nspawnPurpose(nil); got != "" {
		t.Errorf("no journal: %q", got)
	}
	want := "Directory /var/lib/machines/bad1 doesn't look like an OS root directory (os-release file is missing). Refusing."
	if got := nspawnCause(parseJournal(fixture(t, "nspawn/journal-bad1.json"))); got != want {
		t.Errorf("%q", got)
	}
	odd := parseJournal([]byte("{\"MESSAGE\":[13,84,104]}\nno JSON\n{\"MESSAGE\":null}\n{\"MESSAGE\":[\"a\",\"b\"],\"__REALTIME_TIMESTAMP\":1795603497344970}\n"))
	if len(odd) != 3 || odd[0].Message != "\rTh" || odd[2].at().Year() != 2026 {
		t.Errorf("%+v", odd)
	}
}

func TestNspawnEvents(t *testing.T) {
	n := &nspawn{base: base{run: streamed{fixture(t, "nspawn/events.json")}}, known: map[string]*nspawnEntry{"web1": {}}}
	var ids []string
	if err := n.events(t.Context(), func(id string) { ids = append(ids, id) }); err != nil || len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool { return id != "web1" }) {
		t.Errorf("%q %v", ids, err)
	}
	n.known = map[string]*nspawnEntry{}
	ids = nil
	if err := n.events(t.Context(), func(id string) { ids = append(ids, id) }); err != nil || len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool { return id != "" }) {
		t.Errorf("%q %v", ids, err)
	}
}

func TestNspawnMachines(t *testing.T) {
	m := parseMachines(fixture(t, "nspawn/machines-show.txt"))
	if len(m) != 2 || m["odd1"].unit != "oddly.service" || m["odd1"].leader != 122 {
		t.Errorf("%+v", m)
	}
	if m := parseMachines([]byte("Name=vm1\nService=libvirt-qemu\nLeader=7\nClass=vm\n")); len(m) != 0 {
		t.Errorf("libvirt's: %+v", m)
	}
	a, err := parseMachineAddrs(fixture(t, "nspawn/machines.json"))
	if err != nil || !slices.Equal(a["web1"], []string{"10.213.3.30", "fe80::5017:43ff:fedc:6fad"}) {
		t.Errorf("%q %v", a, err)
	}
	if got := parseNspawnLinks([]byte("[Exec]\nBridge=no\n[Network]\nBridge=br0\nMACVLAN=eno1:mv0 eno2\nVirtualEthernet=yes\n")); !slices.Equal(got, []string{"br0", "eno1", "eno2"}) {
		t.Errorf("%q", got)
	}
}

func TestNspawnSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1min 30s": 90 * time.Second, "infinity": 24 * time.Hour, "500ms": 500 * time.Millisecond, "1h 2min": 62 * time.Minute, "": 0, "90": 0, "x": 0, "-1s": 0, "1.5s": 1500 * time.Millisecond,
	} {
		if got := (nspawnUnit{"k": text}).span("k"); got != want {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestNspawnMeaning(t *testing.T) {
	n := &nspawn{}
	for _, tt := range []struct {
		line string
		id   string
		verb health.Verb
	}{
		{"machinectl poweroff web1", "web1", health.VerbStop}, {"machinectl stop web1", "web1", health.VerbStop},
		{"/usr/bin/machinectl terminate web1", "web1", health.VerbKill}, {"machinectl kill -s KILL web1", "web1", health.VerbKill},
		{"machinectl kill --signal KILL web1", "web1", health.VerbKill}, {"machinectl reboot web1", "web1", health.VerbRestart},
		{"machinectl remove web1", "web1", health.VerbRemove}, {"machinectl rename web1 web2", "web1", health.VerbMove},
		{"machinectl clone web1 web2", "web1", health.VerbSnapshot},
		{"systemctl stop systemd-nspawn@web1", "web1", health.VerbStop}, {"systemctl stop systemd-nspawn@web1.service", "web1", health.VerbStop},
		{"systemctl --no-block stop nginx systemd-nspawn@my-box.service", "my-box", health.VerbStop},
		{"systemctl kill -s 9 systemd-nspawn@web1", "web1", health.VerbKill}, {"systemctl restart systemd-nspawn@web1", "web1", health.VerbRestart},
		{"systemctl stop nginx", "", ""}, {"systemctl start systemd-nspawn@web1", "", ""}, {"systemctl stop machines.target", "", ""},
		{"systemctl -M web1 stop systemd-nspawn@web2", "", ""}, {"systemctl --user stop systemd-nspawn@web1", "", ""},
		{"machinectl -H host stop web1", "", ""}, {"machinectl shell web1", "", ""}, {"machinectl list", "", ""}, {"machinectl", "", ""},
		{"vi machinectl stop web1", "", ""},
	} {
		if id, v, ok := n.meaning(strings.Fields(tt.line)); id != tt.id || v != tt.verb || ok != (tt.id != "") {
			t.Errorf("%s: %q %q %v", tt.line, id, v, ok)
		}
	}
}

func FuzzNspawn(f *testing.F) {
	for _, file := range []string{"show.txt", "machines.json", "machines-show.txt", "journal-killed.json", "journal-bad1.json", "events.json"} {
		f.Add(fixture(f, "nspawn/"+file))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &nspawn{base: base{spec: Spec{Root: "/dev/null/none"}}, known: map[string]*nspawnEntry{}}
		if units, err := parseSystemctlShow(b); err == nil {
			for id, u := range units {
				u["MainPID"] = "0" // no process of this machine is to be looked at
				if name, ok := nspawnNameOf(id); ok {
					n.sighting(name, u)
				}
			}
		}
		for name := range parseMachines(b) {
			if checkNspawnID(name) != nil {
				t.Errorf("machine %q", name)
			}
		}
		_, _ = parseMachineAddrs(b)
		lines := parseJournal(b)
		nspawnPurpose(lines)
		nspawnCause(lines)
		parseNspawnLinks(b)
	})
}

func FuzzNspawnMeaning(f *testing.F) {
	f.Add("machinectl\x00stop\x00web1")
	f.Add("systemctl\x00kill\x00-s\x009\x00systemd-nspawn@web1")
	n := &nspawn{}
	f.Fuzz(func(t *testing.T, line string) {
		if id, _, ok := n.meaning(strings.Split(line, "\x00")); ok && checkNspawnID(id) != nil {
			t.Errorf("%q means %q", line, id)
		}
	})
}

// streamed is a Runner whose streams are what was once told.
type streamed struct{ lines []byte }

func (streamed) Read(context.Context, hostexec.Command) hostexec.Transcript {
	return hostexec.Transcript{Exit: -1, Failure: "nothing is read here"}
}

func (streamed) Change(context.Context, hostexec.Op, hostexec.Command) hostexec.Transcript {
	return hostexec.Transcript{Exit: -1, Failure: "nothing is changed here"}
}

func (s streamed) Stream(_ context.Context, _ hostexec.Command, told func([]byte) error) error {
	for line := range bytes.Lines(s.lines) {
		if err := told(line); err != nil {
			return err
		}
	}
	return nil
}

// What is asked of another host: its images by one command, and again only after a while; nothing of this one's /proc.
func TestNspawnFar(t *testing.T) {
	tool := &asked{answers: map[string]string{
		"find": "directory|12|1795604000.123456789|/var/lib/machines/web1\x00regular file|13|0.000000000|/var/lib/machines/disk.raw\x00" +
			"regular file|14|0|/var/lib/machines/web1.nspawn\x00directory|15|0|/var/lib/machines/we\nb\x00",
		"systemctl":  "Id=systemd-nspawn@web1.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=1\nFreezerState=running\n",
		"machinectl": "Name=web1\nService=systemd-nspawn\nUnit=systemd-nspawn@web1.service\nLeader=77\nClass=container\n",
	}}
	i, err := Open(Spec{Engine: "nspawn", SSH: "root@old", RunDir: t.TempDir()}, tool, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.List(t.Context(), nil); err == nil {
		t.Error("an answer that leaves out a machine is believed")
	}
	tool.answers["systemctl"] += "\nId=systemd-nspawn@disk.service\nLoadState=loaded\nActiveState=inactive\nMainPID=0\n"
	for range 3 {
		l, err := i.List(t.Context(), nil)
		if err != nil || len(l.Containers) != 2 || l.Containers[0].State != health.Stopped || l.Containers[1].State != health.Running || l.Containers[1].Init.PID != 0 || l.Containers[1].Mark != "12-1795604000.123456789" {
			t.Fatalf("%+v %v", l, err)
		}
	}
	if tool.runs["find"] != 1 || tool.runs["systemctl"] != 4 {
		t.Errorf("%v", tool.runs)
	}
	if line, err := i.tool.exec("web1", []string{"true"}); err != nil || !slices.Equal(line, []string{"nsenter", "--all", "--target=77", "--", "true"}) {
		t.Errorf("%q %v", line, err)
	}
}

// asked is a Runner that answers by the name of the tool, and counts.
type asked struct {
	streamed
	answers map[string]string
	runs    map[string]int
}

func (a *asked) Read(_ context.Context, c hostexec.Command) hostexec.Transcript {
	if a.runs == nil {
		a.runs = map[string]int{}
	}
	a.runs[c.Argv[0]]++
	out := a.answers[c.Argv[0]]
	return hostexec.Transcript{Argv: c.Argv, Stdout: []byte(out), StdoutSize: int64(len(out))}
}

package engine

import (
	"context"
	"fmt"
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

func TestCustomJSON(t *testing.T) {
	rows, err := parseCustomJSON(fixture(t, "custom/nested.json"), CustomJSON{
		Items: "data", ID: "vmid", Name: "name", State: "status.state", PID: "status.pid", Addresses: "ips", Autostart: "onboot", Mark: "uuid",
	})
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if r := rows[0]; r.id != "101" || r.name != "web1" || r.state != "on" || r.pid != "4242" || len(r.addrs) != 3 || r.autostart != "true" || r.mark != "a-b" {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.id != "102" || r.state != "off" || r.pid != "" || r.addrs != nil || r.autostart != "0" {
		t.Errorf("%+v", r)
	}
	rows, err = parseCustomJSON(fixture(t, "custom/nested.json"), CustomJSON{Items: "data", ID: "vmid", State: "status.state", Addresses: "net.0.ip"})
	if err != nil || !slices.Equal(rows[0].addrs, []string{"10.0.0.1/24"}) {
		t.Errorf("an index in a path: %+v, %v", rows, err)
	}
	// one object a line, as docker prints
	rows, err = parseCustomJSON(fixture(t, "custom/docker-ps.json"), CustomJSON{ID: "ID", Name: "Names", State: "State"})
	if err != nil || len(rows) != 2 || rows[1].state != "exited" {
		t.Errorf("%+v, %v", rows, err)
	}
	// a real tool's output, read without a parser of its own
	rows, err = parseCustomJSON(fixture(t, "custom/vzlist.json"), CustomJSON{ID: "ctid", Name: "name", State: "status", Addresses: "ip", Autostart: "onboot"})
	if err != nil || len(rows) == 0 || rows[0].id != "101" || rows[0].state != "running" || len(rows[0].addrs) != 2 {
		t.Errorf("%+v, %v", rows, err)
	}
	for in, want := range map[string]string{
		"":                           "nothing was printed: an empty list in JSON is []",
		"json\n":                     "not JSON: invalid character 'j' looking for beginning of value",
		`{"data": 3}`:                `neither an array nor an object: "3"`,
		`{"other": []}`:              `custom.json.items: nothing at "data"`,
		`{"data": {}}`:               `custom.json.items: "data" is no array`,
		`{"data": [{"vmid": 1}]`:     "not JSON: unexpected EOF",
		`{"data": []} trailing junk`: "not JSON: invalid character 'a' in literal true (expecting 'u')",
	} {
		if _, err := parseCustomJSON([]byte(in), CustomJSON{Items: "data", ID: "vmid", State: "s"}); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", in, err, want)
		}
	}
}

// scripted opens an instance whose list is a program that behaves as told.
func scripted(t *testing.T, script string, change func(*CustomSpec)) *Instance {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &CustomSpec{
		List: []string{path, "list"}, Start: []string{path, "start", "{{.ID}}", "--as", "{{.Name}}"}, Stop: []string{path, "stop", "{{.ID}}", "{{.Limit}}"},
		Line:   `^(?P<id>\S+) (?P<state>\S+)(?: (?P<pid>\S+))?(?: (?P<addr>\S+))?(?: (?P<autostart>\S+))?$`,
		States: map[string]health.RunState{"up": health.Running, "down": health.Stopped},
	}
	if change != nil {
		change(c)
	}
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	i, err := Open(Spec{Engine: "custom", Custom: c, Timeout: time.Second}, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Whatever a list does, it is either read, or an error that says what happened: never an empty list.
func TestListThatMisbehaves(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"fails":             {"echo 'cannot connect to the daemon' >&2; exit 3", "exit 3: cannot connect to the daemon"},
		"hangs":             {"sleep 60 & wait", "no answer within 1s"},
		"garbles":           {`printf '\000\377\033[2Jgarbage\n'`, `no line fits custom.line, the first is "\x00\xff\x1b[2Jgarbage"`},
		"prints 100 MB":     {"head -c 104857600 /dev/zero | tr '\\0' 'a'", "printed 104857600 bytes: not believed"},
		"kills itself":      {"kill -9 $$", "ended by SIGKILL"},
		"changed its shape": {"echo 'ID:web1,STATE:up'", "no line fits custom.line"},
	} {
		t.Run(name, func(t *testing.T) {
			i := scripted(t, tt.script+"\n", nil)
			l, err := i.List(context.Background(), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(l.Containers) != 0 {
				t.Errorf("%v, %v\nwant %s", l, err, tt.want)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\x00\x1b") || len(err.Error()) > 2000) {
				t.Errorf("the error shows it raw: %q", err)
			}
		})
	}
	i := scripted(t, "", func(c *CustomSpec) { c.List = []string{"/nonexistent/ctl"} })
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), `"/nonexistent/ctl": executable file not found`) {
		t.Errorf("missing: %v", err)
	}
	i = scripted(t, "true\n", nil)
	if l, err := i.List(context.Background(), nil); err != nil || len(l.Containers) != 0 {
		t.Errorf("no containers, by lines: %v, %v", l, err)
	}
}

func TestListThatLies(t *testing.T) {
	t.Parallel()
	me := os.Getpid()
	i := scripted(t, fmt.Sprintf(`
echo "web1 up %d 10.0.0.1/24,fe80::1,junk,127.0.0.1 yes"
echo "web2 down - - no"
echo "web3 up 1073741824 -"
echo "web4 up two"
echo "web5 purple"
echo "web5 up"
echo "../web6 up"
echo "%s up"
`, me, strings.Repeat("x", 300)), nil)
	l, err := i.List(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]health.Sighting{}
	for _, s := range l.Containers {
		got[s.Ref.ID] = s
	}
	if s := got["web1"]; s.Init.PID != me || s.Init.Start == 0 || len(s.Addrs) != 1 || s.Addrs[0].Prefix.String() != "10.0.0.1/24" || s.Autostart != health.Yes {
		t.Errorf("%+v", s)
	}
	if s := got["web2"]; s.State != health.Stopped || s.Autostart != health.No {
		t.Errorf("%+v", s)
	}
	if s := got["web3"]; s.State != health.Running || s.Init.PID != 0 {
		t.Errorf("a pid that is none is believed: %+v", s)
	}
	if s := got["web5"]; s.State != health.Unknown || s.Detail != "purple" {
		t.Errorf("a word that is not known: %+v", s)
	}
	if len(got) != 5 || len(l.Notes) != 5 {
		t.Errorf("%d containers, notes %q", len(got), l.Notes)
	}
	for _, n := range l.Notes {
		if len(n) > 300 || strings.ContainsAny(n, "\n\x1b") {
			t.Errorf("note %q", n)
		}
	}
	if l, err = i.List(context.Background(), nil); err != nil || len(l.Notes) != 0 {
		t.Errorf("told twice: %q, %v", l.Notes, err)
	}
}

func TestCustomVerbs(t *testing.T) {
	t.Parallel()
	i := scripted(t, `
case $1 in
list) echo "web1 up"; echo "-rf down" ;;
start) [ "$2" = web1 ] && { echo "container is already running" >&2; exit 0; }; echo "first words" >&2; echo "no space left on device" >&2; exit 4 ;;
stop) echo "asked $2 within $3"; sleep 60 ;;
esac
`, nil)
	ctx := context.Background()
	if l, err := i.List(ctx, nil); err != nil || len(l.Containers) != 2 {
		t.Fatalf("%v, %v", l, err)
	}
	if a := i.Do(ctx, health.VerbStart, "web1", 0); !a.Already || a.Err != "" || !slices.Equal(a.Transcript.Argv[1:], []string{"start", "web1", "--as", "web1"}) {
		t.Errorf("%+v", a)
	}
	if a := i.Do(ctx, health.VerbStart, "other", 0); a.Err == "" || a.Cause != "no space left on device" || a.Transcript.Exit != 4 {
		t.Errorf("%+v", a)
	}
	if a := i.Do(ctx, health.VerbStart, "-rf", 0); !strings.Contains(a.Err, `"-rf" would be read as an option`) || a.Transcript.PID != 0 {
		t.Errorf("%+v", a)
	}
	if i.Can(health.VerbKill) || i.Can(health.VerbRestart) || !i.Can(health.VerbStop) {
		t.Error("it can what it was not taught")
	}
	if out := i.Exec(ctx, "web1", []string{"true"}, time.Second); out.Failure == "" || out.Exit != -1 {
		t.Errorf("exec: %+v", out)
	}
	if _, _, ok := i.Meaning([]string{"lxc-stop", "web1"}); ok || i.Evidence("web1", health.Sighting{}) != nil || i.Units() != nil || i.Autostarter() != "" {
		t.Error("it knows what nobody can know of it")
	}
}

func FuzzCustomJSON(f *testing.F) {
	for _, n := range []string{"nested.json", "docker-ps.json", "vzlist.json"} {
		f.Add(fixture(f, "custom/"+n), "data")
	}
	f.Add([]byte(`[[{"id":1}]]`), "0.x.")
	f.Fuzz(func(_ *testing.T, b []byte, path string) {
		_, _ = parseCustomJSON(b, CustomJSON{Items: path, ID: "id", State: path, Addresses: path})
		_, _ = parseCustomJSON(b, CustomJSON{ID: "vmid", State: "status.state"})
	})
}

func FuzzCustomLines(f *testing.F) {
	re := regexp.MustCompile(`^(?P<id>\S+) +(?P<state>\S+)(?: +(?P<pid>\S+))?(?: +(?P<addr>\S+))?$`)
	f.Add([]byte("web1 up 12 10.0.0.1/24\nweb2 down -\n\xff\x00 x\n"))
	c := &custom{spec: Spec{Engine: "custom", Custom: &CustomSpec{States: map[string]health.RunState{"up": health.Running}}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := parseCustomLines(b, re)
		if err != nil {
			return
		}
		for _, s := range c.sightings(rows) {
			if checkID(s.Ref.ID) != nil || checkID(s.Name) != nil || strings.ContainsAny(s.Detail, "\x00\x1b\n") {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Whoever types what the agent would type is known for it; anything else means nothing, rather than something wrong.
func TestCustomMeaning(t *testing.T) {
	i, err := Open(Spec{Engine: "custom", Custom: &CustomSpec{
		List: []string{"jailctl", "list"}, Line: `^(?P<id>\S+) (?P<state>\S+)$`, States: map[string]health.RunState{"up": health.Running},
		Start: []string{"jailctl", "start", "{{.ID}}"}, Stop: []string{"jailctl", "stop", "--timeout={{.Limit}}", "--name={{.ID}}"},
		Kill: []string{"/opt/j/kill", "{{.Name}}"},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"jailctl stop --timeout=60 --name=web1":                  "web1 stop",
		"/usr/sbin/jailctl stop --timeout=3 --name=web1":         "web1 stop",
		"/bin/sh /usr/sbin/jailctl stop --timeout=3 --name=web1": "web1 stop",
		"/opt/j/kill web2":                     "web2 kill",
		"jailctl start web1":                   "",
		"jailctl stop --name=web1":             "",
		"jailctl stop --timeout=60 --name=":    "",
		"jailctl stop --timeout=60 --name=a/b": "",
		"other stop --timeout=60 --name=web1":  "",
		"kill":                                 "",
	} {
		id, verb, ok := i.Meaning(strings.Fields(line))
		if got := strings.TrimSpace(id + " " + string(verb)); got != want || ok != (want != "") {
			t.Errorf("%q means %q, want %q", line, got, want)
		}
	}
	if files := i.Files(); !slices.Contains(files, "/opt/j/kill") || !slices.Contains(files, "/usr/sbin/jailctl") {
		t.Errorf("files: %q", files)
	}
}

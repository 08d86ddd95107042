package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// A tool that nobody knows: a program that behaves as told.

// misbehaving opens an instance whose list is a program that behaves as told.
func misbehaving(t *testing.T, script string, change func(*engine.CustomSpec)) *engine.Instance {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &engine.CustomSpec{
		List: []string{path, "list"}, Start: []string{path, "start", "{{.ID}}", "--as", "{{.Name}}"}, Stop: []string{path, "stop", "{{.ID}}", "{{.Limit}}"},
		Line:   `^(?P<id>\S+) (?P<state>\S+)(?: (?P<pid>\S+))?(?: (?P<addr>\S+))?(?: (?P<autostart>\S+))?$`,
		States: map[string]health.RunState{"up": health.Running, "down": health.Stopped},
	}
	if change != nil {
		change(c)
	}
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	i, err := engine.Open(engine.Spec{Engine: "custom", Custom: c, Timeout: time.Second}, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Whatever a list does, it is either read, or an error that says what happened: never an empty list.
func customMisbehaves(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"fails":             {"echo 'cannot connect to the daemon' >&2; exit 3", "exit 3: cannot connect to the daemon"},
		"hangs":             {"sleep 60 & wait", "no answer within 1s"},
		"garbles":           {`printf '\000\377\033[2Jgarbage\n'`, `no line fits custom.line, the first is "\x00\xff\x1b[2Jgarbage"`},
		"prints 100 MB":     {"head -c 104857600 /dev/zero | tr '\\0' 'a'", "printed 104857600 bytes: not believed"},
		"kills itself":      {"kill -9 $$", "ended by SIGKILL"},
		"changed its shape": {"echo 'ID:web1,STATE:up'", "no line fits custom.line"},
	} {
		t.Run(name, func(t *testing.T) {
			i := misbehaving(t, tt.script+"\n", nil)
			l, err := i.List(context.Background(), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(l.Containers) != 0 {
				t.Errorf("%v, %v\nwant %s", l, err, tt.want)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\x00\x1b") || len(err.Error()) > 2000) {
				t.Errorf("the error shows it raw: %q", err)
			}
		})
	}
	i := misbehaving(t, "", func(c *engine.CustomSpec) { c.List = []string{"/nonexistent/ctl"} })
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), `"/nonexistent/ctl": executable file not found`) {
		t.Errorf("missing: %v", err)
	}
	i = misbehaving(t, "true\n", nil)
	if l, err := i.List(context.Background(), nil); err != nil || len(l.Containers) != 0 {
		t.Errorf("no containers, by lines: %v, %v", l, err)
	}
}

func customLies(t *testing.T) {
	me := os.Getpid()
	i := misbehaving(t, fmt.Sprintf(`
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

func customVerbs(t *testing.T) {
	i := misbehaving(t, `
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

// Whoever types what the agent would type is known for it; anything else means nothing, rather than something wrong.
func customMeaning(t *testing.T) {
	i, err := engine.Open(engine.Spec{Engine: "custom", Custom: &engine.CustomSpec{
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

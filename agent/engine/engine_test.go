package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

func TestCheckID(t *testing.T) {
	for _, ok := range []string{"web1", "a b", `q"uo`, "it's", "--help", "-", "ütf", ".dot", "a:b", "a%b", strings.Repeat("x", 255)} {
		if err := checkID(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "new\nline", "esc\x1b", "nul\x00", "inv\xff", "\u2028", strings.Repeat("x", 300)} {
		if err := checkID(bad); err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.ContainsAny(err.Error(), "\n\x1b\x00") || len(err.Error()) > 300 {
			t.Errorf("%q: the error shows it raw: %q", bad, err)
		}
	}
}

// Every mistake has its exact message, which names the key and what to do.
func TestOpenErrors(t *testing.T) {
	good := func(change func(*CustomSpec)) *CustomSpec {
		c := &CustomSpec{List: []string{"ctl", "list"}, Line: `^(?P<id>\S+) (?P<state>\S+)`, States: map[string]health.RunState{"up": "running"}}
		change(c)
		return c
	}
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Engine: "xen"}, `open engine "xen": no such engine: use one of ` + strings.Join(Names(), ", ")},
		{Spec{Engine: "lxc", Path: "lib/lxc"}, `open engine "lxc": path "lib/lxc": give the absolute path of the lxcpath, such as "/var/lib/lxc"`},
		{Spec{Engine: "lxc", Instance: "a/b"}, `open engine "lxc": instance "a/b": use letters, digits, '.', '_' and '-'`},
		{Spec{Engine: "lxc", Timeout: -1}, `open engine "lxc": timeout -1ns: give a positive duration`},
		{Spec{Engine: "lxc", Custom: &CustomSpec{}}, `open engine "lxc": custom: belongs to the engine "custom": remove it`},
		{Spec{Engine: "custom"}, `open engine "custom": custom: missing: give at least list, states, and json or line`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.List = nil })}, `open engine "custom": custom.list: missing: give the command that lists all containers, running or not`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.List = []string{"ctl list"} })}, `open engine "custom": custom.list: "ctl list" is one argument: there is no shell, give a list such as ["ctl", "list"]`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.List = []string{"ctl", "{{.ID}}"} })}, `open engine "custom": custom.list: holds {{…}}: one list answers for all containers, give it without`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Line = "" })}, `open engine "custom": custom: neither json nor line: say how the list is read`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.JSON = &CustomJSON{} })}, `open engine "custom": custom.json and custom.line: the list is one or the other: remove one`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Line, c.JSON = "", &CustomJSON{ID: "id"} })}, `open engine "custom": custom.json: id and state are required: give their paths in the JSON, such as "name" and "status.state"`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Line = "(" })}, "open engine \"custom\": custom.line: error parsing regexp: missing closing ): `(`"},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Line = `(?P<id>\S+)` })}, `open engine "custom": custom.line: no group called state: mark it with (?P<state>…)`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.States = nil })}, `open engine "custom": custom.states: no word means running: add one, such as "RUNNING: running"`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.States["down"] = "dead" })}, `open engine "custom": custom.states: "down": "dead" is no state: use one of [running stopped paused busy broken unknown]`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Start = []string{"ctl", "start"} })}, `open engine "custom": custom.start: names no container: put {{.ID}} where its id belongs`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Start = []string{"{{.ID}}"} })}, `open engine "custom": custom.start: the command itself is "{{.ID}}": name a program`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Stop = []string{"ctl", "{{.ID | printf}}"} })}, `open engine "custom": custom.stop[1]: {{.ID | printf}}: only {{.ID}}, {{.Name}} and {{.Limit}} can be filled in`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Kill = []string{"ctl", "{{.Pid}}"} })}, `open engine "custom": custom.kill[1]: {{.Pid}}: only {{.ID}}, {{.Name}} and {{.Limit}} can be filled in`},
		{Spec{Engine: "custom", Custom: good(func(c *CustomSpec) { c.Exec = []string{"ctl", "{{if .ID}}x{{end}}"} })}, `open engine "custom": custom.exec[1]: {{if .ID}}x{{end}}: only {{.ID}}, {{.Name}} and {{.Limit}} can be filled in`},
	} {
		if _, err := Open(tt.spec, nil, nil); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

// A name that begins with '-' is watched; where it would become an option, no command is made of it.
func TestTemplateKeepsOptionsOut(t *testing.T) {
	for _, tt := range []struct {
		elem, want string
		bad        bool
	}{
		{"--name={{.ID}}", "--name=-k", false},
		{"{{.ID}}", "", true},
		{"{{.ID}}.conf", "", true},
		{"x{{.ID}}", "x-k", false},
		{"{{.Limit}}", "30", false},
	} {
		tpl, err := parseTemplate("custom.stop", []string{"ctl", tt.elem})
		if err != nil {
			t.Fatal(err)
		}
		argv, err := tpl.fill(fields{ID: "-k", Limit: 30})
		if (err != nil) != tt.bad || err == nil && argv[1] != tt.want {
			t.Errorf("%s: %q, %v", tt.elem, argv, err)
		}
	}
}

func TestReadLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := "first line\n" + strings.Repeat("x", 1<<20) + "\nlast line\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := string(readLog(path))
	if len(got) > maxLog+100 || !strings.HasPrefix(got, "first line") || !strings.HasSuffix(got, "last line\n") || !strings.Contains(got, "bytes cut here]") {
		t.Errorf("%d bytes, %.20q … %q", len(got), got, got[len(got)-20:])
	}
	if readLog("") != nil || readLog("/nonexistent") != nil {
		t.Error("a log that is not there has content")
	}
}

func TestOpenSweepsOldLogs(t *testing.T) {
	dir := t.TempDir()
	old, young, other := filepath.Join(dir, "lxc-start-1"+logSuffix), filepath.Join(dir, "lxc-start-2"+logSuffix), filepath.Join(dir, "else.log")
	for _, f := range []string{old, young, other} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	for _, f := range []string{old, other} {
		if err := os.Chtimes(f, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Spec{Engine: "lxc", RunDir: dir}, nil, nil); err != nil {
		t.Fatal(err)
	}
	for f, want := range map[string]bool{old: false, young: true, other: true} {
		if _, err := os.Stat(f); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", f, err == nil, want)
		}
	}
}

func TestProcessLives(t *testing.T) {
	me, ok := identify(os.Getpid())
	if !ok || me.Start == 0 || !alive(me) {
		t.Fatalf("this test does not live: %+v", me)
	}
	reused := me
	reused.Start++
	if alive(reused) {
		t.Error("another life of the same pid counts as this one")
	}
	if alive(health.Process{}) || alive(health.Process{PID: 1 << 30}) {
		t.Error("no process lives")
	}
	s, ok := parseStat([]byte("1234 (a) b) Z 7 1234 1234 0 -1 4194560 1 1 0 0 0 0 0 0 20 0 1 0 987654 1000 1\n"))
	if !ok || s.ppid != 7 || s.start != 987654 || !s.dead() {
		t.Errorf("%+v", s)
	}
}

func TestNotesAreToldOnce(t *testing.T) {
	var n notes
	n.add("x %d", 1)
	n.add("x %d", 1)
	if got := n.take(); len(got) != 1 {
		t.Errorf("%q", got)
	}
	n.add("x %d", 1)
	for i := range 5000 {
		n.add("flood %d", i)
	}
	if got := n.take(); len(got) != maxNotes-1 {
		t.Errorf("%d notes, want %d and no more", len(got), maxNotes-1)
	}
}

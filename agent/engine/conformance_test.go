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
	"atalaya/cmd/atalaya-lab/rig"
)

// The conformance suite: what every engine must do, on real containers. An engine with a CLI of its own adds a line to
// engines, and a rig where its containers are not LXC's.

// subject is one engine as the suite sees it.
type subject struct {
	name   string
	open   func(t *testing.T, r *rig.LXC) *engine.Instance
	broken health.RunState // how it shows a container whose configuration cannot be read
	gone   health.RunState // how a look shows one that was deleted
	marks  bool            // it tells a re-created container from its predecessor
	linked bool            // it knows host interfaces
}

func engines() []subject {
	return []subject{
		{name: "lxc", open: openLXC, broken: health.Broken, gone: health.Removed, marks: true, linked: true},
		{name: "custom by lines", open: openLines, broken: health.Missing, gone: health.Missing},
		{name: "custom by JSON", open: openJSON, broken: health.Broken, gone: health.Missing, marks: true},
	}
}

func open(t testing.TB, s engine.Spec) *engine.Instance {
	t.Helper()
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	s.RunDir = t.TempDir()
	i, err := engine.Open(s, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func openLXC(t *testing.T, r *rig.LXC) *engine.Instance {
	return open(t, engine.Spec{Engine: "lxc", Path: r.Path()})
}

func lxcTemplates(r *rig.LXC, c engine.CustomSpec) *engine.CustomSpec {
	line := func(tool string, more ...string) []string {
		return append([]string{tool, "-P", r.Path(), "--name={{.ID}}"}, more...)
	}
	c.Start, c.Kill = line("lxc-start"), line("lxc-stop", "--kill")
	c.Stop = line("lxc-stop", "--nokill", "--timeout={{.Limit}}")
	c.Exec = line("lxc-attach", "--")
	c.States = map[string]health.RunState{
		"RUNNING": health.Running, "STOPPED": health.Stopped, "FROZEN": health.Paused, "BROKEN": health.Broken,
		"STARTING": health.Busy, "STOPPING": health.Busy, "ABORTING": health.Busy,
	}
	return &c
}

// openLines drives LXC through command lines and a regexp, as a person would teach an unknown tool.
func openLines(t *testing.T, r *rig.LXC) *engine.Instance {
	return open(t, engine.Spec{Engine: "custom", Instance: "lines", Custom: lxcTemplates(r, engine.CustomSpec{
		List: []string{"lxc-ls", "-P", r.Path(), "-f", "-F", "NAME,STATE,PID,AUTOSTART,IPV4"},
		Line: `^(?P<id>\S+) +(?P<state>[A-Z]+) +(?P<pid>\d+|-) +(?P<autostart>\d) +(?P<addr>[-0-9.]+(?:, [0-9.]+)*) *$`,
	})})
}

// openJSON drives it through a program that prints JSON.
func openJSON(t *testing.T, r *rig.LXC) *engine.Instance {
	script := filepath.Join(t.TempDir(), "list")
	text := `#!/bin/sh
printf '{"all":['
sep=
for d in "` + r.Path() + `"/*/config; do
	[ -e "$d" ] || continue
	d=${d%/config}; n=${d##*/}
	if i=$(lxc-info -P "` + r.Path() + `" --name="$n" -s -p -i 2>/dev/null); then
		s=$(echo "$i" | sed -n 's/^State: *//p'); p=$(echo "$i" | sed -n 's/^PID: *//p'); a=$(echo "$i" | sed -n 's/^IP: *//p' | tr '\n' ' ')
	else s=BROKEN; p=; a=; fi
	printf '%s{"id":"%s","is":{"state":"%s","pid":%s},"ips":"%s","auto":%s,"born":"%s"}' "$sep" "$n" "$s" "${p:-0}" "$a" \
		"$(grep start.auto "$d/config" | tail -n 1 | grep -q 1 && echo true || echo false)" "$(stat -c '%i %w' "$d")"
	sep=,
done
printf ']}\n'
`
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return open(t, engine.Spec{Engine: "custom", Instance: "json", Custom: lxcTemplates(r, engine.CustomSpec{
		List: []string{script},
		JSON: &engine.CustomJSON{Items: "all", ID: "id", State: "is.state", PID: "is.pid", Addresses: "ips", Autostart: "auto", Mark: "born"},
	})})
}

func TestConformance(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox")
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := rig.NewLXC(t, rig.LXCOptions{N: 1})
			conform(t, e, e.open(t, r), r)
		})
	}
}

func conform(t *testing.T, e subject, i *engine.Instance, r *rig.LXC) {
	ctx := context.Background()
	r.Add("web2", "lxc.start.auto = 0") // defined and never started
	r.Add("--help")                     // a name that tries to be an option
	must := func(a engine.Answer, what string) {
		t.Helper()
		if a.Err != "" {
			t.Fatalf("%s: %s (cause %q)", what, a.Err, a.Cause)
		}
	}

	t.Run("list", func(t *testing.T) {
		l := list(t, i)
		web1, web2 := find(t, l, "web1"), find(t, l, "web2")
		if web1.State != health.Running || web1.Init.PID != r.InitPID("web1") || web1.Init.Start == 0 {
			t.Errorf("web1 runs with init %d: %+v", r.InitPID("web1"), web1)
		}
		if web1.Autostart != health.Yes || web1.Name != "web1" || web1.At.IsZero() {
			t.Errorf("web1: %+v", web1)
		}
		if !slices.ContainsFunc(web1.Addrs, func(a health.Addr) bool { return a.Prefix.Addr() == r.Addr("web1") }) {
			t.Errorf("web1 has %v, want %v", web1.Addrs, r.Addr("web1"))
		}
		if web2.State != health.Stopped || web2.Init.PID != 0 || web2.Autostart != health.No || len(web2.Addrs) != 0 {
			t.Errorf("web2 was never started: %+v", web2)
		}
		if e.linked && !slices.Equal(web1.Links, []string{r.Bridge()}) {
			t.Errorf("web1 hangs on %q, want %q", web1.Links, r.Bridge())
		}
		if web1.Ref.Engine != i.Spec().Engine || web1.Ref.Instance != i.Spec().Instance || !i.Defined("web1") || l.Degraded != "" {
			t.Errorf("ref %v of %+v", web1.Ref, i.Spec())
		}
	})
	t.Run("look", func(t *testing.T) {
		if s := look(t, i, "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
			t.Errorf("web1: %+v", s)
		}
		if s := look(t, i, "web2"); s.State != health.Stopped {
			t.Errorf("web2: %+v", s)
		}
		if s, err := i.Look(ctx, "nosuch", health.Process{}); err == nil && s.State != e.gone {
			t.Errorf("what does not exist: %+v", s)
		}
		if _, err := i.Look(ctx, "../web1", health.Process{}); err == nil {
			t.Error("a path was looked at")
		}
	})
	t.Run("start and stop", func(t *testing.T) {
		must(i.Do(ctx, health.VerbStart, "web2", 0), "start web2")
		awaitState(t, i, "web2", health.Running)
		if a := i.Do(ctx, health.VerbStart, "web2", 0); !a.Already || a.Err != "" {
			t.Errorf("start of what runs: %+v", a)
		}
		r.With(t).WaitHTTP("web2", 10*time.Second) // before that its init does not hear a request to stop
		must(i.Do(ctx, health.VerbStop, "web2", 30*time.Second), "stop web2")
		awaitState(t, i, "web2", health.Stopped)
		must(i.Do(ctx, health.VerbStart, "web2", 0), "start web2 again")
		must(i.Do(ctx, health.VerbKill, "web2", 0), "kill web2")
		awaitState(t, i, "web2", health.Stopped)
		if a := i.Do(ctx, health.VerbKill, "web2", 0); a.Err == "" {
			t.Errorf("kill of what does not run: %+v", a)
		}
	})
	t.Run("a name that tries to be an option", func(t *testing.T) {
		if s := find(t, list(t, i), "--help"); s.State != health.Stopped {
			t.Fatalf("%+v", s)
		}
		must(i.Do(ctx, health.VerbStart, "--help", 0), "start --help")
		awaitState(t, i, "--help", health.Running)
		must(i.Do(ctx, health.VerbKill, "--help", 0), "kill --help")
	})
	t.Run("paused", func(t *testing.T) {
		r := r.With(t)
		r.Freeze("web1")
		defer r.Thaw("web1")
		if s := find(t, list(t, i), "web1"); s.State != health.Paused {
			t.Errorf("list: %+v", s)
		}
		if s := look(t, i, "web1"); s.State != health.Paused {
			t.Errorf("look: %+v", s)
		}
	})
	t.Run("exec", func(t *testing.T) {
		out := i.Exec(ctx, "web1", []string{"sh", "-c", "echo in $(cat /proc/1/comm); exit 7"}, 10*time.Second)
		if out.Exit != 7 || !strings.Contains(string(out.Stdout), "in init") {
			t.Errorf("exit %d, %q %q %s", out.Exit, out.Stdout, out.Stderr, out.Failure)
		}
	})
	t.Run("killed init", func(t *testing.T) {
		r := r.With(t)
		before := find(t, list(t, i), "web1").Init
		r.Kill9("web1")
		eventually(t, "web1 is no longer running", func() bool { return find(t, list(t, i), "web1").State == health.Stopped })
		if s, err := i.Look(ctx, "web1", before); err != nil || s.State != health.Stopped || s.Init.PID != 0 {
			t.Errorf("look at the dead: %+v, %v", s, err)
		}
		must(i.Do(ctx, health.VerbStart, "web1", 0), "start after kill -9")
		awaitState(t, i, "web1", health.Running)
		if s := look(t, i, "web1"); s.Init == before {
			t.Errorf("a new life has the init of the old one: %+v", s.Init)
		}
	})
	t.Run("failing start", func(t *testing.T) {
		r := r.With(t)
		r.Add("noinit", "lxc.init.cmd = /bin/nosuch")
		list(t, i)
		a := i.Do(ctx, health.VerbStart, "noinit", 0)
		if a.Err == "" || a.Cause == "" || a.Already || a.Transcript.Exit != 1 {
			t.Errorf("%+v", a)
		}
		awaitState(t, i, "noinit", health.Stopped)
		r.Remove("noinit")
	})
	t.Run("broken", func(t *testing.T) {
		r := r.With(t)
		r.Add("odd", "lxc.nosuch.key = 1")
		l := list(t, i)
		got := health.Missing
		if s := peek(l, "odd"); s != nil {
			got = s.State
		}
		if got != e.broken {
			t.Errorf("broken shows as %s, want %s", got, e.broken)
		}
		if find(t, l, "web1").State != health.Running {
			t.Error("the others are no longer watched")
		}
		r.Remove("odd")
	})
	t.Run("deleted and made again", func(t *testing.T) {
		r := r.With(t)
		was := find(t, list(t, i), "web2")
		r.Remove("web2")
		if s := peek(list(t, i), "web2"); s != nil {
			t.Errorf("deleted, and listed: %+v", s)
		}
		if s := look(t, i, "web2"); s.State != e.gone {
			t.Errorf("deleted: %+v, want %s", s, e.gone)
		}
		r.Add("web2")
		is := find(t, list(t, i), "web2")
		if e.marks && (was.Mark == "" || was.Mark == is.Mark) {
			t.Errorf("the new container has the mark of the old one: %q, %q", was.Mark, is.Mark)
		}
	})
	t.Run("verbs", func(t *testing.T) {
		for _, v := range []health.Verb{health.VerbStart, health.VerbStop, health.VerbKill} {
			if !i.Can(v) || i.Limit(v) <= 0 {
				t.Errorf("%s: %v, limit %v", v, i.Can(v), i.Limit(v))
			}
		}
		if a := i.Do(ctx, health.VerbMove, "web1", 0); i.Can(health.VerbMove) || a.Err == "" {
			t.Errorf("move: %+v", a)
		}
		if a := i.Do(ctx, health.VerbKill, "a/../web1", 0); a.Err == "" || a.Transcript.PID != 0 {
			t.Errorf("a path was killed: %+v", a)
		}
	})
}

func list(t testing.TB, i *engine.Instance, live ...health.Ref) engine.Listing {
	t.Helper()
	l, err := i.List(context.Background(), live)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func look(t testing.TB, i *engine.Instance, id string) health.Sighting {
	t.Helper()
	s, err := i.Look(context.Background(), id, health.Process{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func peek(l engine.Listing, id string) *health.Sighting {
	for _, s := range l.Containers {
		if s.Ref.ID == id {
			return &s
		}
	}
	return nil
}

func find(t testing.TB, l engine.Listing, id string) health.Sighting {
	t.Helper()
	s := peek(l, id)
	if s == nil {
		t.Fatalf("%q is not listed among %s", id, fmt.Sprint(l.Containers))
	}
	return *s
}

func awaitState(t testing.TB, i *engine.Instance, id string, want health.RunState) {
	t.Helper()
	eventually(t, id+" is "+string(want), func() bool {
		s, err := i.Look(context.Background(), id, health.Process{})
		return err == nil && s.State == want
	})
}

// eventually polls, with a deadline that a busy machine keeps.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

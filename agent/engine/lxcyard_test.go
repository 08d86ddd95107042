package engine_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// lxcYard is real LXC, by its own engine or by a custom one.
type lxcYard struct {
	*rig.LXC
	opened func(*testing.T, *rig.LXC) *engine.Instance
}

func newLXCYard(opened func(*testing.T, *rig.LXC) *engine.Instance) func(*testing.T) yard {
	return func(t *testing.T) yard {
		rig.Require(t, "root", "lxc", "busybox")
		return &lxcYard{LXC: rig.NewLXC(t, rig.LXCOptions{}), opened: opened}
	}
}

func (y *lxcYard) With(t *testing.T) yard             { return &lxcYard{y.LXC.With(t), y.opened} }
func (y *lxcYard) Open(t *testing.T) *engine.Instance { return y.opened(t, y.LXC) }
func (y *lxcYard) ID(name string) string              { return name }
func (y *lxcYard) Run(name string)                    { y.Start(name) }
func (y *lxcYard) Die(name string)                    { y.Kill9(name) }
func (y *lxcYard) Await(name string)                  { y.WaitHTTP(name, 10*time.Second) }
func (y *lxcYard) Addrs(name string) []string         { return []string{y.Addr(name).String()} }

func (y *lxcYard) Make(name string, o made) {
	var extra []string
	if !o.autostart {
		extra = append(extra, "lxc.start.auto = 0")
	}
	if o.failing {
		extra = append(extra, "lxc.init.cmd = /bin/nosuch")
	}
	if o.broken {
		extra = append(extra, "lxc.nosuch.key = 1")
	}
	y.Add(name, extra...)
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

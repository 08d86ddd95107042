package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// script is a real executable.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	replace(t, path, "#!/bin/sh\n"+text+"\n")
	return path
}

// tool is an engine of the user's own, listed by a line for each container.
func tool(instance string, list ...string) engine.Spec {
	return engine.Spec{Engine: "custom", Instance: instance, Timeout: time.Second, Custom: &engine.CustomSpec{
		List: list, Start: []string{"/bin/true", "{{.ID}}"}, Line: `^(?P<id>.+)\t(?P<state>up|down)$`,
		States: map[string]health.RunState{"up": health.Running, "down": health.Stopped}}}
}

// Tools that cannot be believed or do not answer: each has its message, and the others are watched and healed meanwhile.
func TestListsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	failing := script(t, "failing", "echo 'cannot reach the daemon' >&2; exit 9")
	hanging := script(t, "hanging", "exec sleep 4321")
	garbage := script(t, "garbage", "head -c 20000 /dev/urandom | tr -d '\\t'")
	endless := script(t, "endless", "head -c 104857600 /dev/zero | tr '\\0' x")
	want := map[string]string{
		"missing": `list custom:missing containers: /nonexistent/ctl list: not started: "/nonexistent/ctl": executable file not found`,
		"failing": "list custom:failing containers: " + failing + ": exit 9: cannot reach the daemon",
		"hanging": "list custom:hanging containers: " + hanging + ": no answer within 1s",
		"garbage": fmt.Sprintf("list custom:garbage containers: read what %q printed: no line fits custom.line, the first is ", garbage),
		"endless": fmt.Sprintf("list custom:endless containers: %q printed 104857600 bytes: not believed", endless),
	}
	p := planFor(t, l)
	p.Poll = time.Second
	p.Specs = append(p.Specs, tool("missing", "/nonexistent/ctl", "list"), tool("failing", failing), tool("hanging", hanging),
		tool("garbage", garbage), tool("endless", endless))
	p.Specs[5].Timeout = 30 * time.Second
	r := p.start(t)
	r.up("lxc/web1")
	for name, words := range want {
		r.until(name+" says why it cannot be used", func(v health.View) bool {
			for _, i := range v.Instances {
				if i.Instance == name && i.Err != "" {
					if !strings.HasPrefix(i.Err, words) {
						t.Fatalf("%s: %q, want %q", name, i.Err, words)
					}
					return true
				}
			}
			return false
		})
	}
	kill9(t, l, "web1")
	if in := r.resolved("lxc/web1", 1)[0]; in.Attempts != 1 {
		t.Errorf("%+v", in)
	}
	for _, i := range r.view().Instances {
		if i.Engine == "lxc" && i.Err != "" || i.Engine == "custom" && !i.Listed.IsZero() {
			t.Errorf("%+v", i)
		}
	}
}

// Names as nobody should give them. Those that can be told apart on a command line are watched and started by exactly
// their names; the rest is named, and left out.
func TestNamesAsNobodyShouldGiveThem(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{})
	good := []string{"with space", `it's "quoted"`, "-first", "ünïcode", "$(reboot)", "a;b&c|d", strings.Repeat("n", 255)}
	bad := map[string]string{"new\nline": "holds control characters", strings.Repeat("x", 300): "300 bytes are more than 255", "../up": "a path is not a name"}
	dir := t.TempDir()
	type row struct {
		ID, State string
		Auto      bool
	}
	show := func(state string) {
		t.Helper()
		var rows []row
		for _, id := range good {
			rows = append(rows, row{id, state, true})
		}
		for id := range bad {
			rows = append(rows, row{id, state, true})
		}
		b, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "list")); err != nil {
			t.Fatal(err)
		}
	}
	show("up")
	ctl := script(t, "ctl", fmt.Sprintf("printf '%%s\\0' \"$@\" >> '%s/args'", dir))
	invalid := script(t, "invalid", `printf 'b\377d\tup\nfine\tup\n'`)
	p := planFor(t, l)
	p.Specs = []engine.Spec{{Engine: "custom", Custom: &engine.CustomSpec{List: []string{"/bin/cat", dir + "/list"}, Start: []string{ctl, "--id={{.ID}}"},
		JSON: &engine.CustomJSON{ID: "ID", State: "State", Autostart: "Auto"}, States: map[string]health.RunState{"up": health.Running, "down": health.Stopped}}},
		tool("bytes", invalid)}
	r := p.start(t)
	for _, id := range good {
		r.up("custom/" + id)
	}
	r.up("custom:bytes/fine")
	if n := len(r.view().Containers); n != len(good)+1 {
		t.Errorf("%d containers are watched", n)
	}
	for _, why := range bad {
		if r.log.count(why) != 1 {
			t.Errorf("said %d times: %q", r.log.count(why), why)
		}
	}
	if n := r.log.count(`not valid UTF-8`); n != 1 {
		t.Errorf("said %d times that bytes are no UTF-8", n)
	}
	show("down")
	var args map[string]bool
	r.until("each is started by its name", func(health.View) bool {
		b, _ := os.ReadFile(filepath.Join(dir, "args"))
		args = map[string]bool{}
		for a := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x00"), "\x00") {
			args[a] = true
		}
		return len(args) >= len(good)
	})
	for _, id := range good {
		if !args["--id="+id] {
			t.Errorf("not started: %q; what was: %v", id, args)
		}
	}
	r.order("with space", health.Order{Kind: health.OrderUnwant})
}

// The same with LXC, whose containers are folders.
func TestLXCNamesAsNobodyShouldGiveThem(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	names := []string{"with space", `it's "quoted"`, "-first"}
	for _, n := range names {
		l.Add(n, "lxc.uts.name = odd", "lxc.cgroup.dir = ") // neither may hold a blank
		l.Start(n)
	}
	for _, n := range []string{"new\nline", "b\xffd"} {
		if err := os.Mkdir(filepath.Join(l.Path(), n), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(l.Path(), n, "config"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	for _, n := range names {
		r.up("lxc/" + n)
		kill9(t, l, n)
		r.resolved("lxc/"+n, 1)
		l.WaitHTTP(n, patience)
	}
	if n := len(r.view().Containers); n != len(names)+1 {
		t.Errorf("%d containers are watched", n)
	}
	for _, why := range []string{"holds control characters", "not valid UTF-8"} {
		if n := r.log.count(why); n != 1 {
			t.Errorf("said %d times: %q", n, why)
		}
	}
}

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The traps of LXC that were met in the field, each on real containers.

// Trap 1: a running container whose configuration breaks vanishes from lxc-ls, rc 0, and serves on.
func lxcConfigBreaks(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 2}, 0)
	was := find(t, list(t, i), "web1")
	good, err := os.ReadFile(r.ConfigFile("web1"))
	if err != nil {
		t.Fatal(err)
	}
	r.SetConfig("web1", string(good)+"lxc.nosuch.key = 1\n")
	check := func(i *engine.Instance) {
		t.Helper()
		s := find(t, list(t, i), "web1")
		if s.State != health.Broken || s.Init != was.Init || !strings.Contains(s.Detail, `Unsupported config key "lxc.nosuch.key"`) {
			t.Errorf("%+v", s)
		}
	}
	check(i)
	before := w.reads.Load()
	check(i)
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("what stays broken costs %d processes a list", n)
	}
	if s := look(t, i, "web1"); s.State != health.Broken || s.Init != was.Init {
		t.Errorf("look: %+v", s)
	}
	check(openLXC(t, r)) // an agent that starts now finds init, too
	r.WaitHTTP("web1", 10*time.Second)
	r.SetConfig("web1", string(good))
	if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init != was.Init {
		t.Errorf("mended: %+v", s)
	}
}

// Trap 2: of a wrong lxcpath lxc-ls prints nothing, rc 0. An empty one is truly empty.
func lxcPathAway(t *testing.T) {
	rig.Require(t, "root", "lxc")
	dir := t.TempDir()
	i := open(t, engine.Spec{Engine: "lxc", Path: dir})
	if l := list(t, i); len(l.Containers) != 0 {
		t.Errorf("%+v", l)
	}
	i = open(t, engine.Spec{Engine: "lxc", Path: dir + "/nosuch"})
	_, err := i.List(context.Background(), nil)
	want := fmt.Sprintf(`list lxc in "%[1]s/nosuch" containers: the lxcpath does not exist: mount it, or correct its path in the configuration: open %[1]s/nosuch: no such file or directory`, dir)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := i.Look(context.Background(), "web1", health.Process{PID: 1 << 30}); err == nil {
		t.Error("a container of an lxcpath that is not there was found removed")
	}
}

// Trap 3: LXC's state sockets belong to a network namespace: from another one all is STOPPED, rc 0.
func lxcOtherNetwork(t *testing.T) {
	rig.Require(t, "unshare")
	_, i, w := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was := find(t, list(t, i), "web1")
	w.prefix.Store(&[]string{"unshare", "--net"})
	for what, s := range map[string]health.Sighting{"look": look(t, i, "web1"), "list": find(t, list(t, i), "web1")} {
		if s.State != health.Unknown || s.Init != was.Init || !strings.Contains(s.Detail, "another network namespace") {
			t.Errorf("%s: %+v", what, s)
		}
	}
	w.prefix.Store(nil)
	if s := find(t, list(t, i), "web1"); s.State != health.Running {
		t.Errorf("back in the host's: %+v", s)
	}
}

// Trap 4: lxc-start on a frozen container is rc 0, "already running", and does nothing.
func lxcFrozenStart(t *testing.T) {
	r, i, w := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	list(t, i)
	r.Freeze("web1")
	before := w.reads.Load()
	if s := find(t, list(t, i), "web1"); s.State != health.Paused || s.Detail != "FROZEN" || s.Init.PID == 0 {
		t.Errorf("list: %+v", s)
	}
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("seeing it frozen took %d processes", n)
	}
	a := i.Do(context.Background(), health.VerbStart, "web1", 0)
	if a.Err != "" || !a.Already {
		t.Errorf("%+v", a)
	}
	if s := look(t, i, "web1"); s.State != health.Paused {
		t.Errorf("look: %+v", s)
	}
	r.Thaw("web1")
	if s := find(t, list(t, i), "web1"); s.State != health.Running {
		t.Errorf("thawed: %+v", s)
	}
}

// A freeze that was not made through LXC is one, too, though lxc-info goes on saying RUNNING.
func lxcFrozenByCgroup(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	s := find(t, list(t, i), "web1")
	dirs, err := engine.Cgroup(s.Init.PID)
	if err != nil {
		t.Fatal(err)
	}
	file, freeze, thaw := filepath.Join(dirs["freezer"], "freezer.state"), "FROZEN", "THAWED"
	if dirs["freezer"] == "" {
		file, freeze, thaw = filepath.Join(dirs[""], "cgroup.freeze"), "1", "0"
	}
	if err := os.WriteFile(file, []byte(freeze), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, []byte(thaw), 0o644)
	eventually(t, "the list shows it paused", func() bool { return find(t, list(t, i), "web1").State == health.Paused })
	if s := look(t, i, "web1"); s.State != health.Paused {
		t.Errorf("look: %+v", s)
	}
	if r.State("web1") != "RUNNING" {
		t.Log("this LXC does notice it")
	}
}

// Trap 5: an init that exits at once: rc 0, then STOPPED.
func lxcExitsAtOnce(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	r.Add("brief", "lxc.init.cmd = /bin/true")
	a := i.Do(context.Background(), health.VerbStart, "brief", 0)
	if a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "brief", health.Stopped)
}

// Trap 8: kill -9 of the monitor leaves cgroups behind, and the next start uses others: /proc/PID/cgroup knows.
func lxcKilledMonitor(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was := find(t, list(t, i), "web1")
	monitor := r.MonitorPID("web1")
	before, err := engine.Cgroup(was.Init.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(monitor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "init went with its monitor", func() bool { return syscall.Kill(was.Init.PID, 0) != nil })
	if s := find(t, list(t, i), "web1"); s.State != health.Stopped {
		t.Errorf("%+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		t.Fatalf("%+v", a)
	}
	awaitState(t, i, "web1", health.Running)
	s := look(t, i, "web1")
	after, err := engine.Cgroup(s.Init.PID)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) == 0 {
		t.Fatal("no cgroup")
	}
	for c, dir := range after {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	t.Logf("freezer: %s, then %s", before["freezer"], after["freezer"])
	if _, err := os.Stat(before["freezer"]); err == nil && before["freezer"] == after["freezer"] && before["freezer"] != "" {
		t.Log("this LXC cleans up after itself")
	}
	// frozen is read from the new cgroup
	r.Freeze("web1")
	if s := find(t, list(t, i), "web1"); s.State != health.Paused {
		t.Errorf("%+v", s)
	}
	r.Thaw("web1")
}

// Trap 10: a failing start prints the same two lines whatever the cause. Each is told by its innermost words.
func lxcCauses(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{NoStart: true}, 0)
	fail := filepath.Join(r.Scratch(), "fail")
	if err := os.WriteFile(fail, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ line, cause string }{
		"bridge":  {"lxc.net.0.link = brnope", `bridge "brnope", bridge interface doesn't exist`},
		"rootfs":  {"lxc.rootfs.path = dir:/nonexistent/rootfs", `No such file or directory - Failed to open "/nonexistent/rootfs"`},
		"init":    {"lxc.init.cmd = /bin/nosuch", `No such file or directory - Failed to exec "/bin/nosuch"`},
		"config":  {"lxc.nosuch.key = 1", `Invalid argument - Unsupported config key "lxc.nosuch.key"`},
		"hook":    {"lxc.hook.pre-start = " + fail, `Script exited with status 3`},
		"mount":   {"lxc.mount.entry = /nosuch mnt none bind 0 0", `No such file or directory - Failed to mount "/nosuch" on `},
		"limit":   {"lxc.prlimit.nofile = 99999999999", `Operation not permitted - Failed to set limit nofile`},
		"device":  {"lxc.net.0.type = phys\nlxc.net.0.link = nosuch0", `No such device - Failed to retrieve ifindex for "nosuch0"`},
		"taken":   {"lxc.net.0.veth.pair = lo", `File exists - Failed to create veth pair "lo" and "`},
		"console": {"lxc.console.logfile = /nosuch/console", `No such file or directory - Failed to open terminal log file "/nosuch/console"`},
		"seccomp": {"lxc.seccomp.profile = /nosuch", `No such file or directory - Failed to open seccomp policy file /nosuch`},
	} {
		r.Add(name, tt.line)
		a := i.Do(context.Background(), health.VerbStart, name, 0)
		if a.Err == "" || !strings.Contains(a.Cause, tt.cause) || a.Already {
			t.Errorf("%s: err %q\n  cause %q\n  want  %q\n  log %s", name, a.Err, a.Cause, tt.cause, a.Log)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(i.Spec().RunDir, "*")); len(left) != 0 {
		t.Errorf("logs left behind: %q", left)
	}
}

// Who no longer waits for a slow start has not called it off: its late success is seen by a look. Only the start's own limit
// ends it, by SIGTERM to lxc-start; see lxcHangingHook.
func lxcLateStart(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	hook := filepath.Join(r.Scratch(), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexec sleep 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Add("late", "lxc.hook.pre-start = "+hook)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if a := i.Do(ctx, health.VerbStart, "late", time.Minute); !a.Transcript.Abandoned || a.Transcript.TimedOut || a.Err == "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "late", health.Running)
}

// Traps 16 and 17: how a container ended cannot be told from the end of its init; and at a guest's reboot LXC says
// RUNNING all along. What the look says of the dead init is what the kernel says.
func lxcReboots(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was := find(t, list(t, i), "web1")
	r.Exec("web1", "reboot", "-f")
	eventually(t, "init has ended", func() bool { return syscall.Kill(was.Init.PID, 0) != nil })
	s, err := i.Look(context.Background(), "web1", was.Init)
	if err != nil || s.State != health.Stopped && s.State != health.Running {
		t.Errorf("%+v, %v", s, err)
	}
	a := i.Do(context.Background(), health.VerbStart, "web1", 0)
	t.Logf("start at a reboot: already %v, err %q", a.Already, a.Err)
	awaitState(t, i, "web1", health.Running)
	if s := look(t, i, "web1"); s.Init.PID == was.Init.PID {
		t.Errorf("%+v", s)
	}
}

// A graceful stop that the guest ignores fails in the end, and kills nothing.
func lxcOnlyAsks(t *testing.T) {
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1, Config: []string{"lxc.signal.halt = SIGWINCH"}}, 0)
	was := find(t, list(t, i), "web1")
	a := i.Do(context.Background(), health.VerbStop, "web1", time.Second)
	if a.Err == "" || !strings.Contains(a.Cause, "did not end") {
		t.Errorf("%+v", a)
	}
	if s := look(t, i, "web1"); s.State != health.Running || s.Init != was.Init {
		t.Errorf("%+v", s)
	}
	if a := i.Do(context.Background(), health.VerbKill, "web1", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	r.WaitState("web1", "STOPPED", 10*time.Second)
}

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// The traps of LXC that were met in the field, each on real containers.

// watched is a Runner that counts, and may put words before each command line.
type watched struct {
	engine.Runner
	reads   atomic.Int64
	changes atomic.Int64
	prefix  atomic.Pointer[[]string]
}

func (w *watched) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	w.reads.Add(1)
	if p := w.prefix.Load(); p != nil {
		c.Argv = append(slices.Clone(*p), c.Argv...)
	}
	return w.Runner.Read(ctx, c)
}

func (w *watched) Change(ctx context.Context, op hostexec.Op, c hostexec.Command) hostexec.Transcript {
	w.changes.Add(1)
	return w.Runner.Change(ctx, op, c)
}

// lxcRig is N running containers and an instance whose processes are counted.
func lxcRig(t testing.TB, o rig.LXCOptions, timeout time.Duration) (*rig.LXC, *engine.Instance, *watched) {
	t.Helper()
	if tt, ok := t.(interface {
		rig.TB
		Skipf(string, ...any)
	}); ok {
		rig.Require(tt, "root", "lxc", "busybox")
	}
	r := rig.NewLXC(t, o)
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	i, err := engine.Open(engine.Spec{Engine: "lxc", Path: r.Path(), Timeout: timeout, RunDir: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, i, w
}

func refs(l engine.Listing) []health.Ref {
	var out []health.Ref
	for _, s := range l.Containers {
		if s.State == health.Running {
			out = append(out, s.Ref)
		}
	}
	return out
}

// A poll starts one process, whatever the number of containers; what changed costs little more.
func TestListCostsOneProcess(t *testing.T) {
	t.Parallel()
	r, i, w := lxcRig(t, rig.LXCOptions{N: 8}, 0)
	r.Add("off1")
	cost := func(live ...health.Ref) int64 {
		before := w.reads.Load()
		list(t, i, live...)
		return w.reads.Load() - before
	}
	if n := cost(); n > 2 { // the plain list, and one table of all that is new
		t.Errorf("the first list took %d processes", n)
	}
	if n := cost(); n != 1 {
		t.Errorf("a list of nothing new took %d processes", n)
	}
	live := refs(list(t, i))
	if n := cost(live...); n != 0 {
		t.Errorf("a list of what is held, with nothing moved, took %d processes", n)
	}
	if n := cost(live[1:]...); n != 1 {
		t.Errorf("with one that nobody holds, it took %d processes", n)
	}
	r.Freeze("web2")
	if n, s := cost(live...), find(t, list(t, i, live...), "web2"); n != 0 || s.State != health.Paused {
		t.Errorf("a freeze took %d processes: %+v", n, s)
	}
	r.Thaw("web2")
	r.Start("off1")
	if n, s := cost(live...), find(t, list(t, i, live...), "off1"); n != 2 || s.State != health.Running {
		t.Errorf("a start by another took %d processes: %+v", n, s)
	}
	r.Add("off2")
	if n, s := cost(refs(list(t, i))...), find(t, list(t, i), "off2"); n > 1 || s.State != health.Stopped {
		t.Errorf("a new container took %d processes: %+v", n, s)
	}
	live = refs(list(t, i))
	r.Add("ghost")
	r.Start("ghost")
	ghost := r.InitPID("ghost")
	r.Remove("ghost") // between two lists: it was never seen defined
	if s := find(t, list(t, i, live...), "ghost"); s.State != health.Running || s.Init.PID != ghost {
		t.Errorf("one that runs without a folder: %+v", s)
	}
	if err := syscall.Kill(ghost, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ghost is gone", func() bool { return peek(list(t, i), "ghost") == nil })
	r.Kill9("web1")
	r.WaitState("web1", "STOPPED", 10*time.Second)
	if n := cost(); n != 1 {
		t.Errorf("a list after a death took %d processes", n)
	}
	r.Start("web1")
	if n := cost(); n != 2 { // the new init has to be asked for
		t.Errorf("a list after a start took %d processes", n)
	}
	if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("%+v", s)
	}
	look(t, i, "web1")
	if left, _ := filepath.Glob(r.Dir("web1") + "/*"); len(left) != 1 {
		t.Errorf("asking left something in the container's folder: %q", left)
	}
}

// At a death the answer needs no process.
func TestLookAtTheDeadStartsNothing(t *testing.T) {
	t.Parallel()
	r, i, w := lxcRig(t, rig.LXCOptions{N: 1}, 0)
	was := find(t, list(t, i), "web1")
	pid, _ := r.Kill9("web1")
	eventually(t, "init is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	before := w.reads.Load()
	started := time.Now()
	s, err := i.Look(context.Background(), "web1", was.Init)
	took := time.Since(started)
	if err != nil || s.State != health.Stopped || s.Detail != fmt.Sprintf("init %d has ended", pid) || w.reads.Load() != before {
		t.Fatalf("%+v, %v, %d processes", s, err, w.reads.Load()-before)
	}
	if s.Mark != was.Mark || s.Config != was.Config || s.Autostart != health.Yes {
		t.Errorf("%+v, before %+v", s, was)
	}
	t.Logf("look at the dead: %v", took)
	// an init that lives is not taken for dead, whatever the caller says
	r.Start("web1")
	now := look(t, i, "web1")
	if s, err := i.Look(context.Background(), "web1", now.Init); err != nil || s.State != health.Running {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := i.Look(context.Background(), "web1", was.Init); err != nil || s.State != health.Running {
		t.Errorf("the old init ended, a new one lives: %+v, %v", s, err)
	}
}

// Trap 1: a running container whose configuration breaks vanishes from lxc-ls, rc 0, and serves on.
func TestConfigBreaksWhileRunning(t *testing.T) {
	t.Parallel()
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
func TestWrongAndEmptyPath(t *testing.T) {
	t.Parallel()
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
func TestOtherNetworkNamespace(t *testing.T) {
	t.Parallel()
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
func TestFrozenStartIsNoStart(t *testing.T) {
	t.Parallel()
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
func TestFrozenByCgroup(t *testing.T) {
	t.Parallel()
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
func TestInitExitsAtOnce(t *testing.T) {
	t.Parallel()
	r, i, _ := lxcRig(t, rig.LXCOptions{}, 0)
	r.Add("brief", "lxc.init.cmd = /bin/true")
	a := i.Do(context.Background(), health.VerbStart, "brief", 0)
	if a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "brief", health.Stopped)
}

// Trap 6: a stopped monitor hangs every lxc-ls for ever; the others stay listed.
func TestHungMonitor(t *testing.T) {
	t.Parallel()
	r, i, w := lxcRig(t, rig.LXCOptions{N: 3}, 2*time.Second)
	r.Add("off1")
	r.Add("odd1", "lxc.nosuch.key = 1")
	was := list(t, i)
	monitor := r.MonitorPID("web2")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(monitor, syscall.SIGCONT) })
	why := fmt.Sprintf("its monitor, process %d, is stopped", monitor)
	check := func(live ...health.Ref) {
		t.Helper()
		l := list(t, i, live...)
		for id, state := range map[string]health.RunState{"web1": health.Running, "web2": health.Unknown, "web3": health.Running, "off1": health.Stopped, "odd1": health.Broken} {
			s := find(t, l, id)
			if s.State != state || s.Init != find(t, was, id).Init {
				t.Errorf("%s: %+v, want %s", id, s, state)
			}
		}
		if s := find(t, l, "web2"); !strings.Contains(s.Detail, why) {
			t.Errorf("web2: %q, want %q", s.Detail, why)
		}
		if !strings.Contains(l.Degraded, `"web2"`) || !strings.Contains(l.Degraded, why) {
			t.Errorf("degraded: %q", l.Degraded)
		}
	}
	check()
	before := w.reads.Load()
	check(refs(was)...)
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("a degraded list of nothing new asks %d times, want only the culprit", n)
	}
	if _, err := i.Look(context.Background(), "web2", health.Process{}); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("look: %v", err)
	}
	// the others are healed as before
	r.Kill9("web1")
	r.WaitState("web1", "STOPPED", 10*time.Second)
	if s := find(t, list(t, i), "web1"); s.State != health.Stopped {
		t.Errorf("killed beside a hung one: %+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		t.Errorf("%+v", a)
	}
	if s := find(t, list(t, i), "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("started beside a hung one: %+v", s)
	}
	if err := syscall.Kill(monitor, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer degraded", func() bool { l := list(t, i); return l.Degraded == "" && find(t, l, "web2").State == health.Running })
}

// Trap 6, too: so does a hook that hangs, and it outlives the client that started it.
func TestHangingHook(t *testing.T) {
	t.Parallel()
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 1}, 2*time.Second)
	hook := filepath.Join(r.Scratch(), "hook")
	nap := fmt.Sprintf("1000.%d", os.Getpid()) // tells our hook from everybody else's processes
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexec sleep "+nap+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Add("slow", "lxc.hook.pre-start = "+hook)
	list(t, i)
	t.Cleanup(func() { endHook("sleep", nap) })
	a := i.Do(context.Background(), health.VerbStart, "slow", time.Second)
	if a.Err == "" || !a.Transcript.TimedOut || !strings.Contains(a.Cause, "waits for a hook") || !strings.Contains(a.Cause, "sleep "+nap) {
		t.Errorf("%+v", a)
	}
	l := list(t, i)
	if s := find(t, l, "slow"); s.State != health.Unknown || !strings.Contains(s.Detail, "waits for a hook") {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "web1"); s.State != health.Running || !strings.Contains(l.Degraded, `"slow"`) {
		t.Errorf("%+v; degraded: %q", s, l.Degraded)
	}
	endHook("sleep", nap)
	eventually(t, "no longer degraded", func() bool { l := list(t, i); return l.Degraded == "" && find(t, l, "slow").State != health.Unknown })
}

// endHook ends the process with this command line, which is one test's alone.
func endHook(argv ...string) {
	want := strings.Join(argv, "\x00") + "\x00"
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		var pid int
		if _, err := fmt.Sscanf(p, "/proc/%d/cmdline", &pid); err == nil && string(b) == want {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Trap 7: a lock on the container's lock file blocks info, ls and start.
func TestLockedLockFile(t *testing.T) {
	t.Parallel()
	r, i, _ := lxcRig(t, rig.LXCOptions{N: 2}, 2*time.Second)
	list(t, i)
	path := filepath.Join("/run/lxc/lock", r.Path(), ".web1")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock(t, f)
	l := list(t, i)
	want := fmt.Sprintf("its lock file %q is held by another process", path)
	if s := find(t, l, "web1"); s.State != health.Unknown || !strings.Contains(s.Detail, want) {
		t.Errorf("%+v, want %q", s, want)
	}
	if s := find(t, l, "web2"); s.State != health.Running {
		t.Errorf("%+v", s)
	}
	f.Close()
	if l := list(t, i); l.Degraded != "" || find(t, l, "web1").State != health.Running {
		t.Errorf("released: %+v", l)
	}
}

// lock takes the lock that LXC takes, until the file is closed.
func lock(t *testing.T, f *os.File) {
	t.Helper()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
}

// Trap 8: kill -9 of the monitor leaves cgroups behind, and the next start uses others: /proc/PID/cgroup knows.
func TestKilledMonitor(t *testing.T) {
	t.Parallel()
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

// Trap 10: a failing start prints the same two lines whatever the cause. Five causes, each told.
func TestCausesOfFailedStarts(t *testing.T) {
	t.Parallel()
	r, i, _ := lxcRig(t, rig.LXCOptions{NoStart: true}, 0)
	fail := filepath.Join(r.Scratch(), "fail")
	if err := os.WriteFile(fail, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ line, cause string }{
		"bridge": {"lxc.net.0.link = brnope", `bridge "brnope", bridge interface doesn't exist`},
		"rootfs": {"lxc.rootfs.path = dir:/nonexistent/rootfs", `No such file or directory - Failed to open "/nonexistent/rootfs"`},
		"init":   {"lxc.init.cmd = /bin/nosuch", `No such file or directory - Failed to exec "/bin/nosuch"`},
		"config": {"lxc.nosuch.key = 1", `Invalid argument - Unsupported config key "lxc.nosuch.key"`},
		"hook":   {"lxc.hook.pre-start = " + fail, `Script exited with status 3`},
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

// Traps 16 and 17: how a container ended cannot be told from the end of its init; and at a guest's reboot LXC says
// RUNNING all along. What the look says of the dead init is what the kernel says.
func TestGuestReboot(t *testing.T) {
	t.Parallel()
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
func TestGracefulStopOnlyAsks(t *testing.T) {
	t.Parallel()
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

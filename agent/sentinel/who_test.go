package sentinel

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// stops is what an engine would say of "lxc-stop … NAME".
func stops(name string) func([]string) (health.Verb, bool) {
	return func(argv []string) (health.Verb, bool) {
		return health.VerbStop, len(argv) > 1 && argv[0] == "lxc-stop" && slices.Contains(argv, name)
	}
}

func TestWhoNamesLiveStoppers(t *testing.T) {
	name := fmt.Sprintf("web-%d", os.Getpid())
	stopper := start(t, "sit", 0, "lxc-stop", "-n", name)
	start(t, "sit", 0, "lxc-attach", "-n", name)
	own := start(t, "sit", 0, "lxc-stop", "-k", "-n", name)
	zombie := start(t, "sit", 0, "lxc-stop", "-n", name)
	zombie.signal()
	eventually(t, "the zombie has ended", func() bool { return !Alive(health.Process{PID: zombie.pid()}) })

	got := Who(func(pid int) bool { return pid == own.pid() }, stops(name))
	want := health.Actor{
		Process: stopper.process(), Argv: []string{"lxc-stop", "-n", name}, Verb: health.VerbStop,
		UID: os.Getuid(), Login: loginUID(os.Getpid()),
	}
	if len(got) != 1 || len(got[0].Parents) == 0 || got[0].Parents[0] != "sentinel.test" {
		t.Fatalf("got %+v: want its parents, this test first", got)
	}
	got[0].Parents, got[0].Terminal = nil, ""
	if fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

// TestWhoKnowsWhoLoggedIn: the login uid stays over su and sudo. On this kind of machine it is unset, so the helper sets it.
func TestWhoKnowsWhoLoggedIn(t *testing.T) {
	rig.Require(t, "root")
	name := fmt.Sprintf("login-%d", os.Getpid())
	start(t, "login", 0, "lxc-stop", "-n", name)
	if got := Who(nil, stops(name)); len(got) != 1 || got[0].Login != 4711 || got[0].UID != 0 {
		t.Fatalf("got %+v", got)
	}
}

// TestWhoIgnoresContainers: a container may call its processes what it likes and must not keep others from being healed.
func TestWhoIgnoresContainers(t *testing.T) {
	rig.Require(t, "root")
	name := fmt.Sprintf("hostile-%d", os.Getpid())
	start(t, "sit", unix.CLONE_NEWPID, "lxc-stop", "-n", name)
	if got := Who(nil, stops(name)); len(got) != 0 {
		t.Fatalf("got %+v", got)
	}
}

// TestWhoSeesARealStop hangs the container's monitor, so that lxc-stop cannot end.
func TestWhoSeesARealStop(t *testing.T) {
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 1})
	name := l.Name(0)
	l.Start(name)
	l.Hang(name)
	stop := exec.Command("lxc-stop", "-P", l.Path(), "-n", name)
	must(t, stop.Start())
	defer func() { _ = stop.Process.Kill(); _ = stop.Wait(); l.Resume(name) }()
	eventually(t, "lxc-stop is seen", func() bool {
		got := Who(nil, stops(name))
		return len(got) == 1 && got[0].Process.PID == stop.Process.Pid
	})
}

func TestCommandLinesAreBounded(t *testing.T) {
	cases := map[string]struct{ in, want []string }{
		"arguments":       {[]string{"a", "", "b c"}, []string{"a", "", "b c"}},
		"rewritten title": {[]string{"sshd: x", "", "", ""}, []string{"sshd: x"}},
		"too many":        {slices.Repeat([]string{"x"}, maxArgs+5), slices.Repeat([]string{"x"}, maxArgs)},
		"none":            {nil, nil},
	}
	for name, c := range cases {
		if got := splitArgs([]byte(strings.Join(c.in, "\x00") + "\x00")); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	name := fmt.Sprintf("long-%d", os.Getpid())
	start(t, "sit", 0, "lxc-stop", name, strings.Repeat("x", 3*maxCmdline))
	got := Who(nil, stops(name))
	if len(got) != 1 || len(strings.Join(got[0].Argv, " ")) > maxCmdline {
		t.Fatalf("got %d actors: %.200v", len(got), got)
	}
}

func TestStatOfHostileNames(t *testing.T) {
	line := "42 (a) R 1)\t(b) S 1 42 42 34819 -1 4194560 100 0 0 0 1 2 0 0 20 0 7 0 815 1000 200 18446744073709551615 1"
	s, err := parseStat([]byte(line))
	if err != nil || s != (stat{name: "a) R 1)?(b", state: 'S', parent: 1, tty: 34819, threads: 7, start: 815}) {
		t.Fatalf("got %+v, %v", s, err)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", strings.Replace(line, "815", "-1", 1), strings.Replace(line, " 7 0", " x 0", 1)} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v", bad, s)
		}
	}
	for dev, want := range map[int]string{0: "", 34819: "pts/3", 1025: "tty1", 1089: "ttyS1", 35071: "pts/255", 34816 | 1<<20: "pts/256"} {
		if got := terminal(dev); got != want {
			t.Errorf("device %d is %q, want %q", dev, got, want)
		}
	}
	if _, err := StartTime(0); err == nil {
		t.Error("pid 0 has a start time")
	}
}

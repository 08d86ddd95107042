package rig_test

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

const patience = 30 * time.Second

func TestContainersServeDieAndComeBack(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 2})
	name := l.Name(0)
	l.WaitHTTP(name, patience)
	l.WaitHTTP(l.Name(1), patience)

	pid, _ := l.Kill9(name)
	l.WaitState(name, "STOPPED", patience)
	l.Start(name)
	l.WaitHTTP(name, patience)
	if again := l.InitPID(name); again == pid {
		t.Errorf("init has pid %d before and after the kill", pid)
	}
}

func TestHungServerAcceptsAndNeverAnswers(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 1})
	name := l.Name(0)
	l.WaitHTTP(name, patience)

	l.Hang(name)
	client := http.Client{Timeout: time.Second}
	_, err := client.Get(l.URL(name))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("GET of the hung server: %v, want a timeout", err)
	}
	if s := l.State(name); s != "RUNNING" {
		t.Errorf("the engine says %s of a container whose web server hangs, want RUNNING", s)
	}
	l.Resume(name)
	l.WaitHTTP(name, patience)
}

func TestBridgeGoesAndReturns(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 2})
	stays, dies := l.Name(0), l.Name(1)
	l.WaitHTTP(stays, patience)

	l.DeleteBridge()
	l.Kill9(dies)
	l.WaitState(dies, "STOPPED", patience)
	if out, err := exec.Command("lxc-start", "-P", l.Path(), "-n", dies).CombinedOutput(); err == nil {
		t.Errorf("lxc-start without its bridge succeeded: %s", out)
	}
	l.RestoreBridge()
	l.WaitHTTP(stays, patience)
	l.Start(dies)
	l.WaitHTTP(dies, patience)
}

func TestOptionsReachTheConfig(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 1, NoStart: true, NoAutostart: true, RandomMAC: true, OwnRoot: true,
		Config: []string{"lxc.console.logfile = $DIR/$NAME.log"}})
	name := l.Name(0)
	if s := l.State(name); s != "STOPPED" {
		t.Errorf("state %s with NoStart, want STOPPED", s)
	}
	config, err := os.ReadFile(l.ConfigFile(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"hwaddr", "lxc.start.auto"} {
		if strings.Contains(string(config), absent) {
			t.Errorf("config has %s:\n%s", absent, config)
		}
	}
	if want := "lxc.console.logfile = " + l.Dir(name) + "/" + name + ".log"; !strings.Contains(string(config), want) {
		t.Errorf("config lacks %q:\n%s", want, config)
	}
	if err := os.WriteFile(l.Rootfs(name)+"/www/index.html", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Add("second")
	l.Start(name)
	l.Start("second")
	l.WaitHTTP("second", patience)
	if got := l.Exec(name, "cat", "/www/index.html"); got != "mine" {
		t.Errorf("own root serves %q", got)
	}
	l.Stop("second")
	l.Remove("second")
	if _, err := os.Stat(l.ConfigFile("second")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("definition after Remove: %v", err)
	}
}

// TestCleanupCopesWithWhatTestsBreak leaves a frozen container, one whose monitor is
// stopped (which hangs lxc-ls and lxc-stop) and one whose config is broken, and
// expects nothing to remain.
func TestCleanupCopesWithWhatTestsBreak(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	var path, bridge string
	var inits []int
	err := rig.Play(&bytes.Buffer{}, func(s *rig.Stage) error {
		l := rig.NewLXC(s, rig.LXCOptions{N: 3})
		path, bridge = l.Path(), l.Bridge()
		for _, n := range l.Names() {
			inits = append(inits, l.InitPID(n))
		}
		l.Freeze(l.Name(0))
		if err := syscall.Kill(l.MonitorPID(l.Name(1)), syscall.SIGSTOP); err != nil {
			return err
		}
		l.SetConfig(l.Name(2), "lxc.nonsense = 1\n")
		l.Start("no such container")
		return errors.New("not reached")
	})
	if err == nil || !strings.Contains(err.Error(), "no such container") {
		t.Errorf("Play returned %v, want the failure of Start", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lxcpath after the play: %v", err)
	}
	if _, err := net.InterfaceByName(bridge); err == nil {
		t.Errorf("bridge %s is still there", bridge)
	}
	for _, pid := range inits {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("init %d after the play: %v", pid, err)
		}
	}
}

// TestSweepAfterAKilledOwner runs this test binary as the owner of a rig and kills it.
func TestSweepAfterAKilledOwner(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	if os.Getenv("RIG_OWNER") != "" {
		l := rig.NewLXC(t, rig.LXCOptions{N: 1})
		os.Stdout.WriteString("up " + l.Bridge() + " " + l.Scratch() + "\n")
		select {} // until killed
	}
	owner := exec.Command(os.Args[0], "-test.run=^TestSweepAfterAKilledOwner$")
	owner.Env = append(os.Environ(), "RIG_OWNER=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var up, bridge, scratch string
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatalf("the owner said nothing: %v", err)
	}
	if f := strings.Fields(string(buf[:n])); len(f) == 3 {
		up, bridge, scratch = f[0], f[1], f[2]
	}
	if up != "up" {
		t.Fatalf("the owner said %q", buf[:n])
	}
	if _, err := rig.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(scratch); err != nil {
		t.Errorf("the sweep took a live owner's folder: %v", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	if _, err := rig.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the killed owner after the sweep: %v", err)
	}
	// Another rig may have taken the slot, and with it the bridge's name, in the meantime;
	// its folder then differs. Only a bridge without a folder is a leftover.
	if _, err := net.InterfaceByName(bridge); err == nil && strings.HasPrefix(scratch, os.TempDir()) {
		left, _ := os.ReadDir(os.TempDir())
		prefix := "atalaya-lab-" + strings.TrimPrefix(bridge, "atl-") + "-"
		for _, d := range left {
			if strings.HasPrefix(d.Name(), prefix) {
				return
			}
		}
		t.Errorf("bridge %s of the killed owner is still there", bridge)
	}
}

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// systemd-nspawn and machined need systemd as process 1. Where these tests are run it is none, so a host is booted that
// has it, this very program is copied there, and runs its tests of nspawn there: processes, files and journal are real.

// nspawnInside tells the program that it is on that host.
const nspawnInside = "ATALAYA_NSPAWN_INSIDE"

// nspawnAway runs the test on such a host; false when this is one.
func nspawnAway(t *testing.T) bool {
	t.Helper()
	if os.Getenv(nspawnInside) != "" {
		return false
	}
	rig.Require(t, "root", "lxc", "busybox", "debootstrap")
	host := rig.NewSystemd(t, rig.SystemdOptions{NoStart: true})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host.CopyIn(self, "/root/engine.test")
	argv := []string{"env", nspawnInside + "=1", scripted.ToolEnv + "=/none", "CI=" + os.Getenv("CI"), "/root/engine.test", "-test.run=" + pattern(t.Name()), "-test.v", "-test.parallel=4", "-test.timeout=8m"}
	ran := host.ExecFor(9*time.Minute, argv...)
	for line := range strings.Lines(ran.Stdout) {
		if !strings.HasPrefix(line, "=== ") {
			t.Log(strings.TrimRight(line, "\n"))
		}
	}
	if ran.Exit != 0 || !strings.Contains(ran.Stdout, "--- PASS: "+t.Name()+" ") {
		t.Errorf("inside: exit %d\n%s", ran.Exit, ran.Stderr)
	}
	return true
}

// pattern is what "go test -run" takes for one test by its name.
func pattern(name string) string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}

// nspawnYard is real systemd-nspawn, on the host that this runs on.
type nspawnYard struct {
	*rig.Nspawn
	t *testing.T
}

func newNspawnYard(t *testing.T) yard { return &nspawnYard{rig.NewNspawn(t), t} }

func (y *nspawnYard) With(t *testing.T) yard { return &nspawnYard{y.Nspawn.With(t), t} }
func (y *nspawnYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "nspawn"})
}
func (y *nspawnYard) ID(name string) string      { return name }
func (y *nspawnYard) Die(name string)            { y.Kill9(name) }
func (y *nspawnYard) Addrs(name string) []string { return []string{y.Addr(name).String()} }

// Run waits for the address, which init sets.
func (y *nspawnYard) Run(name string) {
	y.Start(name)
	y.Await(name)
}

func (y *nspawnYard) Await(name string) {
	if _, err := rig.WaitHTTP(context.Background(), "http://"+y.Addr(name).String()+"/", 20*time.Second); err != nil {
		y.t.Fatal(err)
	}
}

func (y *nspawnYard) Make(name string, o made) {
	y.Nspawn.Make(name)
	if o.autostart {
		y.Enable(name)
	}
	if o.broken {
		y.Break(name)
	}
	if o.failing { // "doesn't look like it has an OS tree"
		for _, path := range []string{"etc/os-release", "usr"} {
			if err := os.RemoveAll(filepath.Join(y.Root(name), path)); err != nil {
				y.t.Fatal(err)
			}
		}
	}
}

// farNspawnYard is that on "another" host.
type farNspawnYard struct {
	*nspawnYard
	sshd *rig.SSHD
}

func newFarNspawnYard(t *testing.T) yard {
	rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
	return &farNspawnYard{newNspawnYard(t).(*nspawnYard), rig.NewSSHD(t)}
}

func (y *farNspawnYard) With(t *testing.T) yard {
	return &farNspawnYard{y.nspawnYard.With(t).(*nspawnYard), y.sshd}
}
func (y *farNspawnYard) InitPID(string) int { return 0 }

// Open has the images asked for with each list: what was removed is gone at once.
func (y *farNspawnYard) Open(t *testing.T) *engine.Instance {
	y.costs(t)
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "nspawn", Quiet: time.Nanosecond})
	return i
}

// costs holds that one process is started for a list, and one more a minute.
func (y *farNspawnYard) costs(t *testing.T) {
	i, w := overSSH(t, y.sshd, engine.Spec{Engine: "nspawn"})
	list(t, i)
	before := w.reads.Load()
	list(t, i)
	if n := w.reads.Load() - before; n != 1 {
		t.Errorf("%d processes for a list", n)
	}
}

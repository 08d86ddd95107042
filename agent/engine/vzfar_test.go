package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// elsewhere is a Runner to another host, the scripted one: paths on its command lines are that host's.
type elsewhere struct {
	engine.Runner
	root string
}

func (e elsewhere) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	c.Argv = slices.Clone(c.Argv)
	for n, a := range c.Argv {
		if n > 0 && (strings.HasPrefix(a, "/vz/") || strings.HasPrefix(a, "/var/log/")) {
			c.Argv[n] = filepath.Join(e.root, a)
		}
	}
	return e.Runner.Read(ctx, c)
}

// farSSHD is the way there. Mutants are left to the tests that are near: each command by ssh takes its time.
func farSSHD(t *testing.T) *rig.SSHD {
	if os.Getenv(scripted.RepliesEnv) != "" {
		t.Skip("make mutate: what is read over ssh is read by the same code")
	}
	rig.Require(t, "root", "ssh", "/usr/sbin/sshd", "ssh-keygen")
	return rig.NewSSHD(t)
}

func openElsewhere(t *testing.T, d *rig.SSHD, h *scripted.Host, name string) (*engine.Instance, *watched) {
	t.Helper()
	return overSSH(t, d, engine.Spec{Engine: name, Bin: h.Bin(), Backups: t.TempDir()}, func(r engine.Runner) engine.Runner { return elsewhere{r, h.Root()} })
}

// farVZYard is a scripted host of vzctl behind a real sshd.
type farVZYard struct {
	yard
	host *scripted.Host
	sshd *rig.SSHD
}

func newFarVZYard(near func(*testing.T) yard) func(*testing.T) yard {
	return func(t *testing.T) yard {
		y := &farVZYard{yard: near(t), sshd: farSSHD(t)}
		switch n := y.yard.(type) {
		case *openvzYard:
			y.host = n.Host
		case *virtuozzoYard:
			y.host = n.Host
		}
		return y
	}
}

func (y *farVZYard) With(t *testing.T) yard { return &farVZYard{y.yard.With(t), y.host, y.sshd} }
func (y *farVZYard) InitPID(string) int     { return 0 }

func (y *farVZYard) Open(t *testing.T) *engine.Instance {
	i, _ := openElsewhere(t, y.sshd, y.host, y.host.Engine)
	return i
}

// farAway is where most of OpenVZ is: on a host whose kernel is too old for the agent.
func (v *vzTest) farAway() {
	sshd := farSSHD(v.T)
	i, w := openElsewhere(v.T, sshd, v.Host, "openvz")
	v.i = i
	v.Make("web2", made{})
	before := w.reads.Load()
	l := list(v.T, v.i)
	if s := find(v.T, l, "101"); s.State != health.Running || s.Name != "web1" || s.Autostart != health.Yes || s.Init.PID != 0 || len(s.Addrs) != 2 {
		v.Errorf("%+v", s)
	}
	if n := w.reads.Load() - before; n != 1 {
		v.Errorf("a list took %d processes", n)
	}
	v.RemoveFile(scripted.VZPrivate("102"))
	if s := look(v.T, v.i, "102"); s.State != health.Missing {
		v.Errorf("vanished: %+v", s)
	}
	if s := look(v.T, v.i, "999"); s.State != health.Missing {
		v.Errorf("nobody: %+v", s)
	}
	v.Kill9("101")
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	v.must(health.VerbStop)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("we stopped it: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	person(v.T, v.Host, "vzctl", "stop", "101")
	if s := v.see(); !strings.Contains(s.OnPurpose, "Stopping container") {
		v.Errorf("a person stopped it: %+v", s)
	}
	v.WriteFile("/vz/lock/101.lck", fmt.Sprintf("%d\nbackup\n", os.Getpid()))
	if l := v.see().Lock; l == nil || l.Dead || l.Operation != "backup" {
		v.Errorf("locked: %+v", l)
	}
	v.WriteFile("/vz/lock/101.lck", "4194305\n\n")
	if l := v.see().Lock; l == nil || !l.Dead {
		v.Errorf("stale: %+v", l)
	}
	shows := map[string]string{"vzlist.json": `"ctid": 101`, "vz-lock.txt": "4194305", "vzctl.log": "CT 101 : Container was stopped"}
	for _, s := range v.i.Evidence("101", health.Sighting{}) {
		if s.Path != "" || strings.Contains(strings.Join(s.Argv, " "), "another-host") {
			v.Errorf("%+v", s)
		}
		if want := shows[s.Name]; want != "" && !strings.Contains(v.reads(s), want) {
			v.Errorf("%s shows %q, want %q in it", s.Name, v.reads(s), want)
		}
	}
	v.must(health.VerbBackup)
	if b, err := v.i.LastBackup(context.Background(), "101"); err != nil || !b.OK || !strings.Contains(b.Said, "atalaya") {
		v.Errorf("%+v, %v", b, err)
	}
	if sshd.Logins() != 1 {
		v.Errorf("%d logins", sshd.Logins())
	}
	sshd.Stop()
	sshd.Cut()
	if l, err := v.i.List(context.Background(), nil); err == nil {
		v.Errorf("a lost connection is no list: %+v", l)
	}
	sshd.Start()
	eventually(v.T, "it lists again", func() bool {
		_, err := v.i.List(context.Background(), nil)
		return err == nil
	})
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-broken-host"})
	if l, err := v.i.List(context.Background(), nil); err == nil {
		v.Errorf("broken: %+v", l)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-none"})
	if l := list(v.T, v.i); len(l.Containers) != 0 {
		v.Errorf("none: %+v", l)
	}
}

// farAway: over ssh nothing is read from files, and the dispatcher is asked for what they would tell.
func (v *prlTest) farAway() {
	v.Update(v.id, func(c *scripted.Container) { c.Keys["autostart"] = "on" })
	v.i, _ = openElsewhere(v.T, farSSHD(v.T), v.Host, "virtuozzo")
	if s := v.listed(); s.State != health.Running || s.Name != "web1" || s.Init.PID != 0 || s.Autostart != health.Maybe {
		v.Errorf("list: %+v", s)
	}
	if s := v.see(); s.State != health.Running || s.Autostart != health.Yes {
		v.Errorf("look: %+v", s)
	}
	v.Kill9(v.id)
	if s := v.listed(); s.State != health.Stopped || s.Autostart != health.Yes {
		v.Errorf("it died: %+v", s)
	}
	v.must(health.VerbStart)
	v.Fault(scripted.Fault{On: "prlctl", Do: scripted.Answer, Reply: "list-nodispatcher"})
	if s := v.see(); s.State != health.Running {
		v.Errorf("without a dispatcher: %+v", s)
	}
	v.Heal()
	v.DestroyVZ7(v.id)
	if s := v.see(); s.State != health.Missing {
		v.Errorf("deleted: %+v", s)
	}
}

package engine_test

import (
	"context"
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

// Real LXC behind a real sshd on loopback.

// farEngines are those of the suite that are asked over ssh.
func farEngines() []subject {
	return append(proxmoxOverSSH(), []subject{
		{name: "lxc over ssh", yard: newFarYard(openFarLXC), broken: health.Broken, gone: health.Missing, option: "--help"},
		{name: "docker over ssh", yard: newFarOCIYard("docker", rig.NewDocker), gone: health.Missing, marks: true, nobody: strings.Repeat("0", 64), cannot: cannot{autostart: true, already: true}},
		{name: "podman over ssh", yard: newFarOCIYard("podman", rig.NewPodman), gone: health.Missing, marks: true, nobody: strings.Repeat("0", 64), startExit: 125, cannot: cannot{autostart: true, already: true}},
		{name: "lxd over ssh", yard: newFarLXDYard, gone: health.Missing, marks: true},
		{name: "libvirt over ssh", yard: newFarLibvirtYard, broken: health.Missing, gone: health.Missing, marks: true, option: "--help", comm: "web"},
		{name: "openvz over ssh", yard: newFarVZYard(newOpenVZYard), broken: health.Missing, gone: health.Missing, nobody: "999", comm: hostComm(), startExit: 47, killsDead: true},
		{name: "virtuozzo over ssh", yard: newFarVZYard(newVirtuozzoYard), broken: health.Broken, gone: health.Missing, marks: true, nobody: "00000000-0000-0000-0000-000000000000",
			comm: hostComm(), startExit: 255, killsDead: true, cannot: cannot{autostart: true}},
		{name: "nspawn over ssh", away: nspawnAway, yard: newFarNspawnYard, broken: health.Broken, gone: health.Missing, marks: true, killsDead: true},
		{name: "custom over ssh", yard: newFarYard(openFarLines), broken: health.Missing, gone: health.Missing, option: "--help"},
	}...)
}

// farYard is LXC on "another" host: what is asked over ssh has no pids.
type farYard struct {
	*lxcYard
	sshd *rig.SSHD
	open func(*testing.T, *farYard) *engine.Instance
}

func newFarYard(open func(*testing.T, *farYard) *engine.Instance) func(*testing.T) yard {
	return func(t *testing.T) yard {
		rig.Require(t, "root", "lxc", "busybox", "ssh", "/usr/sbin/sshd", "ssh-keygen")
		return &farYard{lxcYard: &lxcYard{LXC: rig.NewLXC(t, rig.LXCOptions{})}, sshd: rig.NewSSHD(t), open: open}
	}
}

func (y *farYard) With(t *testing.T) yard {
	return &farYard{lxcYard: y.lxcYard.With(t).(*lxcYard), sshd: y.sshd, open: y.open}
}
func (y *farYard) Open(t *testing.T) *engine.Instance { return y.open(t, y) }
func (y *farYard) InitPID(string) int                 { return 0 }

// farOCIYard is docker or podman there.
type farOCIYard struct {
	*ociYard
	sshd *rig.SSHD
}

func newFarOCIYard(name string, start func(rig.TB) *rig.OCI) func(*testing.T) yard {
	return func(t *testing.T) yard {
		rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
		return &farOCIYard{ociYard: &ociYard{ociRig(t, name, start), name}, sshd: rig.NewSSHD(t)}
	}
}

func (y *farOCIYard) With(t *testing.T) yard {
	return &farOCIYard{ociYard: y.ociYard.With(t).(*ociYard), sshd: y.sshd}
}
func (y *farOCIYard) InitPID(string) int { return 0 }

func (y *farOCIYard) Open(t *testing.T) *engine.Instance {
	i, _ := overSSH(t, y.sshd, ociSpecOf(y.OCI, y.engine))
	return i
}

func openFarLXC(t *testing.T, y *farYard) *engine.Instance {
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "lxc", Instance: "old", Path: y.Path()})
	return i
}

func openFarLines(t *testing.T, y *farYard) *engine.Instance {
	s := openLines(t, y.LXC).Spec()
	i, _ := overSSH(t, y.sshd, s)
	return i
}

// overSSH opens an instance by way of the sshd, and counts its processes. there may change what is sent.
func overSSH(t *testing.T, d *rig.SSHD, s engine.Spec, there ...func(engine.Runner) engine.Runner) (*engine.Instance, *watched) {
	t.Helper()
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	t.Cleanup(h.Close)
	r, err := h.Remote(hostexec.SSH{Target: d.Target(), Config: d.Config()})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Runner: r}
	for _, change := range there {
		w.Runner = change(w.Runner)
	}
	s.SSH, s.RunDir = d.Target(), t.TempDir()
	i, err := engine.Open(s, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

// One list per poll and one connection in all; what is lost on the way is unknown; it recovers by itself.
func TestLXCOverSSH(t *testing.T) {
	t.Parallel()
	y := newFarYard(openFarLXC)(t).(*farYard)
	hostile := []string{"it's $(id)", "`id`;x", "ünïcödé", "a b", `back\slash`, "-n", "$HOME", `"q"`, "*"}
	for _, name := range append(hostile, "web1", "web2") {
		y.Make(name, made{autostart: name == "web1"})
	}
	y.Run("web1")
	i, w := overSSH(t, y.sshd, engine.Spec{Engine: "lxc", Path: y.Path(), Timeout: 8 * time.Second})
	for range 3 {
		before := w.reads.Load()
		l := list(t, i)
		if n := w.reads.Load() - before; n != 1 {
			t.Errorf("a list took %d processes", n)
		}
		for _, name := range hostile {
			if s := find(t, l, name); s.State != health.Stopped {
				t.Errorf("%q: %+v", name, s)
			}
		}
		s := find(t, l, "web1")
		if s.State != health.Running || s.Init.PID != 0 || len(s.Links) != 0 || s.Autostart != health.Yes || len(s.Addrs) != 1 {
			t.Errorf("%+v", s)
		}
	}
	for _, name := range hostile[:6] {
		if a := i.Do(context.Background(), health.VerbStart, name, 0); a.Err != "" || a.Transcript.Remote == "" {
			t.Errorf("start %q: %+v", name, a)
		}
		awaitState(t, i, name, health.Running)
		if out := i.Exec(context.Background(), name, []string{"sh", "-c", `printf '%s|' "$@"`, "sh", name, "'", "\n", ""}, 10*time.Second); string(out.Stdout) != name+"|'|\n||" {
			t.Errorf("exec in %q: %q %+v", name, out.Stdout, out)
		}
		if a := i.Do(context.Background(), health.VerbKill, name, 0); a.Err != "" {
			t.Errorf("kill %q: %+v", name, a)
		}
	}
	if y.sshd.Logins() != 1 || y.sshd.Established() != 1 {
		t.Errorf("%d logins, %d connections", y.sshd.Logins(), y.sshd.Established())
	}

	y.sshd.Stop()
	y.sshd.Cut()
	if l, err := i.List(context.Background(), nil); err == nil || len(l.Containers) != 0 {
		t.Errorf("a list without a connection: %+v, %v", l, err)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("a look without a connection: %+v", s)
	}
	y.sshd.Start()
	eventually(t, "it lists again", func() bool {
		l, err := i.List(context.Background(), nil)
		return err == nil && len(l.Containers) == len(hostile)+2
	})
	y.sshd.Cut()
	if find(t, list(t, i), "web1").State != health.Running {
		t.Error("after a cut the next list is not the truth")
	}
	if y.sshd.Established() != 1 {
		t.Errorf("%d connections", y.sshd.Established())
	}
}

// A start goes on when the connection is cut in the middle of it, and its cause is told afterwards.
func TestLXCStartOutlivesSSH(t *testing.T) {
	t.Parallel()
	y := newFarYard(openFarLXC)(t).(*farYard)
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "lxc", Path: y.Path()})
	gate := filepath.Join(t.TempDir(), "gate")
	hook := gate + ".sh"
	script := "#!/bin/sh\n: >" + gate + ".in\nuntil [ -e " + gate + " ]; do sleep 0.05; done\n"
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	y.Add("slow", "lxc.hook.pre-start = "+hook)
	done := make(chan engine.Answer, 1)
	go func() { done <- i.Do(context.Background(), health.VerbStart, "slow", time.Minute) }()
	eventually(t, "it is being started", func() bool { _, err := os.Stat(gate + ".in"); return err == nil })
	y.sshd.Cut()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.Err != "" {
		t.Errorf("%+v", a)
	}
	awaitState(t, i, "slow", health.Running)
}

// A wrong lxcpath is an error, an empty one is empty, a broken configuration is broken.
func TestLXCOverSSHOddities(t *testing.T) {
	t.Parallel()
	y := newFarYard(openFarLXC)(t).(*farYard)
	gone, _ := overSSH(t, y.sshd, engine.Spec{Engine: "lxc", Path: filepath.Join(t.TempDir(), "gone")})
	if l, err := gone.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%+v, %v", l, err)
	}
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "lxc", Path: y.Path()})
	if l := list(t, i); len(l.Containers) != 0 {
		t.Errorf("%+v", l)
	}
	y.Make("odd", made{broken: true})
	if s := find(t, list(t, i), "odd"); s.State != health.Broken {
		t.Errorf("%+v", s)
	}
	if s := look(t, i, "odd"); s.State != health.Broken || s.Detail == "" {
		t.Errorf("%+v", s)
	}
	y.Make("noinit", made{failing: true})
	if a := i.Do(context.Background(), health.VerbStart, "noinit", 0); a.Err == "" || !strings.Contains(a.Cause, "/bin/nosuch") {
		t.Errorf("%+v", a)
	}
	if i.HasEvents() || len(i.Files()) != 0 || len(i.Units()) != 0 || i.Autostarter() != "" || i.Place() != "" || !i.Far() || !i.Defined("web9") {
		t.Errorf("it is taken for one that is here: %+v", i.Spec())
	}
	if _, _, ok := i.Meaning([]string{"lxc-stop", "-P", y.Path(), "-n", "odd"}); ok {
		t.Error("a command of this host is taken for one over there")
	}
	if i.Where() != "root@127.0.0.1:"+y.Path() || len(i.Blind()) < 6 {
		t.Errorf("%q, %q", i.Where(), i.Blind())
	}
	for _, s := range i.Evidence("odd", health.Sighting{}) {
		if s.Path != "" || s.Root != "" || len(s.Argv) == 0 {
			t.Errorf("evidence from a file of this host: %+v", s)
		}
	}
	tr := i.Runner().Read(context.Background(), hostexec.Command{Argv: evidenceNamed(i, "odd", "config")})
	if !strings.Contains(string(tr.Stdout), "lxc.nosuch.key") {
		t.Errorf("%+v %q", tr, tr.Stdout)
	}
}

func evidenceNamed(i *engine.Instance, id, name string) []string {
	all := i.Evidence(id, health.Sighting{})
	return all[slices.IndexFunc(all, func(s engine.Source) bool { return s.Name == name })].Argv
}

// What cannot be on another host is said when it is opened.
func TestOpenOverSSHRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec engine.Spec
		want string
	}{
		{engine.Spec{Engine: "lxc", SSH: "-oProxyCommand=id"}, "is not user@host"},
		{engine.Spec{Engine: "lxc", SSH: "root@old", Path: "lxc"}, "absolute path"},
		{engine.Spec{Engine: "lxc", SSH: "root@old", Root: "/x"}, "stands beside ssh"},
	} {
		if _, err := engine.Open(c.spec, nil, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
}

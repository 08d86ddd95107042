package engine_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// Proxmox on "another" host: scripted tools behind a real sshd.

// farProxmoxYard is such a host.
type farProxmoxYard struct {
	*proxmoxYard
	sshd *rig.SSHD
}

func newFarProxmoxYard(kind string) func(*testing.T) yard {
	return func(t *testing.T) yard {
		rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
		return &farProxmoxYard{proxmoxHost(t, kind), rig.NewSSHD(t)}
	}
}

func (y *farProxmoxYard) With(t *testing.T) yard {
	return &farProxmoxYard{y.proxmoxYard.With(t).(*proxmoxYard), y.sshd}
}
func (y *farProxmoxYard) InitPID(string) int { return 0 }

func (y *farProxmoxYard) Open(t *testing.T) *engine.Instance {
	i, _ := y.open(t, 0)
	return i
}

func (y *farProxmoxYard) open(t *testing.T, limit time.Duration) (*engine.Instance, *watched) {
	t.Helper()
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	t.Cleanup(h.Close)
	r, err := h.Remote(hostexec.SSH{Target: y.sshd.Target(), Config: y.sshd.Config()})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Runner: rooted{r, y.h.Root()}}
	i, err := engine.Open(engine.Spec{Engine: "proxmox", Instance: "far", Bin: y.h.Bin(), SSH: y.sshd.Target(), RunDir: t.TempDir(), Timeout: limit}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

// rooted leads the paths of files that are read there to the folder where a scripted host has them: it has no root of its
// own. Of what is not there, such as /proc/uptime, this machine's is read.
type rooted struct {
	engine.Runner
	root string
}

func (r rooted) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	if !slices.Contains([]string{"grep", "find", "head", "tail"}, c.Argv[0]) {
		return r.Runner.Read(ctx, c)
	}
	c.Argv = slices.Clone(c.Argv)
	for n, a := range c.Argv {
		own := strings.HasPrefix(a, "/")
		if strings.HasPrefix(a, "/proc/") { // no other is touched from here: it may hang
			_, err := os.Lstat(r.root + a)
			own = err == nil
		}
		if own {
			c.Argv[n] = r.root + a
		}
	}
	t := r.Runner.Read(ctx, c)
	cut := len(t.Stdout)
	t.Stdout = bytes.ReplaceAll(t.Stdout, []byte(r.root), nil)
	t.Stderr = bytes.ReplaceAll(t.Stderr, []byte(r.root), nil)
	t.StdoutSize -= int64(cut - len(t.Stdout))
	return t
}

// proxmoxOverSSH takes the same guests by the same tools, and what is read of files by grep.
func proxmoxOverSSH() []subject {
	far := func(name, kind string, cannot cannot) subject {
		return subject{name: name, yard: newFarProxmoxYard(kind), gone: health.Missing, marks: true, nobody: "999999", startExit: 255, killsDead: kind == "qemu", comm: hostComm(), cannot: cannot}
	}
	return []subject{far("proxmox over ssh", "lxc", cannot{pause: true}), far("proxmox VM over ssh", "qemu", cannot{exec: true})}
}

// Over ssh, too: who stopped it, whose lock it is, what the last backup was; two processes a list and one connection.
func TestProxmoxOverSSH(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root")
	for _, kind := range []string{"lxc", "qemu"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			y := newFarProxmoxYard(kind)(t).(*farProxmoxYard)
			for _, name := range []string{"web1", "web2", "web3"} {
				y.Make(name, made{})
				y.Run(name)
			}
			i, w := y.open(t, 0)
			y.cheap(t, i, w)
			y.stopsThere(t, i)
			y.locksThere(t, i)
			y.keepsThere(t, i, w)
			y.loses(t, i)
		})
	}
}

func (y *farProxmoxYard) cheap(t *testing.T, i *engine.Instance, w *watched) {
	list(t, i)
	for range 3 {
		before := w.reads.Load()
		l := list(t, i)
		if n := w.reads.Load() - before; n != 2 || len(l.Containers) != 3 {
			t.Errorf("a list took %d processes: %+v", n, l)
		}
	}
	if y.sshd.Logins() != 1 {
		t.Errorf("%d logins", y.sshd.Logins())
	}
}

func (y *farProxmoxYard) stopsThere(t *testing.T, i *engine.Instance) {
	id := y.ID("web1")
	y.tool("shutdown", "web1")
	for how, s := range map[string]health.Sighting{"look": look(t, i, id), "another agent": look(t, y.Open(t), id)} {
		if s.State != health.Stopped || !strings.HasPrefix(s.OnPurpose, y.task("shutdown")+" by root@pam") {
			t.Errorf("%s: %+v", how, s)
		}
	}
	for _, verb := range []health.Verb{health.VerbStart, health.VerbStop} {
		if a := i.Do(context.Background(), verb, id, 10*time.Second); a.Err != "" || a.Transcript.Remote == "" {
			t.Fatalf("%+v", a)
		}
	}
	if s := look(t, i, id); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("we stopped it: %+v", s)
	}
	y.Run("web1")
	y.Die("web1")
	eventually(t, "it is dead", func() bool { return look(t, i, id).State == health.Stopped })
	if s := look(t, i, id); s.OnPurpose != "" {
		t.Errorf("it died: %+v", s)
	}
	y.h.WriteFile(strings.ReplaceAll(map[string]string{"lxc": "/var/lib/lxc/ID/reboot", "qemu": "/var/run/qemu-server/ID.reboot"}[y.kind], "ID", id), "")
	if s := look(t, i, id); s.State != health.Busy {
		t.Errorf("Proxmox is starting it again: %+v", s)
	}
	y.h.PVERunning(y.task("stop"), y.ID("web2"), "alice@pve!token", time.Now(), 1<<22, "OK") // in no index yet
	y.Die("web2")
	eventually(t, "it is dead", func() bool { return look(t, i, y.ID("web2")).State == health.Stopped })
	if s := look(t, i, y.ID("web2")); !strings.HasPrefix(s.OnPurpose, y.task("stop")+" by alice@pve!token") {
		t.Errorf("a stop that has just ended: %+v", s)
	}
	y.h.WriteFile("/var/log/pve/tasks/active", "")
}

func (y *farProxmoxYard) locksThere(t *testing.T, i *engine.Instance) {
	id := y.ID("web3")
	y.lock("web3", "backup")
	if s := look(t, i, id); s.Lock == nil || !s.Lock.Dead {
		t.Errorf("nobody holds it: %+v", s.Lock)
	}
	end := y.atWork("vzdump", id)
	for how, s := range map[string]health.Sighting{"list": find(t, list(t, i), id), "look": look(t, i, id)} {
		if s.Lock == nil || s.Lock.Dead || s.Lock.Operation != "backup" || time.Since(s.Lock.Since) > time.Minute {
			t.Errorf("%s: a task holds it: %+v", how, s.Lock)
		}
	}
	end()
	y.h.RemoveFile("/var/log/pve/tasks/active")
	if s := look(t, i, id); s.Lock == nil || s.Lock.Dead {
		t.Errorf("the running tasks are not known: %+v", s.Lock)
	}
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	if a := i.Do(context.Background(), health.VerbUnlock, id, 0); a.Err != "" || look(t, i, id).Lock != nil {
		t.Errorf("%+v", a)
	}
	y.change("web3", func(k *scripted.Container) { k.Keys["hastate"] = "started" })
	if s := find(t, list(t, i), id); s.Supervisor != "Proxmox HA (started)" {
		t.Errorf("%+v", s)
	}
}

func (y *farProxmoxYard) keepsThere(t *testing.T, i *engine.Instance, w *watched) {
	id := y.ID("web3")
	if b, err := i.LastBackup(context.Background(), id); err != nil || b != (engine.Backup{}) {
		t.Errorf("there is none: %+v %v", b, err)
	}
	began := time.Now().Truncate(time.Second)
	if a := i.Do(context.Background(), health.VerbBackup, id, time.Minute); a.Err != "" {
		t.Errorf("%+v", a)
	}
	if b, err := i.LastBackup(context.Background(), id); err != nil || !b.OK || b.At.Before(began) || b.At.After(time.Now()) || !strings.Contains(b.Said, "vzdump-"+y.kind+"-"+id) {
		t.Errorf("%+v %v", b, err)
	}
	shown := map[string]string{"proxmox-status.json": `"vmid":` + id, "guest.conf": "smbios1", "vzdump.log": "Finished Backup", "tasks-index.txt": "UPID:pve1:", "task-start.log": "TASK OK"}
	if y.kind == "lxc" {
		shown["guest.conf"] = "hostname: web3"
	}
	for _, s := range i.Evidence(id, health.Sighting{}) {
		if s.Path != "" || s.Root != "" || len(s.Argv) == 0 {
			t.Errorf("evidence from a file of this host: %+v", s)
		}
		if want := shown[s.Name]; want != "" {
			delete(shown, s.Name)
			if text := w.Read(context.Background(), hostexec.Command{Argv: s.Argv}).Stdout; !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s shows %q, want %q", s.Name, text, want)
			}
		}
	}
	if len(shown) != 0 {
		t.Errorf("there was no %v", shown)
	}
}

// loses: neither a pmxcfs that is down nor one that hangs, nor a lost connection, is an observation.
func (y *farProxmoxYard) loses(t *testing.T, i *engine.Instance) {
	id := y.ID("web3")
	y.h.RemoveFile("/etc/pve/.vmlist")
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is pve-cluster running?") {
		t.Errorf("%+v %v", l, err)
	}
	y.h.PVEWrite()
	short, _ := y.open(t, 3*time.Second)
	list(t, i)
	wake := rig.HangFolder(t, y.h.File("/etc/pve"))
	if l, err := short.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "pmxcfs hangs") {
		t.Errorf("%+v %v", l, err)
	}
	wake()
	y.sshd.Stop()
	y.sshd.Cut()
	if s, err := i.Look(context.Background(), id, health.Process{}); err == nil {
		t.Errorf("%+v", s)
	}
	y.sshd.Start()
	eventually(t, "it lists again", func() bool {
		l, err := i.List(context.Background(), nil)
		return err == nil && len(l.Containers) == 3 && find(t, l, id).State == health.Running
	})
	if !i.Far() || len(i.Blind()) < 8 || i.Autostarter() != "" {
		t.Errorf("%+v", i.Blind())
	}
}

package engine_test

import (
	"context"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// lxdYard is the real daemon of Debian's LXD.
type lxdYard struct {
	*rig.LXD
	t *testing.T
}

func newLXDYard(t *testing.T) yard {
	rig.Require(t, "root", "lxd", "busybox")
	return &lxdYard{rig.NewLXD(t), t}
}

func (y *lxdYard) With(t *testing.T) yard { return &lxdYard{y.LXD.With(t), t} }
func (y *lxdYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "lxd", Path: y.Path(), Bin: "/usr/bin"})
}
func (y *lxdYard) ID(name string) string      { return name }
func (y *lxdYard) Die(name string)            { y.Kill9(name) }
func (y *lxdYard) Addrs(name string) []string { return []string{y.Addr(name).String()} }

// Run waits for the address, which init sets.
func (y *lxdYard) Run(name string) {
	y.Start(name)
	y.Await(name)
}

// Await waits for the web server: busybox's init is up before it heeds signals.
func (y *lxdYard) Await(name string) {
	if _, err := rig.WaitHTTP(context.Background(), "http://"+y.Addr(name).String()+"/", 20*time.Second); err != nil {
		y.t.Fatal(err)
	}
}

func (y *lxdYard) Make(name string, o made) {
	options := []string{"-c", "boot.autostart=false"}
	if o.autostart {
		options = []string{"-c", "boot.autostart=true"}
	}
	if o.failing {
		options = append(options, "-c", "raw.lxc=lxc.init.cmd = /bin/nosuch")
	}
	y.LXD.Make(name, options...)
}

// lxdOpen is an instance whose processes are counted.
func lxdOpen(t *testing.T, r *rig.LXD, timeout time.Duration) (*engine.Instance, *watched) {
	t.Helper()
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	i, err := engine.Open(engine.Spec{Engine: "lxd", Path: r.Path(), Bin: "/usr/bin", Timeout: timeout, RunDir: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

// farLXDYard is LXD on "another" host.
type farLXDYard struct {
	*lxdYard
	sshd *rig.SSHD
}

func newFarLXDYard(t *testing.T) yard {
	rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
	return &farLXDYard{newLXDYard(t).(*lxdYard), rig.NewSSHD(t)}
}

func (y *farLXDYard) With(t *testing.T) yard {
	return &farLXDYard{y.lxdYard.With(t).(*lxdYard), y.sshd}
}
func (y *farLXDYard) InitPID(string) int { return 0 }
func (y *farLXDYard) Open(t *testing.T) *engine.Instance {
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "lxd", Path: y.Path(), Bin: "/usr/bin"})
	return i
}

package engine_test

import (
	"os"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// libvirtYard is a real libvirtd of its own, with LXC containers or with VMs under TCG.
type libvirtYard struct {
	*rig.Libvirt
	t *testing.T
}

func newLibvirtYard(driver string) func(*testing.T) yard {
	return func(t *testing.T) yard { return &libvirtYard{libvirtRig(t, driver), t} }
}

func libvirtRig(t *testing.T, driver string) *rig.Libvirt {
	t.Helper()
	needs := []string{"root", "busybox", "libvirt"}
	if driver == "qemu" {
		needs = append(needs, "vm")
	}
	rig.Require(t, needs...)
	return rig.NewLibvirt(t, driver)
}

func (y *libvirtYard) With(t *testing.T) yard { return &libvirtYard{y.Libvirt.With(t), t} }

func (y *libvirtYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "libvirt", Instance: y.Driver(), URI: y.URI(), Root: y.Root()})
}

func (y *libvirtYard) ID(name string) string      { return name }
func (y *libvirtYard) Die(name string)            { y.Kill9(name) }
func (y *libvirtYard) Await(name string)          { y.WaitHTTP(name, time.Minute) }
func (y *libvirtYard) Addrs(name string) []string { return []string{y.Addr(name).String()} }

// Run waits until the guest has been spoken to: libvirt tells the addresses that the host knows.
func (y *libvirtYard) Run(name string) { y.Start(name); y.Await(name) }

// Make defines a domain. A broken one is a file that the daemon cannot read and so never lists.
func (y *libvirtYard) Make(name string, o made) {
	if o.broken {
		if err := os.WriteFile(y.Definition(name), []byte("<domain type='lxc'><name>"), 0o600); err != nil {
			y.t.Fatal(err)
		}
		return
	}
	y.Libvirt.Make(name, rig.LibvirtOptions{Autostart: o.autostart, Failing: o.failing})
}

// farLibvirtYard is lxc:/// on "another" host.
type farLibvirtYard struct {
	*libvirtYard
	sshd *rig.SSHD
}

func newFarLibvirtYard(t *testing.T) yard {
	rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
	return &farLibvirtYard{&libvirtYard{libvirtRig(t, "lxc"), t}, rig.NewSSHD(t)}
}

func (y *farLibvirtYard) With(t *testing.T) yard {
	return &farLibvirtYard{y.libvirtYard.With(t).(*libvirtYard), y.sshd}
}
func (y *farLibvirtYard) InitPID(string) int { return 0 }

func (y *farLibvirtYard) Open(t *testing.T) *engine.Instance {
	i, _ := overSSH(t, y.sshd, engine.Spec{Engine: "libvirt", Instance: "far", URI: y.URI()})
	return i
}

// libvirtOpen is an instance whose processes are counted.
func libvirtOpen(t *testing.T, r *rig.Libvirt, timeout time.Duration) (*engine.Instance, *watched) {
	t.Helper()
	w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
	i, err := engine.Open(engine.Spec{Engine: "libvirt", URI: r.URI(), Root: r.Root(), Timeout: timeout, RunDir: t.TempDir()}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i, w
}

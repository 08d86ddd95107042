package rig

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Nspawn makes containers of systemd-nspawn on the host it runs on, which must be one of [NewSystemd]: a program is copied
// there and run there. They are on the host's bridge and serve "ok" on port 80. Nothing is cleaned up: the host is not
// kept. Its methods end the test on failure.
type Nspawn struct {
	t TB
	*nspawnHost
}

// nspawnHost is what views of one host share; see [Nspawn.With].
type nspawnHost struct {
	mu    sync.Mutex
	addrs map[string]netip.Addr
}

const nspawnImages = "/var/lib/machines"

// nspawnSettings: busybox's init is asked to power off by another signal than systemd is.
const nspawnSettings = "[Exec]\nPrivateUsers=no\nLinkJournal=no\nKillSignal=SIGUSR2\n[Network]\nBridge=br0\n"

// NewNspawn looks whether this is such a host.
func NewNspawn(t TB) *Nspawn {
	t.Helper()
	n := &Nspawn{t: t, nspawnHost: &nspawnHost{addrs: map[string]netip.Addr{}}}
	for _, path := range []string{"/run/systemd/system", "/srv/rootfs", "/usr/bin/systemd-nspawn"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("rig: this is no host of a systemd rig: %v", err)
		}
	}
	return n
}

// With is the same, ending another test on failure.
func (n *Nspawn) With(t TB) *Nspawn { return &Nspawn{t: t, nspawnHost: n.nspawnHost} }

func (n *Nspawn) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("rig: %v", err)
	}
}

// Run runs a command and gives what it printed.
func (n *Nspawn) Run(argv ...string) string {
	n.t.Helper()
	out, err := run(slow, argv...)
	n.must(err)
	return strings.TrimSpace(out)
}

// Root is the machine's root folder.
func (n *Nspawn) Root(name string) string { return filepath.Join(nspawnImages, name) }

func (n *Nspawn) unit(name string) string { return "systemd-nspawn@" + name + ".service" }

// Make defines a machine, which does not run.
func (n *Nspawn) Make(name string) {
	n.t.Helper()
	n.mu.Lock()
	if _, had := n.addrs[name]; !had {
		bridge, err := net.InterfaceByName("br0")
		n.must(err)
		all, err := bridge.Addrs()
		n.must(err)
		p, err := netip.ParsePrefix(all[0].String())
		n.must(err)
		ip := p.Addr().As4()
		ip[3] = n.next()
		n.addrs[name] = netip.AddrFrom4(ip)
	}
	n.mu.Unlock()
	n.must(os.MkdirAll(nspawnImages, 0o700))
	n.must(os.MkdirAll("/etc/systemd/nspawn", 0o755))
	n.must(copyTree("/srv/rootfs", n.Root(name)))
	n.must(writeFiles(n.Root(name), map[string]string{
		"etc/os-release": "ID=bb\n",
		"etc/inittab":    "::sysinit:/etc/setup\n::respawn:/bin/httpd -f -p 80 -h /www\n",
		"etc/setup":      fmt.Sprintf("#!/bin/sh\nifconfig lo 127.0.0.1 up\nifconfig host0 %s netmask 255.255.255.0 up\n", n.Addr(name)),
	}))
	n.must(os.Chmod(filepath.Join(n.Root(name), "etc/setup"), 0o755))
	n.must(writeFiles("/etc/systemd/nspawn", map[string]string{name + ".nspawn": nspawnSettings}))
}

// next is the last byte of a new address, of all that are made on this host.
func (n *Nspawn) next() byte {
	n.t.Helper()
	const used = "/run/atalaya-rig-addresses"
	text, err := os.ReadFile(used)
	if err != nil && !os.IsNotExist(err) {
		n.must(err)
	}
	n.must(os.WriteFile(used, append(text, '.'), 0o600))
	return byte(30 + len(text))
}

// Break gives its unit a setting that systemd refuses.
func (n *Nspawn) Break(name string) {
	n.t.Helper()
	n.DropIn(name, "[Service]\nExecStart=\n")
}

// DropIn adds to its unit.
func (n *Nspawn) DropIn(name, text string) {
	n.t.Helper()
	dir := "/etc/systemd/system/" + n.unit(name) + ".d"
	n.must(os.MkdirAll(dir, 0o755))
	n.must(writeFiles(dir, map[string]string{"rig.conf": text}))
	n.Run("systemctl", "daemon-reload")
}

// Settings replaces its .nspawn file.
func (n *Nspawn) Settings(name, text string) {
	n.t.Helper()
	n.must(writeFiles("/etc/systemd/nspawn", map[string]string{name + ".nspawn": text}))
}

// Prepend has its init run shell commands before all else.
func (n *Nspawn) Prepend(name, script string) {
	n.t.Helper()
	path := filepath.Join(n.Root(name), "etc/setup")
	b, err := os.ReadFile(path)
	n.must(err)
	head, rest, _ := strings.Cut(string(b), "\n")
	n.must(os.WriteFile(path, []byte(head+"\n"+script+rest), 0o755))
}

// MonitorPID is the pid of its systemd-nspawn.
func (n *Nspawn) MonitorPID(name string) int {
	n.t.Helper()
	pid, err := strconv.Atoi(n.Run("systemctl", "show", "--property=MainPID", "--value", n.unit(name)))
	n.must(err)
	return pid
}

// Attempt runs a command that may fail.
func (n *Nspawn) Attempt(argv ...string) (string, error) { return run(quick, argv...) }

// Enable has it started at boot.
func (n *Nspawn) Enable(name string) {
	n.t.Helper()
	n.Run("systemctl", "enable", "--quiet", n.unit(name))
}

// Start starts it and returns when it runs.
func (n *Nspawn) Start(name string) { n.t.Helper(); n.Run("systemctl", "start", n.unit(name)) }

// Freeze stops every process of the machine.
func (n *Nspawn) Freeze(name string) { n.t.Helper(); n.Run("systemctl", "freeze", n.unit(name)) }

// Thaw ends [Nspawn.Freeze].
func (n *Nspawn) Thaw(name string) { n.t.Helper(); n.Run("systemctl", "thaw", n.unit(name)) }

// Remove ends a machine and deletes it, as machinectl remove does, with its settings.
func (n *Nspawn) Remove(name string) {
	n.t.Helper()
	_, _ = run(slow, "systemctl", "kill", "--signal=SIGKILL", n.unit(name))
	poll(quick, func() bool {
		out, _ := run(quick, "systemctl", "is-active", n.unit(name))
		return !strings.HasPrefix(out, "active")
	})
	_, _ = run(quick, "systemctl", "disable", "--quiet", n.unit(name))
	n.must(os.RemoveAll(n.Root(name)))
	n.must(os.RemoveAll("/etc/systemd/system/" + n.unit(name) + ".d"))
	_ = os.Remove("/etc/systemd/nspawn/" + name + ".nspawn")
	n.Run("systemctl", "daemon-reload")
	_, _ = run(quick, "systemctl", "reset-failed", n.unit(name))
}

// Addr is the machine's address.
func (n *Nspawn) Addr(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addrs[name]
}

// InitPID is the pid of its init as machined has it.
func (n *Nspawn) InitPID(name string) int {
	n.t.Helper()
	pid, err := strconv.Atoi(n.Run("machinectl", "show", "--property=Leader", "--value", name))
	n.must(err)
	return pid
}

// Kill9 kills its init and tells the pid.
func (n *Nspawn) Kill9(name string) int {
	n.t.Helper()
	pid := n.InitPID(name)
	n.must(syscall.Kill(pid, syscall.SIGKILL))
	return pid
}

// Inside runs a command in the machine.
func (n *Nspawn) Inside(name string, argv ...string) {
	n.t.Helper()
	_, _ = run(quick, append([]string{"nsenter", "--all", "--target=" + strconv.Itoa(n.InitPID(name)), "--"}, argv...)...)
}

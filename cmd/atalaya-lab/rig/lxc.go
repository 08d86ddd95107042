package rig

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LXCOptions say what an LXC rig holds. The zero value is an empty lxcpath with its
// bridge; containers may be added later.
type LXCOptions struct {
	N           int      // containers made at once, web1 to webN; at most 240 with those added later
	NoStart     bool     // define them only
	NoAutostart bool     // leave out lxc.start.auto = 1, by which an engine says "wanted"
	RandomMAC   bool     // no fixed hwaddr: every start gets a new MAC, as most configurations do
	OwnRoot     bool     // a copy of the root for each container, for tests that alter it; else all share one
	Config      []string // further lines of each config; $NAME and $DIR stand for the container and its folder
}

// LXC is one real LXC installation: an lxcpath, a bridge and containers that serve
// "ok" on port 80. Its methods end the test on failure; call them from the test's
// own goroutine.
type LXC struct {
	t TB
	*installation
}

// installation is what views of one rig share; see [LXC.With].
type installation struct {
	o     LXCOptions
	slot  *slot
	names []string
	addrs map[string]netip.Addr
	next  int   // host part of the next address
	ports []int // of the deleted bridge
}

// NewLXC makes the installation and, unless told otherwise, starts its containers.
// Everything goes with the test, also when it fails.
func NewLXC(t TB, o LXCOptions) *LXC {
	t.Helper()
	if _, err := Sweep(); err != nil {
		t.Logf("rig: sweep leftovers: %v", err)
	}
	s, err := takeSlot()
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	l := &LXC{t: t, installation: &installation{o: o, slot: s, addrs: map[string]netip.Addr{}, next: 2}}
	t.Cleanup(l.clean)
	l.must(os.Mkdir(l.Path(), 0o755))
	l.must(makeRootfs(l.sharedRoot()))
	l.must(makeBridge(l.Bridge(), netip.PrefixFrom(l.Gateway(), 24)))
	for i := range o.N {
		l.Add(fmt.Sprintf("web%d", i+1))
	}
	if !o.NoStart {
		for _, name := range l.names {
			l.Start(name)
		}
	}
	return l
}

// With is the same rig, ending another test on failure: a subtest's.
func (l *LXC) With(t TB) *LXC { return &LXC{t: t, installation: l.installation} }

func (l *LXC) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("rig: %v", err)
	}
}

func (l *LXC) clean() {
	if err := sweepFolder(l.slot.dir); err != nil {
		l.t.Logf("rig: clean up: %v", err)
	}
	if err := deleteBridge(l.Bridge()); err != nil {
		l.t.Logf("rig: clean up: %v", err)
	}
	l.slot.release()
}

// Path is the lxcpath.
func (l *LXC) Path() string { return filepath.Join(l.slot.dir, "lxc") }

// Scratch is a folder beside the lxcpath that goes with the rig.
func (l *LXC) Scratch() string { return l.slot.dir }

func (l *LXC) sharedRoot() string { return filepath.Join(l.slot.dir, "rootfs") }

// Bridge is the name of the rig's own bridge.
func (l *LXC) Bridge() string { return l.slot.bridge() }

// Gateway is the address of the bridge, hence of the host towards the containers.
func (l *LXC) Gateway() netip.Addr { return l.slot.addr(1) }

// Subnet is the rig's own /24.
func (l *LXC) Subnet() netip.Prefix { return l.slot.subnet() }

// Names are the containers defined now, in the order they were added.
func (l *LXC) Names() []string { return slices.Clone(l.names) }

// Name is the i-th container, counted from 0.
func (l *LXC) Name(i int) string { return l.names[i] }

// Addr is the container's address; it stays the same over restarts.
func (l *LXC) Addr(name string) netip.Addr {
	a, ok := l.addrs[name]
	if !ok {
		l.t.Fatalf("rig: no container %q", name)
	}
	return a
}

// Dir is the container's folder in the lxcpath.
func (l *LXC) Dir(name string) string { return filepath.Join(l.Path(), name) }

// ConfigFile is the container's configuration, for tests that break it.
func (l *LXC) ConfigFile(name string) string { return filepath.Join(l.Dir(name), "config") }

// Rootfs is the container's root: its own with OwnRoot, else the shared one.
func (l *LXC) Rootfs(name string) string {
	if l.o.OwnRoot {
		return filepath.Join(l.Dir(name), "rootfs")
	}
	return l.sharedRoot()
}

// Add defines a further container and does not start it. Extra lines are appended
// to its configuration after those of the options.
func (l *LXC) Add(name string, extra ...string) {
	l.t.Helper()
	if l.next > 241 {
		l.t.Fatalf("rig: add container %q: the subnet %s is full", name, l.Subnet())
	}
	addr, had := l.addrs[name]
	if !had {
		addr = l.slot.addr(l.next)
		l.next++
	}
	l.must(os.MkdirAll(l.Dir(name), 0o755))
	if l.o.OwnRoot {
		l.must(copyTree(l.sharedRoot(), l.Rootfs(name)))
	}
	l.addrs[name] = addr
	l.must(os.WriteFile(l.ConfigFile(name), []byte(l.config(name, addr, extra)), 0o644))
	if !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
}

// Remove deletes the container's definition, as rm -rf of its folder does; what runs goes on running.
func (l *LXC) Remove(name string) {
	l.t.Helper()
	l.must(os.RemoveAll(l.Dir(name)))
	l.names = slices.DeleteFunc(l.names, func(n string) bool { return n == name })
}

func (l *LXC) config(name string, addr netip.Addr, extra []string) string {
	lines := []string{
		"lxc.uts.name = " + name,
		"lxc.rootfs.path = dir:" + l.Rootfs(name),
		"lxc.apparmor.profile = unconfined",
		"lxc.autodev = 1",
		"lxc.tty.max = 0",
		"lxc.pty.max = 8",
		"lxc.signal.halt = SIGUSR1",
		"lxc.mount.auto = proc:mixed sys:ro",
		"lxc.net.0.type = veth",
		"lxc.net.0.link = " + l.Bridge(),
		"lxc.net.0.flags = up",
		"lxc.net.0.name = eth0",
		"lxc.net.0.ipv4.address = " + addr.String() + "/24",
	}
	if !l.o.RandomMAC {
		a := addr.As4()
		lines = append(lines, fmt.Sprintf("lxc.net.0.hwaddr = 00:16:3e:d5:%02x:%02x", a[2], a[3]))
	}
	if !l.o.NoAutostart {
		lines = append(lines, "lxc.start.auto = 1")
	}
	text := strings.NewReplacer("$NAME", name, "$DIR", l.Dir(name))
	for _, line := range append(slices.Clone(l.o.Config), extra...) {
		lines = append(lines, text.Replace(line))
	}
	return strings.Join(lines, "\n") + "\n"
}

// DeleteBridge takes the bridge away, as a broken network configuration does. What
// runs keeps its interface without a way out; what is started now fails to.
func (l *LXC) DeleteBridge() {
	l.t.Helper()
	ports, err := portsOf(l.Bridge())
	l.must(err)
	l.ports = ports
	l.must(deleteBridge(l.Bridge()))
}

// RestoreBridge brings back the bridge with its address and reattaches the
// interfaces that hung on it and still exist, so the containers that kept running
// serve again.
func (l *LXC) RestoreBridge() {
	l.t.Helper()
	l.must(makeBridge(l.Bridge(), netip.PrefixFrom(l.Gateway(), 24)))
	l.must(attach(l.Bridge(), l.ports))
}

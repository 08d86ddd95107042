package rig

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Add defines a nested container and does not start it; see [Systemd.MustExec] with lxc-start.
func (s *Systemd) Add(name string, extra ...string) {
	s.outer.t.Helper()
	addr := s.outer.slot.addr(firstGuest + len(s.addrs))
	dir := "/var/lib/lxc/" + name
	lines := []string{
		"lxc.uts.name = " + name,
		"lxc.rootfs.path = dir:/srv/rootfs",
		"lxc.apparmor.profile = unconfined",
		"lxc.autodev = 1",
		"lxc.tty.max = 0",
		"lxc.pty.max = 8",
		"lxc.signal.halt = SIGUSR1",
		"lxc.mount.auto = proc:mixed sys:ro",
		"lxc.net.0.type = veth",
		"lxc.net.0.link = br0",
		"lxc.net.0.flags = up",
		"lxc.net.0.name = eth0",
		"lxc.net.0.ipv4.address = " + addr.String() + "/24",
		fmt.Sprintf("lxc.net.0.hwaddr = 00:16:3e:d6:%02x:%02x", addr.As4()[2], addr.As4()[3]),
		"lxc.start.auto = 1",
	}
	text := strings.NewReplacer("$NAME", name, "$DIR", dir)
	for _, line := range append(slices.Clone(s.o.Config), extra...) {
		lines = append(lines, text.Replace(line))
	}
	s.outer.must(os.MkdirAll(filepath.Join(s.Root(), dir), 0o755))
	s.Write(dir+"/config", strings.Join(lines, "\n")+"\n")
	s.names = append(s.names, name)
	s.addrs[name] = addr
}

// Names are the nested containers.
func (s *Systemd) Names() []string { return slices.Clone(s.names) }

// Addr is the nested container's address, reachable from this machine too.
func (s *Systemd) Addr(name string) netip.Addr { return s.addrs[name] }

// URL is where the nested container's web server answers, from this machine too.
func (s *Systemd) URL(name string) string { return "http://" + s.addrs[name].String() + "/" }

// WaitHTTP asks the nested container's web server from this machine until it answers 200.
func (s *Systemd) WaitHTTP(name string, within time.Duration) time.Time {
	s.outer.t.Helper()
	l := s.outer
	l.addrs[name] = s.addrs[name]
	return l.WaitHTTP(name, within)
}

// State is the nested engine's word.
func (s *Systemd) State(name string) string {
	s.outer.t.Helper()
	return strings.TrimSpace(s.MustExec("lxc-info", "-n", name, "-sH"))
}

// WaitState waits until the nested engine says so.
func (s *Systemd) WaitState(name, state string, within time.Duration) {
	s.outer.t.Helper()
	var last string
	if !poll(within, func() bool { last = s.State(name); return last == state }) {
		s.outer.t.Fatalf("rig: nested container %q is %s, not %s, after %s", name, last, state, within)
	}
}

// GuestInit is the pid of the nested container's init, on this machine and in the host.
func (s *Systemd) GuestInit(name string) (machine, host int) {
	s.outer.t.Helper()
	out := strings.TrimSpace(s.MustExec("lxc-info", "-n", name, "-pH"))
	host, err := strconv.Atoi(out)
	if err != nil {
		s.outer.t.Fatalf("rig: nested container %q has no init (it does not run): %q", name, out)
	}
	machine = s.MachinePID(host)
	return machine, host
}

// MachinePID translates a pid of the host to this machine's.
func (s *Systemd) MachinePID(host int) int {
	s.outer.t.Helper()
	init := s.InitPID()
	all := processes()
	parents := map[int]int{}
	for _, p := range all {
		parents[p.pid] = p.ppid
	}
	for _, p := range all {
		pids := namespacePIDs(p.pid)
		if len(pids) >= 2 && pids[1] == host && descends(p.pid, init, parents) {
			return p.pid
		}
	}
	s.outer.t.Fatalf("rig: the systemd host has no process %d", host)
	return 0
}

// Kill9 kills the nested container's init from this machine and tells its pid here
// and the moment just before the signal.
func (s *Systemd) Kill9(name string) (pid int, at time.Time) {
	s.outer.t.Helper()
	pid, _ = s.GuestInit(name)
	at = time.Now()
	s.outer.must(syscall.Kill(pid, syscall.SIGKILL))
	return pid, at
}

// namespacePIDs are the process's pids from the outermost namespace we see inwards.
func namespacePIDs(pid int) (pids []int) {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		for field := range strings.FieldsSeq(rest) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

func descends(pid, ancestor int, parents map[int]int) bool {
	for ; pid > 1; pid = parents[pid] {
		if pid == ancestor {
			return true
		}
	}
	return false
}

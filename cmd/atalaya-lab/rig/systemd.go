package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// SystemdOptions say what the host with systemd holds.
type SystemdOptions struct {
	N          int      // nested LXC containers, web1 to webN in its /var/lib/lxc; started unless NoStart
	NoStart    bool     // define the nested containers only
	LXCService bool     // enable lxc.service, which starts lxc.start.auto containers at boot and stops them at shutdown
	Config     []string // further lines of every nested config; $NAME and $DIR as in [LXCOptions]
}

// Systemd is a small host: Debian 12 with systemd as PID 1 in an LXC container, a
// pure cgroup v2 tree, its own bridge br0 and real LXC containers nested in it. The
// nested containers are on the rig's subnet, so this machine reaches them directly.
// Its methods end the test on failure.
type Systemd struct {
	outer *LXC
	*nest
}

// nest is what views of one host share; see [Systemd.With].
type nest struct {
	o     SystemdOptions
	names []string
	addrs map[string]netip.Addr
}

const (
	hostName   = "tower" // the one container of the outer rig
	hostOctet  = 250     // the host's own address in the rig's subnet
	firstGuest = 10
)

// NewSystemd boots the host and waits until systemd says "running". Needs "root",
// "lxc", "busybox" and "debootstrap"; the first rig on a machine makes a cached root.
func NewSystemd(t TB, o SystemdOptions) *Systemd {
	t.Helper()
	base, err := baseRoot(t)
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	s := &Systemd{outer: NewLXC(t, LXCOptions{}), nest: &nest{o: o, addrs: map[string]netip.Addr{}}}
	l := s.outer
	l.must(copyTree(base, s.Root()))
	l.must(s.furnish())
	l.must(os.Mkdir(l.Dir(hostName), 0o755))
	l.must(os.WriteFile(l.ConfigFile(hostName), []byte(s.config()), 0o600))
	for i := range o.N {
		s.Add(fmt.Sprintf("web%d", i+1))
	}
	s.Boot()
	if !o.NoStart {
		for _, name := range s.names {
			s.MustExec("lxc-start", "-n", name)
		}
	}
	return s
}

// With is the same host, ending another test on failure: a subtest's.
func (s *Systemd) With(t TB) *Systemd { return &Systemd{outer: s.outer.With(t), nest: s.nest} }

// config is that of the host itself as a container of the machine.
func (s *Systemd) config() string {
	return strings.Join([]string{
		"lxc.uts.name = " + hostName,
		"lxc.rootfs.path = dir:" + s.Root(),
		"lxc.apparmor.profile = unconfined",
		"lxc.autodev = 1",
		"lxc.tty.max = 0",
		"lxc.pty.max = 256",
		"lxc.signal.halt = SIGRTMIN+3",
		"lxc.mount.auto = proc:rw sys:rw cgroup:rw",
		"lxc.init.cmd = /sbin/v2init",
		"lxc.net.0.type = veth",
		"lxc.net.0.link = " + s.outer.Bridge(),
		"lxc.net.0.flags = up",
		"lxc.net.0.name = eth0",
		"lxc.environment = container=lxc",
	}, "\n") + "\n"
}

// furnish puts the bridge's unit and the nested containers' root into the host.
func (s *Systemd) furnish() error {
	units := filepath.Join(s.Root(), "etc/systemd/system")
	bridge := `[Unit]
Description=Bridge br0 for nested containers, eth0 enslaved
DefaultDependencies=no
Before=network.target lxc.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip link add br0 address 00:16:3e:d7:00:01 type bridge
ExecStart=/sbin/ip address add ` + s.outer.slot.addr(hostOctet).String() + `/24 dev br0
ExecStart=/sbin/ip link set eth0 master br0
ExecStart=/sbin/ip link set lo up
ExecStart=/sbin/ip link set eth0 up
ExecStart=/sbin/ip link set br0 up
`
	if err := writeFiles(units, map[string]string{"lab-bridge.service": bridge}); err != nil {
		return err
	}
	wants := filepath.Join(units, "multi-user.target.wants")
	enabled := []string{"lab-bridge.service"}
	if s.o.LXCService {
		enabled = append(enabled, "lxc.service")
	}
	for _, unit := range enabled {
		target := "/lib/systemd/system/" + unit
		if unit == "lab-bridge.service" {
			target = "/etc/systemd/system/" + unit
		}
		if err := os.Symlink(target, filepath.Join(wants, unit)); err != nil {
			return fmt.Errorf("enable %q: %w", unit, err)
		}
	}
	files := map[string]string{
		"etc/hostname": hostName + "\n",
		// lxc.service waits half a minute for the bridge that is named here.
		"etc/lxc/default.conf": "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n",
	}
	if err := writeFiles(s.Root(), files); err != nil {
		return err
	}
	return makeRootfs(filepath.Join(s.Root(), "srv/rootfs"))
}

// Root is the host's root folder as this machine sees it.
func (s *Systemd) Root() string { return filepath.Join(s.outer.Scratch(), "host") }

// InitPID is the pid of the host's systemd on this machine.
func (s *Systemd) InitPID() int { s.outer.t.Helper(); return s.outer.InitPID(hostName) }

// Boot starts the host and waits until systemd says that it runs.
func (s *Systemd) Boot() {
	s.outer.t.Helper()
	s.outer.Start(hostName)
	var last string
	ok := poll(2*time.Minute, func() bool {
		last = strings.TrimSpace(s.Exec("systemctl", "is-system-running").Stdout)
		return last == "running" || last == "degraded"
	})
	if !ok || last == "degraded" {
		failed := s.Exec("systemctl", "--no-pager", "--failed").Stdout
		s.outer.t.Fatalf("rig: the systemd host is %q, not running:\n%s", last, failed)
	}
}

// Poweroff runs systemctl poweroff in the host and waits until it is down; [Systemd.Boot] starts it again.
func (s *Systemd) Poweroff() {
	s.outer.t.Helper()
	s.MustExec("systemctl", "poweroff", "--no-wall")
	s.WaitDown(2 * time.Minute)
}

// WaitDown waits until the host is down.
func (s *Systemd) WaitDown(within time.Duration) {
	s.outer.t.Helper()
	s.outer.WaitState(hostName, "STOPPED", within)
}

// Ran is what a command inside the host said.
type Ran struct {
	Stdout, Stderr string
	Exit           int // -1: it could not be run or did not end in time
	Took           time.Duration
}

// Exec runs a command in the host, for a minute at most, with nothing of this
// machine's environment. It is not in a unit: as by a person in a shell.
func (s *Systemd) Exec(argv ...string) Ran { return s.ExecFor(time.Minute, argv...) }

// ExecFor is [Systemd.Exec] of what may take longer.
func (s *Systemd) ExecFor(limit time.Duration, argv ...string) Ran {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	head := []string{"-P", s.outer.Path(), "-n", hostName, "--clear-env",
		"-v", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "-v", "HOME=/root", "--"}
	cmd := exec.CommandContext(ctx, "lxc-attach", append(head, argv...)...)
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	started := time.Now()
	err := cmd.Run()
	r := Ran{Stdout: out.String(), Stderr: errOut.String(), Took: time.Since(started)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Exit = exit.ExitCode()
	case err != nil:
		r.Exit = -1
		r.Stderr += err.Error()
	}
	return r
}

// MustExec is [Systemd.Exec] of a command that must succeed; it gives the standard output.
func (s *Systemd) MustExec(argv ...string) string {
	s.outer.t.Helper()
	r := s.Exec(argv...)
	if r.Exit != 0 {
		s.outer.t.Fatalf("rig: in the systemd host: %s: exit %d\n%s%s", strings.Join(argv, " "), r.Exit, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// CopyIn copies a file of this machine to a path in the host, with its mode.
func (s *Systemd) CopyIn(file, path string) {
	s.outer.t.Helper()
	info, err := os.Stat(file)
	s.outer.must(err)
	to := filepath.Join(s.Root(), path)
	s.outer.must(os.MkdirAll(filepath.Dir(to), 0o755))
	s.outer.must(copyFile(file, to, info.Mode().Perm()))
}

// Write puts text into a file of the host.
func (s *Systemd) Write(path, text string) {
	s.outer.t.Helper()
	to := filepath.Join(s.Root(), path)
	s.outer.must(os.MkdirAll(filepath.Dir(to), 0o755))
	s.outer.must(writeFiles(filepath.Dir(to), map[string]string{filepath.Base(to): text}))
}

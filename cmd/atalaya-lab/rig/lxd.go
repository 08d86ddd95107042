package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// LXD is one daemon of Debian's LXD in a folder of its own, with a bridge and an image made from busybox whose containers
// serve "ok" on port 80. Names may be PROJECT_NAME, as LXD itself calls what is not in the project "default". Its methods
// end the test on failure; call them from the test's own goroutine.
type LXD struct {
	t TB
	*lxdInstallation
}

// lxdInstallation is what views of one rig share; see [LXD.With].
type lxdInstallation struct {
	slot   *slot
	daemon *daemon
	mu     sync.Mutex
	addrs  map[string]netip.Addr
}

const lxdImage = "bb"

// lxdSetup gives eth0 the address that LXD puts into the environment of init.
const lxdSetup = "#!/bin/sh\nifconfig lo 127.0.0.1 up\n[ -z \"$IP\" ] || ifconfig eth0 $IP netmask 255.255.255.0 up\n"

// NewLXD starts the daemon. It needs root, lxd and busybox; everything goes with the test, also when it fails.
func NewLXD(t TB) *LXD {
	t.Helper()
	if _, err := Sweep(); err != nil {
		t.Logf("rig: sweep leftovers: %v", err)
	}
	s, err := takeSlot()
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	l := &LXD{t: t, lxdInstallation: &lxdInstallation{slot: s, addrs: map[string]netip.Addr{}}}
	t.Cleanup(l.clean)
	l.must(makeBridge(l.Bridge(), netip.PrefixFrom(s.addr(1), 24)))
	l.must(os.MkdirAll(l.Path(), 0o711))
	l.StartDaemon()
	preseed := fmt.Sprintf("storage_pools:\n- name: default\n  driver: dir\nprofiles:\n- name: default\n  devices:\n"+
		"    root: {path: /, pool: default, type: disk}\n    eth0: {type: nic, nictype: bridged, parent: %s}\n", l.Bridge())
	l.must(l.feed(preseed, "/usr/bin/lxd", "init", "--preseed"))
	l.must(l.makeImage())
	return l
}

func (l *LXD) makeImage() error {
	at := filepath.Join(l.slot.dir, "image")
	if err := makeRootfs(filepath.Join(at, "rootfs")); err != nil {
		return err
	}
	setup := filepath.Join(at, "rootfs/etc/setup")
	if err := os.WriteFile(setup, []byte(lxdSetup), 0o755); err != nil {
		return err
	}
	err := writeFiles(at, map[string]string{
		"rootfs/etc/inittab": "::sysinit:/etc/setup\n::respawn:/bin/httpd -f -p 80 -h /www\n",
		"metadata.yaml":      "architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: busybox, description: bb}\n",
	})
	if err != nil {
		return err
	}
	if _, err := run(quick, "tar", "-C", at, "-czf", at+".tar.gz", "metadata.yaml", "rootfs"); err != nil {
		return err
	}
	_, err = l.Try("image", "import", at+".tar.gz", "--alias", lxdImage)
	return err
}

func (l *LXD) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("rig: %v", err)
	}
}

func (l *LXD) clean() {
	if err := sweepFolder(l.slot.dir); err != nil {
		l.t.Logf("rig: clean up: %v", err)
	}
	if l.daemon != nil {
		<-l.daemon.ended
	}
	if err := deleteBridge(l.Bridge()); err != nil {
		l.t.Logf("rig: clean up: %v", err)
	}
	l.slot.release()
}

// With is the same rig, ending another test on failure: a subtest's.
func (l *LXD) With(t TB) *LXD { return &LXD{t: t, lxdInstallation: l.lxdInstallation} }

// Path is the daemon's folder, LXD_DIR.
func (l *LXD) Path() string { return filepath.Join(l.slot.dir, "lxd") }

// Bridge is the name of the rig's own bridge.
func (l *LXD) Bridge() string { return l.slot.bridge() }

// Env has the client keep its configuration within the rig, too.
func (l *LXD) Env() []string {
	return []string{"LXD_DIR=" + l.Path(), "LXD_CONF=" + filepath.Join(l.slot.dir, "conf"), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
}

// StartDaemon starts it and waits until it answers. Containers that run on are taken over.
func (l *LXD) StartDaemon() {
	l.t.Helper()
	log, err := os.OpenFile(filepath.Join(l.slot.dir, "lxd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	l.must(err)
	defer func() { _ = log.Close() }()
	l.must(os.MkdirAll(filepath.Join(l.Path(), "logs"), 0o711))
	cmd := exec.Command("/usr/bin/lxd", "--group", "root", "--logfile", filepath.Join(l.Path(), "logs/lxd.log"))
	cmd.Env, cmd.Stdout, cmd.Stderr = l.Env(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.must(cmd.Start())
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(d.ended) }()
	l.daemon = d
	if err := l.feed("", "/usr/bin/lxd", "waitready", "--timeout", "30"); err != nil {
		text, _ := os.ReadFile(log.Name())
		l.t.Fatalf("rig: lxd does not answer: %v; the end of its log:\n%s", err, text[max(0, len(text)-2000):])
	}
}

// StopDaemon ends the daemon alone (SIGTERM); its containers run on.
func (l *LXD) StopDaemon() { l.t.Helper(); l.signalDaemon(syscall.SIGTERM, true) }

// HangDaemon stops it (SIGSTOP): its socket takes questions and nobody answers.
func (l *LXD) HangDaemon() { l.t.Helper(); l.signalDaemon(syscall.SIGSTOP, false) }

// ResumeDaemon ends [LXD.HangDaemon].
func (l *LXD) ResumeDaemon() { l.t.Helper(); l.signalDaemon(syscall.SIGCONT, false) }

func (l *LXD) signalDaemon(sig syscall.Signal, ends bool) {
	l.t.Helper()
	l.must(l.daemon.cmd.Process.Signal(sig))
	if !ends {
		return
	}
	select {
	case <-l.daemon.ended:
	case <-time.After(quick):
		l.t.Fatalf("rig: lxd %d does not end", l.daemon.cmd.Process.Pid)
	}
}

// Run runs a command of the client, as a person does, and gives what it printed.
func (l *LXD) Run(argv ...string) string {
	l.t.Helper()
	out, err := l.Try(argv...)
	l.must(err)
	return strings.TrimSpace(out)
}

// Try is Run for what may fail.
func (l *LXD) Try(argv ...string) (string, error) {
	return run(time.Minute, append(append([]string{"env"}, l.Env()...), append([]string{"/usr/bin/lxc"}, argv...)...)...)
}

// feed runs a command with something to read.
func (l *LXD) feed(input string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin = l.Env(), strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out.String())
	}
	return nil
}

// MakeProject makes a project that shares images and profiles with the default one.
func (l *LXD) MakeProject(name string) {
	l.t.Helper()
	l.Run("project", "create", name, "-c", "features.images=false", "-c", "features.profiles=false")
}

// lxdPlace takes PROJECT_NAME apart.
func lxdPlace(name string) (project, instance string) {
	if p, n, ok := strings.Cut(name, "_"); ok {
		return p, n
	}
	return "default", name
}

// Make defines a container, which does not run, with options of "lxc init".
func (l *LXD) Make(name string, options ...string) {
	l.t.Helper()
	l.mu.Lock()
	if _, had := l.addrs[name]; !had {
		l.addrs[name] = l.slot.addr(2 + len(l.addrs))
	}
	l.mu.Unlock()
	project, instance := lxdPlace(name)
	l.Run(append([]string{"init", "--quiet", lxdImage, instance, "--project", project, "-c", "environment.IP=" + l.Addr(name).String()}, options...)...)
}

// About runs a command of the client about one container: "start", "stop", "--force".
func (l *LXD) About(name, command string, options ...string) {
	l.t.Helper()
	project, instance := lxdPlace(name)
	l.Run(append([]string{command, instance, "--project", project}, options...)...)
}

// Start starts it and returns when it runs.
func (l *LXD) Start(name string) { l.t.Helper(); l.About(name, "start", "--quiet") }

// Remove removes it, running or not. After an end or a failed start the daemon is busy with it for a while.
func (l *LXD) Remove(name string) {
	l.t.Helper()
	project, instance := lxdPlace(name)
	var err error
	if !poll(quick, func() bool { _, err = l.Try("delete", "--force", instance, "--project", project); return err == nil }) {
		l.t.Fatalf("rig: %v", err)
	}
}

// Freeze pauses every process of the container.
func (l *LXD) Freeze(name string) { l.t.Helper(); l.About(name, "pause") }

// Thaw ends [LXD.Freeze].
func (l *LXD) Thaw(name string) { l.t.Helper(); l.About(name, "start") }

// Addr is the container's address; it stays the same over restarts.
func (l *LXD) Addr(name string) netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addrs[name]
}

// InitPID is the pid of its init on the host; the test ends if it does not run.
func (l *LXD) InitPID(name string) int {
	l.t.Helper()
	project, instance := lxdPlace(name)
	var v struct{ PID int }
	l.must(json.Unmarshal([]byte(l.Run("query", "/1.0/instances/"+instance+"/state?project="+project)), &v))
	if v.PID <= 1 {
		l.t.Fatalf("rig: container %q has no init (it does not run)", name)
	}
	return v.PID
}

// Kill9 kills its init and tells the pid.
func (l *LXD) Kill9(name string) int {
	l.t.Helper()
	pid := l.InitPID(name)
	l.must(syscall.Kill(pid, syscall.SIGKILL))
	return pid
}

// MonitorPID is the process of liblxc that holds the container.
func (l *LXD) MonitorPID(name string) int {
	l.t.Helper()
	for _, p := range processes() {
		if p.monitors(filepath.Join(l.Path(), "containers"), name) {
			return p.pid
		}
	}
	l.t.Fatalf("rig: container %q has no monitor", name)
	return 0
}

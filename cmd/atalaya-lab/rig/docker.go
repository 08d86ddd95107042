package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a running dockerd.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// NewDocker starts a dockerd with its own storage, socket and bridge; with it goes its own containerd.
func NewDocker(t TB) *OCI {
	t.Helper()
	o := newOCI(t, "docker")
	o.args = []string{"--host=unix://" + filepath.Join(o.slot.dir, "docker.sock")}
	o.StartDaemon()
	o.load()
	return o
}

// StartDaemon starts dockerd and waits until it answers.
func (o *OCI) StartDaemon(options ...string) {
	o.t.Helper()
	dir := o.slot.dir
	log, err := os.OpenFile(filepath.Join(dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	o.must(err)
	defer func() { _ = log.Close() }()
	cmd := exec.Command("/usr/sbin/dockerd", append([]string{
		o.args[0], "--data-root=" + filepath.Join(dir, "docker"), "--exec-root=" + filepath.Join(dir, "exec"),
		"--pidfile=" + filepath.Join(dir, "dockerd.pid"), "--bridge=" + o.Bridge(), "--iptables=false", "--ip6tables=false",
		"--ip-forward=false", "--ip-masq=false", "--userland-proxy=false", "--default-ulimit=nofile=1024:4096",
		"--cgroup-parent=/" + ociCgroup(dir),
	}, options...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	o.must(cmd.Start())
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(d.ended) }()
	o.daemon = d
	up := poll(quick, func() bool {
		select {
		case <-d.ended:
			return true
		default:
		}
		_, err := o.Try("version")
		return err == nil
	})
	if _, err := o.Try("version"); !up || err != nil {
		text, _ := os.ReadFile(log.Name())
		o.t.Fatalf("rig: dockerd does not answer: %v; the end of its log:\n%s", err, text[max(0, len(text)-2000):])
	}
}

// StopDaemon ends dockerd as its unit does, with its containers, and waits for it.
func (o *OCI) StopDaemon() { o.t.Helper(); o.signalDaemon(syscall.SIGTERM, true) }

// KillDaemon kills dockerd alone; its containers live on.
func (o *OCI) KillDaemon() {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.slot.dir, "exec", "containerd", "containerd.pid"))
	o.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	o.must(err)
	o.signalDaemon(syscall.SIGKILL, true)
	// Its containerd dies with it. As long as that is a zombie, a new dockerd takes it for alive, and waits for it in vain.
	if !poll(quick, func() bool { return syscall.Kill(pid, 0) != nil }) {
		o.t.Fatalf("rig: containerd %d is not reaped", pid)
	}
}

// HangDaemon stops dockerd (SIGSTOP): its socket takes questions and nobody answers.
func (o *OCI) HangDaemon() { o.t.Helper(); o.signalDaemon(syscall.SIGSTOP, false) }

// ResumeDaemon ends [OCI.HangDaemon].
func (o *OCI) ResumeDaemon() { o.t.Helper(); o.signalDaemon(syscall.SIGCONT, false) }

func (o *OCI) signalDaemon(sig syscall.Signal, ends bool) {
	o.t.Helper()
	o.must(o.daemon.cmd.Process.Signal(sig))
	if !ends {
		return
	}
	select {
	case <-o.daemon.ended:
	case <-time.After(quick):
		o.t.Fatalf("rig: dockerd %d does not end", o.daemon.cmd.Process.Pid)
	}
	_ = os.Remove(filepath.Join(o.slot.dir, "dockerd.pid"))
}

// ShimPID is the process that holds the container for docker.
func (o *OCI) ShimPID(name string) int {
	o.t.Helper()
	id := o.ID(name)
	for _, p := range processes() {
		if len(p.argv) > 0 && strings.HasPrefix(filepath.Base(p.argv[0]), "containerd-shim") && strings.Contains(strings.Join(p.argv, " "), id) {
			return p.pid
		}
	}
	o.t.Fatalf("rig: container %q has no shim", name)
	return 0
}

// ConmonPID is the process that holds the container for podman.
func (o *OCI) ConmonPID(name string) int {
	o.t.Helper()
	pid, err := strconv.Atoi(o.Run("inspect", "--format", "{{.State.ConmonPid}}", name))
	o.must(err)
	return pid
}

package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SSHD is the system's own sshd on a port of loopback, with host keys, users' keys and a client configuration of its own
// folder: another host, as far as the OpenSSH client can tell. Its methods end the test on failure.
type SSHD struct {
	t    TB
	dir  string
	port int
	lock *os.File

	mu   sync.Mutex
	proc *os.Process
	done chan struct{}
}

// NewSSHD starts it. It needs root, ssh, sshd and ssh-keygen, and goes with the test, as do its connections.
func NewSSHD(t TB) *SSHD {
	t.Helper()
	if _, err := Sweep(); err != nil {
		t.Logf("rig: sweep leftovers: %v", err)
	}
	dir, err := os.MkdirTemp("", sshdPrefix)
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	s := &SSHD{t: t, dir: dir}
	t.Cleanup(s.clean)
	s.lock, err = lockFolder(dir)
	s.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	s.port = l.Addr().(*net.TCPAddr).Port
	s.must(l.Close())
	// Where sshd goes when it lowers its privileges: systemd's RuntimeDirectory otherwise.
	s.must(os.MkdirAll("/run/sshd", 0o755))
	for _, key := range []string{"host_key", "user_key"} {
		_, err := run(quick, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.file(key))
		s.must(err)
	}
	s.write("authorized_keys", s.read("user_key.pub"))
	s.write("known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s", s.port, s.read("host_key.pub")))
	s.write("sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s
PidFile none
AuthorizedKeysFile %s
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel VERBOSE
PrintMotd no
Subsystem sftp /bin/false
`, s.port, s.file("host_key"), s.file("authorized_keys")))
	s.write("ssh_config", fmt.Sprintf("Host *\n  Port %d\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n",
		s.port, s.file("user_key"), s.file("known_hosts")))
	s.Start()
	return s
}

const sshdPrefix = "atalaya-sshd-"

func (s *SSHD) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("rig: sshd: %v", err)
	}
}

func (s *SSHD) file(name string) string { return filepath.Join(s.dir, name) }

func (s *SSHD) write(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(s.file(name), []byte(text), 0o600))
}

func (s *SSHD) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.file(name))
	s.must(err)
	return string(b)
}

// Target is where the client goes.
func (s *SSHD) Target() string { return "root@127.0.0.1" }

// Config is the client's configuration file: port, key and known hosts.
func (s *SSHD) Config() string { return s.file("ssh_config") }

// Port is where it listens, on 127.0.0.1.
func (s *SSHD) Port() int { return s.port }

// ForgetHostKey empties the client's list of known hosts.
func (s *SSHD) ForgetHostKey() { s.write("known_hosts", "") }

// ForgetUserKey has the server refuse the client.
func (s *SSHD) ForgetUserKey() { s.write("authorized_keys", "") }

// Start starts the server, after Stop.
func (s *SSHD) Start() {
	s.t.Helper()
	log, err := os.OpenFile(s.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	defer log.Close()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", s.file("sshd_config"))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun, done := make(chan error, 1), make(chan struct{})
	go func() { // the signal of a parent's death comes when the thread ends that forked
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	s.must(<-begun)
	s.mu.Lock()
	s.proc, s.done = cmd.Process, done
	s.mu.Unlock()
	if !poll(quick, s.answers) {
		s.t.Fatalf("rig: sshd does not answer on port %d: %s", s.port, s.read("log"))
	}
}

func (s *SSHD) answers() bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 4)
	_, err = c.Read(b)
	return err == nil && string(b) == "SSH-"
}

// Stop ends the server; connections go on until Cut.
func (s *SSHD) Stop() {
	s.mu.Lock()
	proc, done := s.proc, s.done
	s.proc = nil
	s.mu.Unlock()
	if proc == nil {
		return
	}
	s.keepers()
	_ = proc.Kill()
	<-done
}

// Logins counts how often somebody was let in, since the beginning.
func (s *SSHD) Logins() int {
	s.t.Helper()
	return strings.Count(s.read("log"), "Accepted publickey for ")
}

// Established counts the connections that stand now, by the kernel's table; see proc_net(5).
func (s *SSHD) Established() int {
	s.t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	s.must(err)
	n, local := 0, fmt.Sprintf("0100007F:%04X", s.port)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == local && f[3] == "01" {
			n++
		}
	}
	return n
}

// Cut kills the server's ends of all connections. What runs below them goes on.
func (s *SSHD) Cut() {
	for _, pid := range s.keepers() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Hang stops them instead (SIGSTOP), as a network does that swallows everything; Wake ends that.
func (s *SSHD) Hang() { s.signal(syscall.SIGSTOP) }

// Wake ends Hang.
func (s *SSHD) Wake() { s.signal(syscall.SIGCONT) }

func (s *SSHD) signal(sig syscall.Signal) {
	for _, pid := range s.keepers() {
		_ = syscall.Kill(pid, sig)
	}
}

// keepers are the processes that hold our connections: children of the listener, told by their port, since they outlive it.
func (s *SSHD) keepers() []int {
	inodes := map[string]bool{}
	b, _ := os.ReadFile("/proc/net/tcp")
	local := fmt.Sprintf("0100007F:%04X", s.port)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 9 && f[1] == local && f[3] != "0A" {
			inodes["socket:["+f[9]+"]"] = true
		}
	}
	var pids []int
	for _, p := range processes() {
		if p.comm != "sshd" {
			continue
		}
		fds, _ := filepath.Glob("/proc/" + strconv.Itoa(p.pid) + "/fd/*")
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && inodes[to] {
				pids = append(pids, p.pid)
				break
			}
		}
	}
	return pids
}

func (s *SSHD) clean() {
	s.Cut()
	s.Stop()
	s.Cut()
	_ = os.RemoveAll(s.dir)
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// sweepSSHDs ends servers whose test was killed before it could. Their folders are locked by nobody.
func sweepSSHDs() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), sshdPrefix+"*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // it may just be being made
		}
		lock, err := lockFolder(dir)
		if err != nil {
			continue
		}
		for _, p := range processes() {
			if p.comm == "sshd" && len(p.argv) > 0 && strings.Contains(strings.Join(p.argv, " "), dir+"/") {
				_ = unix.Kill(p.pid, unix.SIGKILL)
			}
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}

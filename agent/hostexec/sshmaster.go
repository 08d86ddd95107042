package hostexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	dialSSHWithin = 10 * time.Second // for TCP and for the greeting of the server: ssh's own ConnectTimeout
	upWithin      = 30 * time.Second // for all of it
	retryMax      = 30 * time.Second // between attempts at a host that cannot be reached
	socketsPrefix = "atalaya-mux-"   // of folders of control sockets
	maxSocketPath = 80               // ssh adds 17 bytes while it makes a control socket, and the kernel takes 107
)

// A master is the OpenSSH client that holds the connection; commands run through its control socket. It is our own
// child and ends with us: a master in the background, as ControlPersist makes one, would outlive the agent and answer to
// nobody.
type master struct {
	g      *group
	socket string
	errs   *capped
	ready  chan struct{} // closed when it takes commands
	over   chan struct{} // closed when it has ended; err is set
	err    error
	doubt  chan struct{} // has room for one: it is to be ended
}

// options are those of every call. What a configuration file may set is overruled where it would change what we do.
func (r *Remote) options(socket string) []string {
	args := []string{"ssh"}
	if r.to.Config != "" {
		args = append(args, "-F", r.to.Config)
	}
	args = append(args, "-S", socket, "-T", "-a", "-x")
	for _, o := range []string{
		"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "PermitLocalCommand=no", "ClearAllForwardings=yes",
		"Tunnel=no", "RemoteCommand=none", "ControlPersist=no", "EscapeChar=none", "LogLevel=ERROR", "ConnectionAttempts=1",
		// A connection that does not answer for 15 s is cut: it may be gone without a word.
		"ServerAliveInterval=5", "ServerAliveCountMax=3", "TCPKeepAlive=yes",
		"ConnectTimeout=" + strconv.Itoa(int(dialSSHWithin.Seconds())),
	} {
		args = append(args, "-o", o)
	}
	return args
}

// connect gives the master that takes commands, making one where there is none. After a failure the next attempt waits,
// and until then the failure is the answer.
func (r *Remote) connect(ctx context.Context) (*master, error) {
	m, err := r.current()
	if err != nil {
		return nil, fmt.Errorf("no connection to %q: %w", r.to.Target, err)
	}
	select {
	case <-m.ready:
		return m, nil
	case <-m.over:
		return nil, fmt.Errorf("no connection to %q: %w", r.to.Target, m.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("no connection to %q yet: %w", r.to.Target, context.Cause(ctx))
	}
}

func (r *Remote) current() (*master, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, errors.New("this agent is ending")
	}
	if m := r.master; m != nil && !m.ended() {
		return m, nil
	}
	if r.failure != nil && time.Now().Before(r.retryAt) {
		return nil, r.failure
	}
	m, err := r.dial()
	if err != nil {
		r.failed(err)
		return nil, err
	}
	r.master = m
	return m, nil
}

// failed notes an attempt that came to nothing. r.mu is held.
func (r *Remote) failed(err error) {
	r.failure = err
	r.retryAt = time.Now().Add(min(retryMax, time.Second<<min(r.fails, 5)))
	r.fails++
}

// dial starts a master. r.mu is held.
func (r *Remote) dial() (*master, error) {
	if r.sockets == "" {
		dir, err := r.makeSockets()
		if err != nil {
			return nil, err
		}
		r.sockets = dir
	}
	r.count++
	socket := filepath.Join(r.sockets, strconv.Itoa(r.count))
	argv := append(r.options(socket), "-M", "-N", "--", r.to.Target)
	g, err := startGroup(Command{Argv: argv}, nil)
	if err != nil {
		return nil, err
	}
	m := &master{g: g, socket: socket, errs: &capped{max: 16 << 10}, ready: make(chan struct{}), over: make(chan struct{}), doubt: make(chan struct{}, 1)}
	r.wg.Go(func() { r.tend(m) })
	return m, nil
}

// makeSockets makes a folder that only we may enter, whose path is short enough for a socket.
func (r *Remote) makeSockets() (string, error) {
	for _, in := range []string{r.host.folder.dir, "/run", os.TempDir(), "/tmp"} {
		if in == "" || len(in) > maxSocketPath-30 || os.MkdirAll(in, 0o700) != nil {
			continue
		}
		if dir, err := os.MkdirTemp(in, socketsPrefix); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no folder for the control socket of ssh can be made: free space in /run or /tmp")
}

// tend follows a master from its start to its end.
func (r *Remote) tend(m *master) {
	copied := m.g.copyTo(&capped{}, m.errs)
	up := r.awaitSocket(m)
	if up {
		r.mu.Lock()
		r.fails, r.failure = 0, nil
		r.mu.Unlock()
		r.host.log.Info("connected by ssh", "host", r.to.Target)
		close(m.ready)
		select {
		case <-m.g.exited:
		case <-m.doubt:
		}
	}
	m.g.kill()
	if m.g.ended(mercy) {
		m.g.settle(copied, 0)
		m.g.reap()
	} else {
		r.host.abandon(m.g)
	}
	m.g.closePipes()
	said, _ := m.errs.taken()
	m.err = errors.New(lastWords(said, "the ssh client ended without a word"))
	r.mu.Lock()
	if !up {
		r.failed(m.err)
	}
	r.mu.Unlock()
	_ = os.Remove(m.socket)
	if r.ctx.Err() == nil {
		r.host.log.Warn("no connection by ssh", "host", r.to.Target, "was_up", up, "err", m.err)
	}
	close(m.over)
}

// awaitSocket reports whether the master comes to take commands: it makes its socket once it is authenticated.
func (r *Remote) awaitSocket(m *master) bool {
	deadline := time.NewTimer(upWithin)
	defer deadline.Stop()
	for pause := 2 * time.Millisecond; ; pause = min(pause*2, 50*time.Millisecond) {
		if _, err := os.Lstat(m.socket); err == nil {
			return true
		}
		select {
		case <-m.g.exited:
			return false
		case <-m.doubt:
			return false
		case <-deadline.C:
			_, _ = fmt.Fprintf(m.errs, "no connection within %s\n", upWithin)
			return false
		case <-time.After(pause):
		}
	}
}

// end has the master end, without waiting for it.
func (m *master) end() {
	select {
	case m.doubt <- struct{}{}:
	default:
	}
}

func (m *master) ended() bool {
	select {
	case <-m.over:
		return true
	case <-m.g.exited:
		return true
	default:
		return false
	}
}

// lastWords gives the last line that says something: ssh says first what it tries and last why not.
func lastWords(b []byte, none string) string {
	last := ""
	for line := range strings.Lines(string(b)) {
		if s := strings.TrimSpace(line); s != "" {
			last = s
		}
	}
	if last == "" {
		return none
	}
	return printable(last, 200)
}

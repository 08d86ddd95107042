package hostexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// An SSH is another host, as the OpenSSH client reaches it.
type SSH struct {
	Target string // "user@host", "host" or "ssh://user@host:port"; see CheckTarget
	Config string // a configuration file for the client instead of the user's and the system's (ssh -F); empty: those
}

// A Remote runs commands on another host, over one connection of the OpenSSH client that is kept open. It keeps the
// promises of Host: reading commands are bounded and killed, changing ones never, not when the connection is lost, nor
// when the agent ends. What it cannot promise is that anything is known: a lost connection is a Transcript with a Failure,
// never an exit code.
//
// Nothing is ever asked of a person: keys must work without a passphrase, and the host's key must be known.
type Remote struct {
	host   *Host
	to     SSH
	folder folder // local records of changing commands; the zero folder: none
	reads  chan struct{}
	works  chan struct{}
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	sockets string // our folder of control sockets; "": not made
	count   int    // of masters
	master  *master
	fails   int
	retryAt time.Time
	failure error
	errands map[string]*errand // changing commands under way, by record name
	spent   []*errand          // ended unwaited for, as Host.spent
}

// An OpenSSH server takes ten sessions over one connection (MaxSessions of sshd_config(5)): reading commands must not
// take the places of changing ones.
const (
	readsAtOnce = 6
	worksAtOnce = 3
)

var targetRE = regexp.MustCompile(`^(ssh://)?([A-Za-z0-9_][A-Za-z0-9_.@+-]*@)?[A-Za-z0-9\[:][A-Za-z0-9.:_%\[\]-]*$`)

// CheckTarget says why s cannot be where the OpenSSH client is told to go.
func CheckTarget(s string) error {
	switch {
	case s == "":
		return errors.New("is empty: give user@host")
	case len(s) > 320 || !targetRE.MatchString(s):
		return fmt.Errorf("%q is not user@host, nor ssh://user@host:port", s)
	}
	return nil
}

// Remote gives the one Remote of this Host for that place: what shares it shares a connection. No connection is made
// before the first command. Changing commands that an agent before this one left running there are awaited at once.
func (h *Host) Remote(to SSH) (*Remote, error) {
	if err := CheckTarget(to.Target); err != nil {
		return nil, fmt.Errorf("reach another host by ssh: %w", err)
	}
	if to.Config != "" && !filepath.IsAbs(to.Config) {
		return nil, fmt.Errorf("reach %q by ssh: configuration file %q: give an absolute path", to.Target, to.Config)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.remotes[to]; r != nil {
		return r, nil
	}
	r := &Remote{host: h, to: to, reads: make(chan struct{}, readsAtOnce), works: make(chan struct{}, worksAtOnce), errands: map[string]*errand{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if h.folder.dir != "" {
		sum := sha256.Sum256([]byte(to.Target))
		r.folder.dir = filepath.Join(h.folder.dir, "ssh-"+hex.EncodeToString(sum[:6]))
	}
	r.adopt()
	h.remotes[to] = r
	return r, nil
}

// far lists the Remotes.
func (h *Host) far() []*Remote {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*Remote, 0, len(h.remotes))
	for _, r := range h.remotes {
		out = append(out, r)
	}
	return out
}

// Target is where the commands are run.
func (r *Remote) Target() string { return r.to.Target }

// Read runs a command there that only reads. Host.Read says how it is bounded; over there it is killed by timeout(1) some
// seconds later than here, so that nothing hangs on when the connection is cut.
func (r *Remote) Read(ctx context.Context, c Command) Transcript {
	t := r.read(ctx, c)
	r.host.metrics.count("read", t)
	return t
}

func (r *Remote) read(ctx context.Context, c Command) Transcript {
	if err := c.sendable(); err != nil {
		return Transcript{Argv: c.Argv, Remote: r.to.Target, Started: time.Now(), Exit: -1, Failure: notStarted(err)}
	}
	s := session{argv: c.Argv, body: readScript(c), limit: c.timeout(), max: c.maxOut()}
	t, came := r.session(ctx, r.reads, s)
	if came == unheard && !t.TimedOut && ctx.Err() == nil {
		// It met a connection that had just ended. What only reads may be asked again, and then over a new one.
		r.settle(t.Started)
		t, _ = r.session(ctx, r.reads, s)
	}
	return t
}

// settle waits, for a moment, until a connection that was made before then is known to have ended.
func (r *Remote) settle(before time.Time) {
	r.mu.Lock()
	m := r.master
	r.mu.Unlock()
	if m == nil || m.g.started.After(before) {
		return
	}
	timer := time.NewTimer(mercy)
	defer timer.Stop()
	select {
	case <-m.over:
	case <-timer.C:
	}
}

// Stream refuses: over ssh containers are polled. A stream whose connection hangs for a while looks like one that has
// nothing to say.
func (r *Remote) Stream(context.Context, Command, func([]byte) error) error {
	return fmt.Errorf("follow a command on %q: over ssh nothing is followed, only polled", r.to.Target)
}

// close lets go of the connection. Changing commands there go on, and their records stay.
func (r *Remote) close() {
	r.cancel()
	r.mu.Lock()
	m := r.master
	r.mu.Unlock()
	if m != nil {
		m.end()
	}
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sockets != "" {
		_ = os.RemoveAll(r.sockets)
	}
}

// sendable says why a command cannot be put into words for a shell on another host.
func (c Command) sendable() error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("no command given")
	}
	if name := c.Argv[0]; name[0] == '-' || strings.ContainsAny(name, "=") || strings.Contains(name, "/") && name[0] != '/' {
		return fmt.Errorf("%q is no command: give a name or an absolute path", name)
	}
	for _, list := range [][]string{c.Argv, c.Env, {c.Dir}} {
		for _, a := range list {
			if strings.ContainsRune(a, 0) {
				return fmt.Errorf("argument %q holds a NUL byte", a)
			}
		}
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || name[0] == '-' {
			return fmt.Errorf("environment %q: write it NAME=value", e)
		}
	}
	return nil
}

// sweepSockets removes what an agent that was killed left of its connections; they ended with it.
func (f folder) sweepSockets() {
	if f.dir == "" {
		return
	}
	left, _ := filepath.Glob(filepath.Join(f.dir, socketsPrefix+"*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

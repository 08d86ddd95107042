package rig

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Start runs lxc-start and waits for its answer, not for the web server; see [LXC.WaitHTTP].
func (l *LXC) Start(name string) {
	l.t.Helper()
	_, err := run(quick, "lxc-start", "-P", l.Path(), "-n", name)
	l.must(err)
}

// Stop kills the container the engine's way (lxc-stop -k), as a person does.
func (l *LXC) Stop(name string) {
	l.t.Helper()
	_, err := run(quick, "lxc-stop", "-P", l.Path(), "-n", name, "-k")
	l.must(err)
}

// Kill9 kills the container's init and tells its pid and the moment just before the signal.
func (l *LXC) Kill9(name string) (pid int, at time.Time) {
	l.t.Helper()
	pid = l.InitPID(name)
	at = time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatalf("rig: kill init %d of %q: %v", pid, name, err)
	}
	return pid, at
}

// InitPID is the pid of the container's init on the host; the test ends if it does not run.
func (l *LXC) InitPID(name string) int {
	l.t.Helper()
	out, err := run(quick, "lxc-info", "-P", l.Path(), "-n", name, "-pH")
	l.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || pid <= 1 {
		l.t.Fatalf("rig: container %q has no init (it does not run): lxc-info -pH said %q", name, out)
	}
	return pid
}

// MonitorPID is the pid of the container's LXC monitor, the parent of its init.
func (l *LXC) MonitorPID(name string) int {
	l.t.Helper()
	for _, p := range processes() {
		if p.monitors(l.Path(), name) {
			return p.pid
		}
	}
	l.t.Fatalf("rig: container %q has no monitor process", name)
	return 0
}

// State is the engine's word: RUNNING, STOPPED, FROZEN, ...
func (l *LXC) State(name string) string {
	l.t.Helper()
	out, err := run(quick, "lxc-info", "-P", l.Path(), "-n", name, "-sH")
	l.must(err)
	return strings.TrimSpace(out)
}

// WaitState waits until the engine says so, and ends the test if it does not in time.
func (l *LXC) WaitState(name, state string, within time.Duration) {
	l.t.Helper()
	var last string
	if !poll(within, func() bool { last = l.State(name); return last == state }) {
		l.t.Fatalf("rig: container %q is %s, not %s, after %s", name, last, state, within)
	}
}

// Freeze pauses every process of the container.
func (l *LXC) Freeze(name string) {
	l.t.Helper()
	_, err := run(quick, "lxc-freeze", "-P", l.Path(), "-n", name)
	l.must(err)
}

// Thaw ends [LXC.Freeze].
func (l *LXC) Thaw(name string) {
	l.t.Helper()
	_, err := run(quick, "lxc-unfreeze", "-P", l.Path(), "-n", name)
	l.must(err)
}

// Hang stops the web server inside (SIGSTOP): the container runs and accepts
// connections, and nobody answers. A restart of the container cures it.
func (l *LXC) Hang(name string) {
	l.t.Helper()
	l.signalWeb(name, syscall.SIGSTOP)
}

// Resume ends [LXC.Hang].
func (l *LXC) Resume(name string) {
	l.t.Helper()
	l.signalWeb(name, syscall.SIGCONT)
}

func (l *LXC) signalWeb(name string, sig syscall.Signal) {
	l.t.Helper()
	init := l.InitPID(name)
	var pid int
	// Right after a start init may not have started it yet.
	if !poll(quick, func() bool { pid = childNamed(init, "httpd"); return pid != 0 }) {
		l.t.Fatalf("rig: container %q has no web server below its init %d", name, init)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		l.t.Fatalf("rig: signal the web server %d of %q: %v", pid, name, err)
	}
}

// Exec runs a command inside the container and gives its output.
func (l *LXC) Exec(name string, argv ...string) string {
	l.t.Helper()
	out, err := run(quick, append([]string{"lxc-attach", "-P", l.Path(), "-n", name, "--"}, argv...)...)
	l.must(err)
	return out
}

// Exhaust has a process in the container take memory until the kernel ends it. The container needs a limit of its own.
func (l *LXC) Exhaust(name string) {
	l.t.Helper()
	out, err := run(quick, "lxc-attach", "-P", l.Path(), "-n", name, "--", "/bin/tail", "/dev/zero")
	if err == nil {
		l.t.Fatalf("rig: container %q has memory without end: %s", name, out)
	}
}

// URL is where the container's web server answers.
func (l *LXC) URL(name string) string { return "http://" + l.Addr(name).String() + "/" }

// WaitHTTP asks the container's web server until it answers 200 and tells when that was.
func (l *LXC) WaitHTTP(name string, within time.Duration) time.Time {
	l.t.Helper()
	at, err := WaitHTTP(context.Background(), l.URL(name), within)
	l.must(err)
	return at
}

// WaitHTTP asks the URL, a new connection each time, until it answers 200 and tells
// when that was, good to a few milliseconds in the first two seconds: a connection
// request that meets nobody is repeated by the kernel only after a second, so it is
// given up after 5 ms, and after 250 ms later on.
func WaitHTTP(ctx context.Context, url string, within time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	started := time.Now()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Millisecond}
		if time.Since(started) > 2*time.Second {
			d.Timeout = 250 * time.Millisecond
		}
		return d.DialContext(ctx, network, addr)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}, Timeout: 500 * time.Millisecond}
	for last := error(nil); ; {
		err := get(ctx, client, url)
		if err == nil {
			return time.Now(), nil
		}
		if ctx.Err() != nil {
			return time.Time{}, fmt.Errorf("wait for HTTP 200 from %s: none within %s: %w", url, within, firstOf(last, err))
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

func firstOf(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

func childNamed(parent int, comm string) int {
	for _, p := range processes() {
		if p.ppid == parent && p.comm == comm {
			return p.pid
		}
	}
	return 0
}

// SetConfig replaces the container's configuration file; the engine reads it at the next start.
func (l *LXC) SetConfig(name, text string) {
	l.t.Helper()
	l.must(os.WriteFile(l.ConfigFile(name), []byte(text), 0o644))
}

// LXCSnapshot runs lxc-snapshot, as a person does.
func (l *LXC) LXCSnapshot(name string, argv ...string) {
	l.t.Helper()
	_, err := run(quick, append([]string{"lxc-snapshot", "-P", l.Path(), "-n", name}, argv...)...)
	l.must(err)
}

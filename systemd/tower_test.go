// Package systemd_test proves, in a real host with systemd as PID 1 and LXC containers in it, what the comments of
// atalaya.service promise. The host is a container of this machine (rig.NewSystemd); the agent is the real binary.
package systemd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/web"
	"atalaya/cmd/atalaya-lab/rig"
)

const (
	unitFile = "atalaya.service"
	patience = 60 * time.Second // the machine is shared and slow
)

// configuration is the agent's: everything quicker than by default, alerts into a file.
const configuration = `
mode: heal
poll: 1s
poll_held: 1s
engines: [{engine: lxc, timeout: 3s}]
probes:
  - {name: web, kind: http, every: 1s, timeout: 1s, fail_after: 2, pass_after: 1, grace: 20s}
defaults:
  probes: [web]
  stop_timeout: 30s
  settle: 1s
  budget: {attempts: 1000, delays: [0s]}
  flapping: {high: 0} # they are killed again and again, on purpose
channels: [{name: record, kind: file, path: /var/log/atalaya/alerts.jsonl}]
`

// hook is run by LXC before every start and after every stop of a container. It writes down that it was, waits while a
// file says so, and fails once where another says so.
const hook = `#!/bin/sh
echo "$(date +%s.%N) $3 $1" >> /var/log/hooks
while [ -e /var/lib/lab/hold-$3-$1 ]; do sleep 0.05; done
[ ! -e /var/lib/lab/slow-$3-$1 ] || sleep 3
if [ -e /var/lib/lab/fail-$3-$1 ]; then rm /var/lib/lab/fail-$3-$1; exit 1; fi
exit 0
`

// binFolder names the environment variable with the folder that the binaries are built into, and that ends with the tests.
const binFolder = "ATALAYA_SYSTEMD_TEST_BIN"

// built is the folder with the binaries, static as they are shipped, made once per test process.
var built = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(binFolder)
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "../cmd/atalaya", "../cmd/atalaya-lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "atalaya-systemd-test-")
	if err != nil {
		panic(err)
	}
	_ = os.Setenv(binFolder, dir) // fails for odd names only
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A tower is the host with the agent's unit installed.
type tower struct {
	*rig.Systemd
	t *testing.T
}

// raise boots a host and installs the unit, its configuration and the hooks; nothing is started.
func raise(t *testing.T, o rig.SystemdOptions) tower {
	t.Helper()
	rig.Require(t, "root", "lxc", "busybox", "debootstrap", "systemd-analyze")
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o.Config = append(o.Config, "lxc.hook.pre-start = /usr/local/bin/lab-hook", "lxc.hook.post-stop = /usr/local/bin/lab-hook")
	o.NoStart = true
	h := tower{rig.NewSystemd(t, o), t}
	h.CopyIn(filepath.Join(dir, "atalaya"), "/usr/bin/atalaya")
	h.CopyIn(unitFile, "/lib/systemd/system/atalaya.service")
	h.Write("/etc/atalaya/atalaya.yaml", configuration)
	h.Write("/usr/local/bin/lab-hook", hook)
	h.MustExec("chmod", "755", "/usr/local/bin/lab-hook")
	h.MustExec("mkdir", "-p", "/var/lib/lab", "/var/log/journal")
	h.MustExec("systemctl", "restart", "systemd-journald")
	h.MustExec("systemctl", "daemon-reload")
	return h
}

// with is the same host, ending another test on failure: a subtest's. It shows what the agent said when that failed.
func (h tower) with(t *testing.T) tower {
	s := tower{h.With(t), t}
	t.Cleanup(func() {
		if t.Failed() {
			// Without the stacks of an agent that the watchdog ended.
			t.Logf("the agent's journal:\n%s", s.Exec("journalctl", "-u", "atalaya", "-g", "level=|atalaya.service", "-n", "120", "--no-pager", "-o", "short-precise").Stdout)
			t.Logf("hooks:\n%s", s.read("/var/log/hooks"))
			if s.Exec("true").Exit != 0 {
				return // it is down, and knows nothing
			}
			v, _ := s.view()
			text, _ := json.MarshalIndent(v.Containers, "", " ")
			t.Logf("what it knows: %s", text)
		}
	})
	return s
}

// byHand starts a container from a unit of which nothing is said, but that a shell does not ignore SIGPIPE.
func (h tower) byHand(name string) {
	h.t.Helper()
	h.MustExec("systemd-run", "-q", "--collect", "--wait", "--pipe", "-p", "Type=forking", "-p", "KillMode=none", "-p", "IgnoreSIGPIPE=no",
		"lxc-start", "-n", name)
}

// read gives a file of the host; nothing if it is not there.
func (h tower) read(path string) string {
	text, _ := os.ReadFile(filepath.Join(h.Root(), path))
	return string(text)
}

// hold has the next run of this hook of the container wait; the function lets it go on.
func (h tower) hold(hook, name string) (release func()) {
	h.t.Helper()
	path := "/var/lib/lab/hold-" + hook + "-" + name
	h.Write(path, "")
	release = func() { _ = os.Remove(filepath.Join(h.Root(), path)) }
	h.t.Cleanup(release)
	return release
}

// hooks counts how often this hook of the container ran.
func (h tower) hooks(hook, name string) int {
	return strings.Count(h.read("/var/log/hooks"), " "+hook+" "+name+"\n")
}

// awaitHook waits until this hook of the container has begun for the nth time.
func (h tower) awaitHook(hook, name string, n int) {
	h.t.Helper()
	h.until(fmt.Sprintf("hook %s of %s has run %d times", hook, name, n), func() bool { return h.hooks(hook, name) >= n })
}

// property is one of the agent's unit, as systemctl show prints it.
func (h tower) property(name string) string {
	h.t.Helper()
	return strings.TrimSpace(h.MustExec("systemctl", "show", "-P", name, "atalaya"))
}

// agentPID is the agent's pid in the host.
func (h tower) agentPID() int {
	h.t.Helper()
	pid, err := strconv.Atoi(h.property("MainPID"))
	if err != nil || pid == 0 {
		h.t.Fatalf("the agent has no process: %v", err)
	}
	return pid
}

// journal is what the agent has said, over all its lives in this boot.
func (h tower) journal() string {
	h.t.Helper()
	return h.MustExec("journalctl", "-u", "atalaya", "--no-pager", "-o", "cat")
}

// socket is the control socket as this machine reaches it.
func (h tower) socket() string {
	return filepath.Join("/proc", strconv.Itoa(h.InitPID()), "root/run/atalaya/control.sock")
}

// view is what the agent knows now; false when it does not answer.
func (h tower) view() (health.View, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	v, err := web.Dial(h.socket()).View(ctx)
	return v, err == nil
}

// phase is where the agent has the container; empty when it does not answer or does not know it.
func (h tower) phase(name string) health.Phase {
	v, _ := h.view()
	for _, c := range v.Containers {
		if c.Name == name {
			return c.Phase
		}
	}
	return ""
}

// awaitUp waits until the agent has all these containers as running and well.
func (h tower) awaitUp(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.until("the agent has "+name+" as well", func() bool { return h.phase(name) == health.Up })
	}
}

// alerts are those that the file channel has been given.
func (h tower) alerts() []health.Alert {
	h.t.Helper()
	var all []health.Alert
	for line := range bytes.Lines([]byte(h.read("/var/log/atalaya/alerts.jsonl"))) {
		var a health.Alert
		if err := json.Unmarshal(line, &a); err != nil {
			h.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, a)
	}
	return all
}

// notices are the messages that belong to no container and hold these words, of those since the nth alert.
func notices(all []health.Alert, words string) (found []health.Alert) {
	for _, a := range all {
		if a.Kind == health.AlertNotice && a.Container == nil && strings.Contains(a.Summary, words) {
			found = append(found, a)
		}
	}
	return found
}

// opened are the incidents among the alerts.
func opened(all []health.Alert) (found []health.Alert) {
	for _, a := range all {
		if a.Kind == health.AlertOpen {
			found = append(found, a)
		}
	}
	return found
}

// until polls for what must come to be.
func (h tower) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// MustRemove removes a file of the host, which may be down.
func (h tower) MustRemove(path string) {
	h.t.Helper()
	if err := os.Remove(filepath.Join(h.Root(), path)); err != nil {
		h.t.Fatal(err)
	}
}

// succeeded reports whether another agent than that of pid runs. Between two there is none for a moment.
func (h tower) succeeded(pid int) bool {
	h.t.Helper()
	now := h.property("MainPID")
	return now != "0" && now != strconv.Itoa(pid)
}

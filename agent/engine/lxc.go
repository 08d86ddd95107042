package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// LXC, the tools of liblxc (lxc-start and friends), as measured with 5.0.2 on Debian 12.
//
// Their state sockets are abstract, so they belong to a network namespace: from another one every container reads
// STOPPED, rc 0, and a start makes a second one. The agent must live in the host's own network namespace (no
// PrivateNetwork= in its unit); where it does not, containers whose init it knows to be alive read as unknown.

// lxcAskWithin bounds one lxc-info: it takes 5 ms, or for ever.
const lxcAskWithin = 5 * time.Second

// lxc is one lxcpath.
type lxc struct {
	spec  Spec
	path  string // the lxcpath, as given to -P
	real  string // the same without symlinks, for comparing
	main  bool   // it is the path that the tools use when told none
	run   Runner
	notes notes

	mu      sync.Mutex
	known   map[string]*lxcEntry // by name
	slow    map[string]string    // who did not answer, and why; not empty: degraded
	plainAt time.Time            // when lxc-ls last answered
	unasked time.Duration        // how long it may go unasked while nothing moves
}

func openLXC(s Spec, r Runner) (*tool, error) {
	def := lxcDefaultPath("/etc/lxc/lxc.conf")
	if s.Path == "" {
		s.Path = def
	}
	if !filepath.IsAbs(s.Path) {
		return nil, fmt.Errorf("path %q: give the absolute path of the lxcpath, such as %q", s.Path, def)
	}
	if s.Custom != nil {
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	}
	l := &lxc{spec: s, path: filepath.Clean(s.Path), run: r, known: map[string]*lxcEntry{}, slow: map[string]string{}, unasked: s.Quiet}
	l.real = realPath(l.path)
	l.main = l.real == realPath(def)
	t := &tool{
		facts: facts{intent: "lxc.start.auto", stopped: "", lock: "the lock file of LXC, with its holder; \"partial\" of a creation", cause: "a log of each start (--logfile), its first error", supervisor: ""},
		verbs: map[health.Verb]verb{
			health.VerbStart: {argv: l.start, limit: 2 * time.Minute, log: true, read: readLXCAnswer},
			// A graceful stop that fails must not end in a kill that nobody ordered: the core orders it, or does not.
			health.VerbStop: {argv: l.stop, limit: time.Minute, slack: 10 * time.Second, log: true, read: readLXCStop},
			health.VerbKill: {argv: l.kill, limit: 30 * time.Second, log: true, read: readLXCAnswer},
		},
		checkID: checkID, quiet: l.mayBeQuiet, list: l.list, look: l.look, defined: l.defined, place: l.place, exec: l.exec,
		meaning: l.meaning, files: lxcFiles(), evidence: l.evidence, logs: l.logs, hint: l.hint,
		version: []string{"lxc-ls", "--version"},
		blind: []string{
			"A guest that powers itself off looks like one that died.",
			"LXC keeps no record of who stopped a container: a stop while no agent runs has an unknown cause.",
		},
		units: []string{"lxc.service", "lxc-net.service"}, autostarter: l.autostarter(),
	}
	l.backs(t)
	return t, nil
}

// discoverLXC finds the lxcpath of the installed tools.
func discoverLXC(ctx context.Context, r Runner) []Spec {
	t := r.Read(ctx, hostexec.Command{Argv: []string{"lxc-config", "lxc.lxcpath"}, Timeout: 5 * time.Second, MaxOut: 8 << 10})
	path := strings.TrimSpace(string(t.Stdout))
	if !t.OK() || !filepath.IsAbs(path) {
		return nil
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return nil
	}
	return []Spec{{Engine: "lxc", Path: path}}
}

// argv begins a command line. The name stands behind "=", where nothing becomes an option.
func (l *lxc) argv(tool, id string, more ...string) []string {
	return append([]string{tool, "-P", l.path, "--name=" + id}, more...)
}

func (l *lxc) start(c call) ([]string, error) {
	return l.argv("lxc-start", c.id, logTo(c.log)...), nil
}

func (l *lxc) stop(c call) ([]string, error) {
	seconds := strconv.Itoa(max(1, int(math.Ceil(c.limit.Seconds()))))
	return l.argv("lxc-stop", c.id, append([]string{"--nokill", "--timeout=" + seconds}, logTo(c.log)...)...), nil
}

func (l *lxc) kill(c call) ([]string, error) {
	return l.argv("lxc-stop", c.id, append([]string{"--kill"}, logTo(c.log)...)...), nil
}

// exec clears the environment, so that nothing of the host's gets in.
func (l *lxc) exec(id string, argv []string) ([]string, error) {
	line := l.argv("lxc-attach", id, "--clear-env", "--set-var", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--")
	return append(line, argv...), nil
}

// logTo has errors told. Without a file they would go to one that LXC makes in the container's folder, hence "none".
func logTo(path string) []string {
	if path == "" {
		path = "none"
	}
	return []string{"--logpriority=ERROR", "--logfile=" + path}
}

// autostarter is the unit that runs lxc-autostart, which knows the tools' own lxcpath only.
func (l *lxc) autostarter() string {
	if !l.main {
		return ""
	}
	return systemdUnit("lxc.service")
}

// lxcDefaultPath reads where the tools look when told nothing, as root, from their system configuration.
func lxcDefaultPath(conf string) string {
	path := "/var/lib/lxc"
	b, err := readBounded(conf, 64<<10)
	if err != nil {
		return path
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := lxcLine(line); ok && k == "lxc.lxcpath" && filepath.IsAbs(v) {
			path = v
		}
	}
	return path
}

// realPath follows symlinks, as far as it can.
func realPath(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Clean(p)
}

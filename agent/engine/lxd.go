package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// LXD and Incus, by their client and daemon: one implementation, two names. As measured with LXD 5.0.2 of Debian 12; what
// Incus has besides is from its source and documentation.
//
// A container's id here is its name in the project "default", and PROJECT_NAME in any other: what LXD itself calls it in
// its folders, its cgroups and the titles of its monitors (project.Instance). It is unique because neither a project
// ("Project names may not contain underscores") nor an instance ("Name can only contain alphanumeric and hyphen
// characters") may have a '_' in its name.
//
// Every command names the remote "local:" and the project: a person's default remote and current project are in
// /root/.config and may be others.

// lxdDialect is what LXD and Incus do not share.
type lxdDialect struct {
	name, tool  string   // "lxd", "lxc"
	env         string   // names the daemon's folder
	homes       []string // where that is, by way of packaging; the first is the default
	logs        string   // the logs of the default folder; others have them in theirs
	units       []string
	autostarter string
}

func dialectLXD() lxdDialect {
	return lxdDialect{
		name: "lxd", tool: "lxc", env: "LXD_DIR",
		homes: []string{"/var/lib/lxd", "/var/snap/lxd/common/lxd"}, logs: "/var/log/lxd",
		units:       []string{"lxd.service", "lxd-containers.service", "snap.lxd.daemon.service"},
		autostarter: "lxd-containers.service",
	}
}

func dialectIncus() lxdDialect {
	return lxdDialect{
		name: "incus", tool: "incus", env: "INCUS_DIR",
		homes: []string{"/var/lib/incus"}, logs: "/var/log/incus",
		units:       []string{"incus.service", "incus-startup.service"},
		autostarter: "incus-startup.service",
	}
}

// covers names the lxcpaths of the containers that such a daemon runs by liblxc: they are not watched twice.
func (d lxdDialect) covers() []Spec {
	var out []Spec
	for _, home := range d.homes {
		out = append(out, Spec{Engine: "lxc", Path: filepath.Join(home, "containers")})
	}
	return out
}

// lxd is one opened instance of LXD or Incus.
type lxd struct {
	base
	lxdDialect
	home string // the daemon's folder

	mu      sync.Mutex
	known   map[string]*lxdEntry // by id
	told    map[string]lxdTold   // by id: what bears on why one ended
	ours    orders
	away    map[string]string // by id: the other cluster member that it is on
	member  string            // what the cluster calls this host; empty: not asked
	hung    string            // not empty: the list has to do without states, and why
	heard   chan struct{}     // closed at the next event
	stream  int               // how many follow the events now
	bridges map[string]bool   // the networks that were once seen as bridges of this host
}

// An lxdEntry is what is remembered of one container between two questions.
type lxdEntry struct {
	init  health.Process
	addrs []health.Addr
}

func openLXD(s Spec, r Runner) (*tool, error)   { return lxdTool(s, r, dialectLXD()) }
func openIncus(s Spec, r Runner) (*tool, error) { return lxdTool(s, r, dialectIncus()) }

func lxdTool(s Spec, r Runner, d lxdDialect) (*tool, error) {
	switch {
	case s.Custom != nil:
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	case s.URI != "":
		return nil, fmt.Errorf("uri %q: belongs to the engine \"libvirt\": to name another daemon, use path", s.URI)
	case s.Path != "" && !filepath.IsAbs(s.Path):
		return nil, fmt.Errorf("path %q: give the absolute path of the daemon's folder, such as %q", s.Path, d.homes[0])
	}
	l := newLXD(s, r, d)
	t := &tool{
		facts: facts{intent: "boot.autostart, and what ran before", stopped: "the requestor of its events, its list of operations", lock: "its operations, with their age", cause: "the innermost words of lxc, and lxc info --show-log", supervisor: "boot.autorestart, evacuation of a cluster member"},
		verbs: l.verbs(), checkID: checkLXDID, list: l.list, look: l.look, defined: l.defined, exec: l.exec,
		meaning: l.meaning, evidence: l.evidence, logs: l.console, files: ociFiles(d.tool), hint: l.hint, events: l.events,
		version: l.argv(d.tool, "--version"), units: d.units,
		blind: []string{
			"A container that its own init or an exec of poweroff or reboot has stopped looks like one that was killed: " + d.name + " does not tell them apart.",
			"Who stopped a container is known while its events are followed, and for some seconds from its list of operations; " + d.name + " keeps no record of it.",
			"Whether a container without boot.autostart is wanted is not known: " + d.name + " starts it at boot if it ran before, and calls it stopped after a crash too.",
		},
	}
	l.backs(t)
	if s.Path == "" {
		t.autostarter = systemdUnit(d.autostarter)
	}
	return t, nil
}

func newLXD(s Spec, r Runner, d lxdDialect) *lxd {
	l := &lxd{
		base: base{spec: s, run: r}, lxdDialect: d, home: d.homes[0], known: map[string]*lxdEntry{}, told: map[string]lxdTold{},
		away: map[string]string{}, heard: make(chan struct{}), bridges: map[string]bool{},
	}
	l.ours = l.kept()
	if s.Path != "" {
		l.home = filepath.Clean(s.Path)
	}
	return l
}

func (l *lxd) verbs() map[health.Verb]verb {
	line := func(v string, more ...string) func(call) ([]string, error) {
		return func(c call) ([]string, error) { return l.about(c.id, v, more...), nil }
	}
	asking := func(v string) func(call) ([]string, error) {
		return func(c call) ([]string, error) {
			return l.about(c.id, v, "--timeout="+strconv.Itoa(max(1, int(math.Ceil(c.limit.Seconds()))))), nil
		}
	}
	return map[health.Verb]verb{
		health.VerbStart: {argv: line("start"), before: l.begin, after: l.started, limit: 2 * time.Minute, slack: 10 * time.Second, read: readLXDAnswer},
		// By its own limit of time it gives up, and does not kill.
		health.VerbStop:    {argv: asking("stop"), before: l.begin, after: l.end, limit: time.Minute, slack: 30 * time.Second, read: readLXDAnswer},
		health.VerbKill:    {argv: line("stop", "--force"), before: l.begin, after: l.end, limit: time.Minute, slack: 10 * time.Second, read: readLXDAnswer},
		health.VerbRestart: {argv: asking("restart"), before: l.begin, after: l.end, limit: time.Minute, slack: 2 * time.Minute, read: readLXDAnswer},
	}
}

// argv begins a command line of the client. Where its daemon is stands before it, and not in its environment: so that it
// also stands in evidence and in transcripts. The snap's client knows its own folder, and would be misled.
func (l *lxd) argv(tool string, more ...string) []string {
	line := l.base.argv(tool, more...)
	if l.spec.Path == "" || strings.HasPrefix(l.spec.Bin, "/snap/") {
		return line
	}
	return append([]string{"env", l.env + "=" + l.home}, line...)
}

// about is a command line about one container. Its name stands behind "local:" and its project behind "=", where nothing
// becomes an option.
func (l *lxd) about(id, command string, more ...string) []string {
	project, name := splitLXDID(id)
	return l.argv(l.tool, append(append([]string{command, "--quiet", "--project=" + project}, more...), "local:"+name)...)
}

// query is a command line that reads from the daemon's API, and rawQuery one that prints what is around the answer too.
func (l *lxd) query(path string, params ...string) []string {
	return l.argv(l.tool, "query", lxdURL(path, params))
}

func (l *lxd) rawQuery(path string, params ...string) []string {
	return l.argv(l.tool, "query", "--raw", lxdURL(path, params))
}

func lxdURL(path string, params []string) string {
	q := "local:" + path
	for i := 0; i+1 < len(params); i += 2 {
		q += map[bool]string{true: "?", false: "&"}[i == 0] + params[i] + "=" + url.QueryEscape(params[i+1])
	}
	return q
}

func (l *lxd) exec(id string, argv []string) ([]string, error) {
	line := l.about(id, "exec", "--mode=non-interactive", "--disable-stdin")
	return append(append(line, "--"), argv...), nil
}

// lxdNameRE is an instance's name; see shared/validate.IsHostname of LXD.
var lxdNameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// checkLXDID takes NAME and PROJECT_NAME.
func checkLXDID(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	project, name := splitLXDID(id)
	switch {
	case !lxdNameRE.MatchString(name):
		return fmt.Errorf("name %q: an instance's name is of letters, digits and '-', and its project stands before a '_'", id)
	case strings.HasPrefix(id, "default_"):
		return fmt.Errorf("name %q: what is in the project \"default\" is called by its name alone", id)
	case project == "" || strings.ContainsAny(project, "*'\" ") || strings.HasPrefix(project, "-"):
		return fmt.Errorf("name %q: %q is no project", id, project)
	}
	return nil
}

func splitLXDID(id string) (project, name string) {
	if i := strings.LastIndexByte(id, '_'); i >= 0 {
		return id[:i], id[i+1:]
	}
	return "default", id
}

func joinLXDID(project, name string) string {
	if project == "" || project == "default" {
		return name
	}
	return project + "_" + name
}

// readLXDAnswer takes the words behind "Error:", and not the advice below them: "Try `lxc info --show-log local:x1` …".
func readLXDAnswer(t hostexec.Transcript, _ []byte) Answer {
	var a Answer
	a.Already = strings.Contains(string(t.Stderr), "is already running")
	err := t.Err()
	if err == nil || a.Already {
		return a
	}
	a.Err = err.Error()
	for line := range strings.Lines(string(t.Stderr)) {
		// Progress may stand before it, in the same line; behind it the words of a helper, which begin likewise.
		if at := strings.LastIndex(line, "Error: "); at >= 0 {
			a.Cause = tidy(line[at+len("Error: "):])
		}
	}
	return a
}

// defined is true unless the container is now on another member of the cluster: what there is is in the daemon's
// database, and a look asks for it.
func (l *lxd) defined(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, elsewhere := l.away[id]
	return !elsewhere
}

// hint says why an instance may hang: LXD's containers have monitors of liblxc.
func (l *lxd) hint(id string) string {
	if l.far() {
		return ""
	}
	return lxcHint(filepath.Join(l.home, "containers"), id)
}

func discoverLXD(_ context.Context, _ Runner) []Spec   { return discoverLXDIn("", dialectLXD()) }
func discoverIncus(_ context.Context, _ Runner) []Spec { return discoverLXDIn("", dialectIncus()) }

// discoverLXDIn finds the daemons that have a database, hence ran once; it starts no process. The socket alone may belong
// to one that was installed and never used, and asking would wake it.
func discoverLXDIn(root string, d lxdDialect) []Spec {
	var found []Spec
	for i, home := range d.homes {
		if _, err := os.Stat(filepath.Join(root, home, "database")); err != nil {
			continue
		}
		s := Spec{Engine: d.name}
		snap := strings.HasPrefix(home, "/var/snap/")
		if snap {
			s.Path, s.Bin = home, "/snap/bin"
		}
		if !lxdClient(root, d.tool, snap) {
			continue
		}
		if i > 0 && len(found) > 0 {
			s.Instance = "snap"
		}
		found = append(found, s)
	}
	return found
}

func lxdClient(root, tool string, snap bool) bool {
	dirs := []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"}
	if snap {
		dirs = []string{"/snap/bin"}
	}
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(root, dir, tool)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

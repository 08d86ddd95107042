package engine

import (
	"context"
	"errors"
	"fmt"
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

// systemd-nspawn, as measured with systemd 252 of Debian 12: a container is an instance of systemd-nspawn@.service, by
// the name of its folder or image in /var/lib/machines. What runs is asked of systemd and held against /proc; machined
// is asked for addresses, and for machines that were started otherwise.

const (
	nspawnImages   = "/var/lib/machines"
	nspawnMachines = "/run/systemd/machines" // one file per running machine, by machined
	nspawnPrefix   = "systemd-nspawn@"
	// nspawnStopsIn is DefaultTimeoutStopSec, after which systemd kills.
	nspawnStopsIn = 90 * time.Second
)

// nspawn is the systemd of this host.
type nspawn struct {
	base
	ours orders

	mu    sync.Mutex
	known map[string]*nspawnEntry // by name
}

// A nspawnEntry is what is remembered of one machine between two questions. Guarded by nspawn.mu.
type nspawnEntry struct {
	init    health.Process
	addrs   []health.Addr
	config  string
	links   []string
	asked   int           // how often its addresses were asked for in this life
	stray   *nspawnStray  // it runs, and not by its own unit
	stops   time.Duration // how long systemd gives it to stop
	wasUp   bool          // when it was last ordered to start
	purpose string        // who stopped it, and
	told    bool          // that this was asked since it stopped
}

func openNspawn(s Spec, r Runner) (*tool, error) {
	switch {
	case s.Custom != nil:
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	case s.Path != "" || s.URI != "" || len(s.Args) > 0:
		return nil, errors.New("path, uri, args: there is one systemd on a host: remove them")
	}
	n := &nspawn{base: base{spec: s, run: r}, known: map[string]*nspawnEntry{}}
	return &tool{
		verbs: n.verbs(), checkID: checkNspawnID, list: n.list, look: n.look, defined: n.defined, exec: n.exec,
		meaning: n.meaning, files: nspawnFiles(), evidence: n.evidence, events: n.events,
		version: n.argv("machinectl", "--version"), units: []string{"machines.target"}, autostarter: systemdUnit("machines.target"),
		blind: []string{
			"A stop that systemd did is known from its journal, and not who asked for it; without a journal it is not known.",
			"\"machinectl poweroff\" looks like a poweroff inside: both count as on purpose.",
			"A machine that was not started by its systemd-nspawn@ unit is watched while it runs and never started.",
		},
	}, nil
}

func (n *nspawn) verbs() map[health.Verb]verb {
	line := func(more ...string) func(call) ([]string, error) {
		return func(c call) ([]string, error) {
			return n.argv("systemctl", append(append([]string{"--no-ask-password"}, more...), "--", nspawnUnitOf(c.id))...), nil
		}
	}
	read := readAnswer()
	return map[health.Verb]verb{
		// It says nothing about what runs already.
		health.VerbStart: {argv: line("start"), before: n.remember, after: n.started, limit: 2 * time.Minute, slack: 10 * time.Second, read: read},
		// systemd kills what has not ended after TimeoutStopSec of the unit: it is the owner's word, and given the time.
		health.VerbStop:    {argv: line("stop"), before: n.begin, after: n.end, least: n.stopsIn, limit: nspawnStopsIn, slack: 20 * time.Second, read: read},
		health.VerbKill:    {argv: line("kill", "--signal=SIGKILL"), before: n.begin, after: n.end, limit: 30 * time.Second, read: read},
		health.VerbRestart: {argv: line("restart"), before: n.begin, after: n.end, least: n.stopsIn, limit: nspawnStopsIn, slack: 2 * time.Minute, read: read},
	}
}

func nspawnUnitOf(name string) string { return nspawnPrefix + name + ".service" }

// nspawnNameOf is the inverse of nspawnUnitOf.
func nspawnNameOf(unit string) (string, bool) {
	name, ok := strings.CutPrefix(unit, nspawnPrefix)
	name, ok2 := strings.CutSuffix(name, ".service")
	return name, ok && ok2 && checkNspawnID(name) == nil
}

// nspawnNameRE is a machine's name: systemd takes what could be a host's (hostname_is_valid).
var nspawnNameRE = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$`)

func checkNspawnID(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if !nspawnNameRE.MatchString(id) || strings.Contains(id, "..") {
		return fmt.Errorf("name %q: a machine is called as a host could be: letters, digits, '-', '_' and '.'", id)
	}
	return nil
}

// exec enters all namespaces of the container's init. machinectl shell would need a D-Bus inside.
func (n *nspawn) exec(id string, argv []string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.known[id]
	if e == nil || e.init.PID == 0 || !alive(e.init) {
		return nil, fmt.Errorf("run a command in machine %q: no init of it is known to live", id)
	}
	line := n.argv("nsenter", "--all", "--target="+strconv.Itoa(e.init.PID), "--")
	return append(line, argv...), nil
}

// defined tells whether there is an image, or a unit of its own, by that name.
func (n *nspawn) defined(name string) bool {
	for _, path := range []string{
		filepath.Join(nspawnImages, name), filepath.Join(nspawnImages, name+".raw"),
		"/etc/systemd/system/" + nspawnUnitOf(name), "/etc/systemd/system/" + nspawnUnitOf(name) + ".d",
		"/etc/systemd/system/machines.target.wants/" + nspawnUnitOf(name),
	} {
		if _, err := os.Lstat(n.file(path)); err == nil || !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// images lists what is in /var/lib/machines. That it is not there is no error: another folder may be named in units.
func (n *nspawn) images() ([]string, error) {
	entries, err := os.ReadDir(n.file(nspawnImages))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		raw, isRaw := strings.CutSuffix(name, ".raw")
		switch {
		case strings.HasPrefix(name, "."), strings.HasSuffix(name, ".nspawn"): // pools, half-made copies; settings
			continue
		case isRaw:
			name = raw
		case e.Type().IsRegular():
			continue
		}
		if err := checkNspawnID(name); err != nil {
			n.notes.add("image in %s not watched: %v", nspawnImages, err)
			continue
		}
		out = append(out, name)
	}
	return out, nil
}

func (n *nspawn) begin(_ context.Context, c call) { n.ours.begin(c.id) }

func (n *nspawn) end(_ context.Context, c call, _ *Answer) { n.ours.end(c.id) }

// stopsIn is how long systemd itself lets a machine take to stop.
func (n *nspawn) stopsIn(id string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.known[id]; e != nil {
		return min(e.stops, 15*time.Minute) // "infinity" too
	}
	return 0
}

// remember whether it runs before it is told to start.
func (n *nspawn) remember(ctx context.Context, c call) {
	s, err := n.look(ctx, c.id, health.Process{})
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.known[c.id]; e != nil {
		e.wasUp = err == nil && (s.State == health.Running || s.State == health.Paused)
	}
}

// started takes the cause of a failed start from the journal: "Job for … failed because the control process exited with
// error code" is all that systemctl says. What ran before was not started.
func (n *nspawn) started(ctx context.Context, c call, a *Answer) {
	n.mu.Lock()
	if e := n.known[c.id]; e != nil && a.Err == "" {
		a.Already = e.wasUp
	}
	n.mu.Unlock()
	if a.Err == "" {
		return
	}
	argv := n.argv("journalctl", "--quiet", "--boot", "--no-pager", "--output=json", "--output-fields=MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER", "--lines=50", "--unit="+nspawnUnitOf(c.id))
	t := n.run.Read(ctx, hostexec.Command{Argv: argv, Env: n.spec.Env, Timeout: lxcAskWithin, MaxOut: 256 << 10})
	if words := nspawnCause(parseJournal(t.Stdout)); words != "" {
		a.Cause = words
	}
}

// discoverNspawn finds systemd's containers where it runs and has any, without a process.
func discoverNspawn(_ context.Context, _ Runner) []Spec {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil
	}
	n := &nspawn{}
	images, err := n.images()
	if err != nil || len(images) == 0 {
		return nil
	}
	for _, dir := range []string{"/usr/bin", "/bin"} {
		if _, err := os.Stat(dir + "/systemd-nspawn"); err == nil {
			return []Spec{{Engine: "nspawn"}}
		}
	}
	return nil
}

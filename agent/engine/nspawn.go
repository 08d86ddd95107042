package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
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

// nspawnFolders are those in which systemd-nspawn looks for what it is to boot (systemd-nspawn(1), --machine=). Only the
// first is listed: what is in another is known once its unit is loaded.
func nspawnFolders() []string {
	return []string{nspawnImages, "/etc/machines", "/run/machines", "/usr/local/lib/machines", "/usr/lib/machines"}
}

// nspawn is the systemd of this host.
type nspawn struct {
	base

	mu    sync.Mutex
	known map[string]*nspawnEntry // by name
	away  nspawnAway
	deaf  time.Time // when machined last did not answer
}

// A nspawnEntry is what is remembered of one machine between two questions. Guarded by nspawn.mu.
type nspawnEntry struct {
	init    health.Process // on another host: of its nspawn
	leader  int            // on another host: the pid of its init there; 0 is not known
	sought  int            // how often that was asked for in this life
	mark    string         // on another host: of its folder or image
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
		facts: facts{intent: "whether the unit is enabled", stopped: "the journal of the unit", lock: "a job of systemd", cause: "the unit's result and the journal of the attempt", supervisor: "Restart= of the unit, until it has given up"},
		verbs: n.verbs(), checkID: checkNspawnID, list: n.list, look: n.look, defined: n.defined, exec: n.exec,
		meaning: n.meaning, files: nspawnFiles(), evidence: n.evidence, events: n.events,
		logs: n.logs, place: n.place,
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
	read := readNspawn
	return map[health.Verb]verb{
		// It says nothing about what runs already.
		health.VerbStart: {argv: line("start"), before: n.remember, after: n.started, limit: 2 * time.Minute, slack: 10 * time.Second, read: read},
		// systemd kills what has not ended after TimeoutStopSec of the unit: it is the owner's word, and given the time.
		health.VerbStop:    {argv: line("stop"), before: n.sign("stop"), least: n.stopsIn, limit: nspawnStopsIn, slack: 20 * time.Second, read: read},
		health.VerbKill:    {argv: line("kill", "--signal=SIGKILL"), before: n.sign("kill"), limit: 30 * time.Second, read: read},
		health.VerbRestart: {argv: line("restart"), before: n.sign("restart"), least: n.stopsIn, limit: nspawnStopsIn, slack: 2 * time.Minute, read: read},
		// What ended too often is refused (start-limit-hit), until its failures are forgotten.
		health.VerbRepair: {argv: line("reset-failed"), limit: 30 * time.Second, read: read},
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
	pid := 0
	if e := n.known[id]; e != nil && n.far() {
		pid = e.leader
	} else if e != nil && alive(e.init) {
		pid = e.init.PID
	}
	if pid == 0 {
		return nil, fmt.Errorf("run a command in machine %q: no init of it is known to live", id)
	}
	line := n.argv("nsenter", "--all", "--target="+strconv.Itoa(pid), "--")
	return append(line, argv...), nil
}

// defined tells whether there is an image, or a unit of its own, by that name.
func (n *nspawn) defined(name string) bool {
	for _, dir := range nspawnFolders() {
		if n.holds(filepath.Join(dir, name)) || n.holds(filepath.Join(dir, name+".raw")) {
			return true
		}
	}
	for _, path := range []string{
		"/etc/systemd/system/" + nspawnUnitOf(name), "/etc/systemd/system/" + nspawnUnitOf(name) + ".d",
		nspawnWanted + "/" + nspawnUnitOf(name),
	} {
		if n.holds(path) {
			return true
		}
	}
	return false
}

// holds tells whether a file of the host is there, or cannot be denied to be.
func (n *nspawn) holds(path string) bool {
	_, err := os.Lstat(n.file(path))
	return err == nil || !errors.Is(err, os.ErrNotExist)
}

// place tells /var/lib/machines from another folder that is mounted over it, or from the bare one below.
func (n *nspawn) place() string { return folderMark(n.file(nspawnImages)) }

// nspawnWanted is where the units stand that are started at boot.
const nspawnWanted = "/etc/systemd/system/machines.target.wants"

// enabled lists the machines that are started at boot, also those whose images are not there.
func (n *nspawn) enabled() (out []string) {
	entries, _ := os.ReadDir(n.file(nspawnWanted))
	for _, e := range entries {
		if name, ok := nspawnNameOf(e.Name()); ok {
			out = append(out, name)
		}
	}
	return out
}

// images lists what is in /var/lib/machines. That it is not there is no error: another folder may be named in units.
func (n *nspawn) images(ctx context.Context) ([]string, error) {
	if n.far() {
		return n.awayImages(ctx)
	}
	entries, err := os.ReadDir(n.file(nspawnImages))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	out := n.enabled()
	for _, e := range entries {
		if name := n.imageName(e.Name(), e.Type().IsRegular()); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// imageName gives the machine whose folder or image this is; "" if none.
func (n *nspawn) imageName(file string, regular bool) string {
	raw, isRaw := strings.CutSuffix(file, ".raw")
	switch {
	case strings.HasPrefix(file, "."), strings.HasSuffix(file, ".nspawn"): // pools, half-made copies; settings
		return ""
	case isRaw:
		file = raw
	case regular:
		return ""
	}
	if err := checkNspawnID(file); err != nil {
		n.notes.add("image in %s not watched: %v", nspawnImages, err)
		return ""
	}
	return file
}

// stopsIn is how long systemd itself lets a machine take to stop.
func (n *nspawn) stopsIn(id string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.known[id]; e != nil {
		return min(e.stops, 15*time.Minute) // "infinity" too
	}
	return 0
}

// discoverNspawn finds systemd's containers where it runs and has any, without a process.
func discoverNspawn(ctx context.Context, _ Runner) []Spec {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil
	}
	n := &nspawn{}
	images, err := n.images(ctx)
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

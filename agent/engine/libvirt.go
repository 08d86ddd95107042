package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
)

// libvirt, by virsh, as measured with 9.0 on Debian 12: VMs of qemu:///system and containers of lxc:///, whatever else has
// a URI with less.
//
// Domains are known by name, since people call them so, and asked for by UUID: a name may look like an option, and one that
// looks like a number or a UUID is taken by virsh for the id of another (virsh-util.c: id first, then UUID, then name).

const (
	virtDefaultURI = "qemu:///system" // what root's virsh takes when told none
	virtAskWithin  = 10 * time.Second // of what is asked about one domain; 25 ms, or as long as the daemon hangs
)

// libvirt is one connection.
type libvirt struct {
	base
	uri    string
	driver string // "qemu", "lxc", …
	local  bool   // files and processes of this host are about its domains

	mu     sync.Mutex
	known  map[string]*virtDomain  // by UUID
	slow   map[string]*virtSilence // those that do not answer
	tables bool                    // the driver has no domstats
}

func openLibvirt(s Spec, r Runner) (*tool, error) {
	if s.Custom != nil {
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	}
	if s.Path != "" {
		return nil, fmt.Errorf("path %q: belongs to the engine \"lxc\": remove it", s.Path)
	}
	if s.URI == "" {
		s.URI = virtDefaultURI
	}
	driver, local, err := parseVirtURI(s.URI)
	if err != nil {
		return nil, fmt.Errorf("uri: %w", err)
	}
	l := &libvirt{base: base{spec: s, run: r}, uri: s.URI, driver: driver, local: local && !s.far(), known: map[string]*virtDomain{}, slow: map[string]*virtSilence{}}
	l.tables = driver == "lxc" // samples/real-libvirt-lxc-states.txt: "not supported by the connection driver"
	t := &tool{
		facts: facts{intent: "autostart", stopped: "the reason of the state (destroyed, shutdown); of a VM its log", lock: "its job (domjobinfo), managed save", cause: "the innermost words of virsh and of the driver; of a VM its log", supervisor: "metadata of OpenStack Nova and its like; transient domains"},
		verbs: map[health.Verb]verb{
			health.VerbStart: {argv: l.command("start"), limit: 2 * time.Minute, slack: 10 * time.Second, read: readVirtAnswer},
			// It only hands the wish on, rc 0, whether it is heard or not.
			health.VerbStop: {argv: l.stop, limit: 2 * time.Minute, read: readVirtAnswer, after: l.awaitStop},
			// SIGTERM, after 10 s SIGKILL, which qemu in uninterruptible sleep outlives.
			health.VerbKill: {argv: l.kill, limit: time.Minute, slack: 10 * time.Second, read: readVirtAnswer},
		},
		checkID: checkID, list: l.list, look: l.look, defined: l.defined, place: l.place, events: l.events,
		meaning: l.meaning, files: vzFiles("virsh"), evidence: l.evidence, logs: l.logs, hint: l.hint, version: l.virsh("version"),
		blind: l.blindness(), units: virtUnits(), autostarter: l.autostarter(),
	}
	if driver == "lxc" {
		t.exec, t.execEnd = l.exec, virtExecEnd
	}
	return t, nil
}

// virsh begins a command line of this connection.
func (l *libvirt) virsh(more ...string) []string {
	return append(l.argv("virsh", "-c", l.uri), more...)
}

// domain gives the words by which virsh is told one domain, and nothing else.
func (l *libvirt) domain(id string) (string, error) {
	if uuid := l.uuid(id); uuid != "" {
		return uuid, nil
	}
	if err := checkPlain(id); err != nil {
		return "", err
	}
	if virtMistaken(id) {
		return "", fmt.Errorf("domain %q: virsh takes such a name for an id or a UUID, and it has not been listed yet", id)
	}
	return id, nil
}

// uuid is that of the domain with this name; empty when none is known.
func (l *libvirt) uuid(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uuid, d := range l.known {
		if d.name == name {
			return uuid
		}
	}
	return ""
}

func (l *libvirt) command(verb string) func(call) ([]string, error) {
	return func(c call) ([]string, error) {
		domain, err := l.domain(c.id)
		return l.virsh(verb, domain), err
	}
}

func (l *libvirt) kill(c call) ([]string, error) {
	l.ours(c.id)
	return l.command("destroy")(c)
}

// stop asks a guest to end. With LXC the plain command says "is being shutdown", rc 0, and does nothing in a container that
// has no initctl (measured with 9.0), so a signal goes to its init there, which not all take for the same.
func (l *libvirt) stop(c call) ([]string, error) {
	domain, err := l.domain(c.id)
	if err != nil {
		return nil, err
	}
	l.ours(c.id)
	if l.driver != "lxc" {
		return l.virsh("shutdown", domain), nil
	}
	kind := virtInitKind(l.init(c.id))
	if !l.local {
		kind = l.askInitKind(domain)
	}
	switch kind {
	case "initctl":
		return l.virsh("shutdown", domain, "--mode", "initctl"), nil
	case "systemd": // SIGRTMIN+4 is poweroff.target, systemd(1); SIGTERM would make it load itself anew
		return l.virsh("send-process-signal", domain, "1", "rt4"), nil
	case "busybox": // SIGUSR2 is poweroff, init.c; SIGTERM would be a reboot
		return l.virsh("send-process-signal", domain, "1", "usr2"), nil
	default:
		return l.virsh("shutdown", domain, "--mode", "signal"), nil
	}
}

// ours remembers that this life of a domain is ended by us.
func (l *libvirt) ours(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.known {
		if d.name == id {
			d.own, d.ownLife, d.ownOver, d.dirty = true, d.life(), false, true
		}
	}
}

// notOurs takes that back, when it did not end.
func (l *libvirt) notOurs(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.known {
		d.own = d.own && d.name != id
	}
}

func (l *libvirt) init(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.known {
		if d.name == id {
			return d.init.PID
		}
	}
	return 0
}

// exec runs a command in the namespaces of a container, with libvirt's own command for it. That looks nothing up in a PATH:
// what is no path is handed to a shell inside, as arguments and never as text.
func (l *libvirt) exec(id string, argv []string) ([]string, error) {
	domain, err := l.domain(id)
	if !strings.HasPrefix(argv[0], "/") {
		argv = append([]string{"/bin/sh", "-c", `exec "$@"`, "sh"}, argv...)
	}
	return append(l.virsh("lxc-enter-namespace", "--noseclabel", domain, "--"), argv...), err
}

// defined tells whether libvirt has the definition of a domain on disk. One that is there and not listed could not be read
// by the daemon when it started.
func (l *libvirt) defined(id string) bool {
	if !l.local {
		return true
	}
	if _, err := os.Stat(l.folder()); err != nil {
		return true // what cannot be read proves nothing
	}
	_, err := os.Stat(l.definition(id))
	return err == nil
}

func (l *libvirt) folder() string { return l.file("/etc/libvirt/" + l.driver) }

func (l *libvirt) definition(id string) string { return filepath.Join(l.folder(), id+".xml") }

func (l *libvirt) place() string {
	if !l.local {
		return ""
	}
	return folderMark(l.folder())
}

// virtUnits are the daemons, whole or in parts, and what shuts guests down with the host.
func virtUnits() []string {
	return []string{"libvirtd.service", "virtqemud.service", "virtlxcd.service", "libvirt-guests.service"}
}

// autostarter is the daemon, which starts what is marked so when it starts itself.
func (l *libvirt) autostarter() string {
	if !l.local {
		return ""
	}
	if unit := systemdUnit("virt" + l.driver + "d.service"); unit != "" {
		return unit
	}
	return systemdUnit("libvirtd.service")
}

// daemonHint says why every command hangs: the daemon is stopped.
func (l *libvirt) daemonHint() string {
	if !l.local {
		return ""
	}
	for _, name := range []string{"virt" + l.driver + "d", "libvirtd"} {
		b, err := readBounded(l.file("/run/"+name+".pid"), 64)
		if err != nil {
			continue
		}
		if words := stoppedProcess(virtNumber(b)); words != "" {
			return "its daemon " + name + ", " + words
		}
	}
	return ""
}

// hint says why a command about one domain hangs: the daemon is stopped, or the domain's process, or something holds it.
func (l *libvirt) hint(id string) string {
	if why := l.daemonHint(); why != "" {
		return why
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.known {
		if d.name != id {
			continue
		}
		if words := stoppedProcess(d.holder(l)); words != "" {
			return words
		}
		if s := l.slow[d.uuid]; s != nil {
			return s.words()
		}
	}
	return ""
}

func (l *libvirt) blindness() []string {
	out := []string{"What was stopped through another program than virsh is known only as libvirt's own reason, which is lost when its daemon restarts."}
	switch l.driver {
	case "lxc":
		out = append(out, "Every end of a container's init is \"shutdown\" to libvirt, kill -9 too: who ended it is known only when it was virsh destroy.")
	case "qemu":
		out = append(out, "A guest that hangs or reboots inside its VM is seen by probes only; no command is run inside (the guest agent is not used).",
			"Addresses are those that libvirt's own DHCP gave, or that this host has spoken to.")
	}
	if !l.local && !l.far() {
		out = append(out, "The domains are on another host: their processes and files are not seen, and deaths are noticed by polling.")
	}
	return out
}

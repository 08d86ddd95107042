package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// look asks about one domain in one process: the names, so that absence is told for sure, the marks, and all about it.
func (l *libvirt) look(ctx context.Context, id string, _ health.Process) (health.Sighting, error) {
	uuid := l.uuid(id)
	if uuid == "" {
		return l.lookForNew(ctx, id)
	}
	cmds := []string{"list --all --uuid --name", "list --all --autostart --uuid", "list --all --with-managed-save --uuid", "list --all --transient --uuid", "domid " + uuid}
	n := len(cmds)
	cmds = append(cmds, virtAsk(uuid)...)
	if l.driver != "lxc" { // which has no jobs
		cmds = append(cmds, "domjobinfo "+uuid)
	}
	items, _, err := l.batch(ctx, cmds, virtAskWithin)
	if err != nil {
		return health.Sighting{}, err
	}
	names, err := parseVirtNames(items[0])
	if err != nil {
		return health.Sighting{}, err
	}
	if !slices.ContainsFunc(names, func(n virtNamed) bool { return n.uuid == uuid && n.name == id }) {
		return l.lookForNew(ctx, id)
	}
	snap := virtSnapshot{said: map[string]virtSaid{}}
	for i, set := range []*map[string]bool{&snap.autostart, &snap.saved, &snap.transient} {
		if *set, err = parseVirtUUIDs(items[1+i]); err != nil {
			return health.Sighting{}, err
		}
	}
	state, reason, ok := parseVirtReason(items[n])
	if !ok {
		return health.Sighting{}, fmt.Errorf("virsh domstate said %q about it", tidy(items[n]))
	}
	said, near := virtSaid{state: state, reason: reason}, l.neighbours()
	l.mu.Lock()
	if l.tables { // else a list does not tell it, and it would seem to change
		said.domid = virtDomID(items[n-1])
	}
	snap.said[id] = said
	l.learn(virtNamed{uuid, id}, snap)
	d := l.known[uuid]
	l.digest(d, items[n:n+virtDetails], near)
	d.job = ""
	if len(items) > n+virtDetails {
		d.job = parseVirtJob(items[n+virtDetails])
	}
	l.mu.Unlock()
	if reason == "I/O error" {
		l.askDisks(ctx, uuid)
	}
	if s, ok := l.sighting(uuid, true); ok {
		return s, nil
	}
	return health.Sighting{}, fmt.Errorf("domain %q was removed just now", id)
}

// askDisks asks a VM that is paused by an I/O error which of its disks failed, and how.
func (l *libvirt) askDisks(ctx context.Context, uuid string) {
	items, _, err := l.batch(ctx, []string{"domblkerror " + uuid}, virtAskWithin)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.known[uuid]; d != nil {
		d.disks = tidy(strings.Join(nonEmptyLines(items[0]), ", "))
	}
}

// virtDomID reads "domid". The numbers of VMs are no pids and of no use.
func virtDomID(item string) string {
	lines := nonEmptyLines(item)
	if len(lines) != 1 {
		return ""
	}
	return strings.TrimSpace(lines[0])
}

// lookForNew looks for a domain whose UUID is not known, or no longer its own.
func (l *libvirt) lookForNew(ctx context.Context, id string) (health.Sighting, error) {
	listing, err := l.list(ctx, nil)
	if err != nil {
		return health.Sighting{}, err
	}
	for _, s := range listing.Containers {
		if s.Ref.ID != id {
			continue
		}
		if s, ok := l.sighting(s.Mark, true); ok {
			return s, nil
		}
	}
	s := health.Sighting{Ref: l.ref(id), Name: id, State: health.Removed, At: time.Now()}
	if l.local && l.defined(id) {
		s.State, s.Detail = health.Missing, fmt.Sprintf("libvirt does not know it, although %q is there: its daemon could not read it when it started", l.definition(id))
	}
	return s, nil
}

// virtAwaitEvery is how often a domain that was asked to end is looked at.
const virtAwaitEvery = 500 * time.Millisecond

// awaitStop waits until a domain that was asked to end has ended, since the tool only hands the wish on.
func (l *libvirt) awaitStop(ctx context.Context, c call, a *Answer) {
	if a.Err != "" {
		return
	}
	last := health.Unknown
	for until := a.Transcript.Started.Add(c.limit); ; {
		if s, err := l.look(ctx, c.id, health.Process{}); err == nil {
			if last = s.State; last == health.Stopped || last == health.Removed {
				return
			}
		}
		left := time.Until(until)
		if left <= 0 {
			l.notOurs(c.id)
			a.Err, a.Cause = fmt.Sprintf("libvirt handed the wish on, and %q is %s after %s", c.id, last, c.limit), "the guest did not follow the wish to end"
			return
		}
		select {
		case <-ctx.Done():
			a.Err = "no longer awaited: " + context.Cause(ctx).Error()
			return
		case <-time.After(min(left, virtAwaitEvery)):
		}
	}
}

// events follows what happens to the lives of domains. A guest's reboot is none of that: the end of a container's init is
// told by the kernel, and a VM's process goes on. The stream ends with the daemon (measured with 9.0).
func (l *libvirt) events(ctx context.Context, changed func(id string)) error {
	argv := l.virsh("event", "--loop", "--timestamp", "--event", "lifecycle")
	return l.run.Stream(ctx, hostexec.Command{Argv: argv, Env: l.spec.Env}, func(line []byte) error {
		name, words, ok := parseVirtEvent(line)
		if !ok {
			return nil
		}
		uuid := l.uuid(name)
		l.mu.Lock()
		if d := l.known[uuid]; d != nil {
			d.dirty = true
			d.own = d.own && !strings.HasPrefix(words, "Started")
		}
		l.mu.Unlock()
		if uuid == "" || strings.HasPrefix(words, "Defined") || strings.HasPrefix(words, "Undefined") {
			name = "" // one that is not known yet, or will no longer be
		}
		changed(name)
		return nil
	})
}

// evidence names what libvirt has about a domain. Its definition is asked for and not read from its file, which holds
// passwords.
func (l *libvirt) evidence(id string, _ health.Sighting) []Source {
	domain, err := l.domain(id)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	var conf virtConf
	runs := true
	if d := l.known[domain]; d != nil {
		conf, runs = d.conf, d.said.state != "shut off"
	}
	l.mu.Unlock()
	ask := func(cmds ...string) []string {
		for i := range cmds {
			cmds[i] += " " + domain
		}
		return l.virsh(strings.Join(cmds, "; "))
	}
	var out []Source
	if runs && conf.screen && l.driver == "qemu" {
		// Quiet, it prints nothing but the picture, a PNG (measured with libvirt 9.0 and qemu 7.2).
		argv := append(l.argv("virsh", "-q", "-c", l.uri), "screenshot", domain, "--file", "/dev/stdout")
		out = append(out, Source{Name: "screenshot.png", Argv: argv, Volatile: true, Tail: 1 << 20})
	}
	state := []string{"domstate --reason", "dominfo", "domcontrol"}
	if l.driver == "qemu" {
		state = append(state, "domblkerror", "domjobinfo", "domstats --nowait")
	}
	out = append(out, Source{Name: "libvirt-state.txt", Argv: ask(state...), Volatile: true},
		Source{Name: "libvirt-domain.xml", Argv: l.virsh("dumpxml", domain), Volatile: true})
	if !l.local {
		return out
	}
	out = append(out, Source{Name: l.driver + ".log", Path: l.file("/var/log/libvirt/" + l.driver + "/" + id + ".log"), Tail: lxcLogTail})
	for i, path := range conf.consoles {
		name := "console.log"
		if i > 0 {
			name = fmt.Sprintf("console-%d.log", i)
		}
		// The guest writes its content, and libvirt its name: only its own folder is trusted.
		out = append(out, Source{Name: name, Root: filepath.Dir(path), Path: filepath.Base(path), Volatile: true, Tail: lxcLogTail})
	}
	return out
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// look asks about one domain in one process, and of no other: one of them whose lock somebody holds would hang the answer.
func (l *libvirt) look(ctx context.Context, id string, _ health.Process) (health.Sighting, error) {
	uuid := l.uuid(id)
	if uuid == "" {
		return l.lookForNew(ctx, id)
	}
	if err := l.askAbout(ctx, []string{uuid}, virtAskWithin); err != nil {
		return health.Sighting{}, err
	}
	l.mu.Lock()
	d := l.known[uuid]
	same := d != nil && d.name == id
	failed := same && d.said.reason == "I/O error"
	delete(l.slow, uuid) // it has just answered
	l.mu.Unlock()
	if !same {
		return l.lookForNew(ctx, id)
	}
	l.askJobs(ctx, []string{uuid}, true)
	if failed {
		l.askDisks(ctx, uuid)
	}
	if s, ok := l.sighting(uuid, true); ok {
		return s, nil
	}
	return health.Sighting{}, fmt.Errorf("domain %q was removed just now", id)
}

// askAbout asks about some domains, in one process, and takes in what is said. Who is gone is forgotten.
func (l *libvirt) askAbout(ctx context.Context, uuids []string, within time.Duration) error {
	var cmds []string
	for _, uuid := range uuids {
		cmds = append(append(cmds, "dominfo "+uuid), l.questions(uuid)...)
	}
	items, said, err := l.batch(ctx, cmds, within)
	if err != nil {
		return err
	}
	near, n := l.neighbours(ctx), len(cmds)/len(uuids)
	l.mu.Lock()
	for i, uuid := range uuids {
		err = errors.Join(err, l.hear(uuid, items[i*n:(i+1)*n], said, near))
	}
	l.mu.Unlock()
	return err
}

// hear takes in what is said about one domain. The caller holds mu.
func (l *libvirt) hear(uuid string, items, said []string, near map[string][]health.Addr) error {
	info, ok := parseVirtInfo(items[0])
	if !ok && slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "failed to get domain '"+uuid) }) {
		delete(l.known, uuid)
		return nil
	}
	state, reason, ok2 := parseVirtReason(items[1])
	if !ok || !ok2 {
		return fmt.Errorf("virsh said %q and %q about domain %s: %s", tidy(items[0]), tidy(items[1]), uuid, strings.Join(said, ": "))
	}
	now := virtSaid{state: state, reason: reason}
	if l.tables { // else a list does not tell it, and it would seem to change
		now.domid = info.domid
	}
	mark := func(is bool) map[string]bool { return map[string]bool{uuid: is} }
	l.learn(virtNamed{uuid, info.name}, virtSnapshot{said: map[string]virtSaid{info.name: now},
		autostart: mark(info.autostart), saved: mark(info.saved), transient: mark(info.transient)})
	l.digest(l.known[uuid], items[1:], near)
	return nil
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
		if s := l.slow[uuid]; s != nil {
			s.next = time.Time{}
		}
		l.mu.Unlock()
		if uuid == "" || strings.HasPrefix(words, "Defined") || strings.HasPrefix(words, "Undefined") {
			name = "" // one that is not known yet, or will no longer be
		}
		changed(name)
		return nil
	})
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The degraded path. The daemon holds a domain's lock while it runs its hooks, opens its files and saves it; where one of
// these hangs, as on a storage that is away, every list hangs for ever (measured with 9.0: a hook that sleeps, a save into
// a pipe). The other domains still answer when they are asked by themselves.
//
// What is asked about the culprit, or about all, keeps one of the daemon's threads, of which there are 20 (max_workers),
// although the asker was ended long ago. So the culprit is asked after 10, 20, 40 … seconds, and at once when an event tells
// of it.

// virtSlowFirst is how long the culprit is not asked again at first.
const virtSlowFirst = 10 * time.Second

// errVirtSilent is an answer that did not come, while the daemon itself is not stopped.
var errVirtSilent = errors.New("no answer")

// virtSilence is that of one domain.
type virtSilence struct {
	since, next time.Time
	wait        time.Duration
}

func (s *virtSilence) words() string {
	return fmt.Sprintf("libvirt gives no answer about it since %s: some operation of libvirt holds it, as a hook, a save, or its storage that is away; "+
		"all others are asked one by one", s.since.Format("15:04:05"))
}

// stillSlow asks again those that did not answer, when it is time, and tells whether one of them still does not.
func (l *libvirt) stillSlow(ctx context.Context) bool {
	var due []string
	l.mu.Lock()
	for uuid, s := range l.slow {
		if time.Now().After(s.next) {
			due = append(due, uuid)
		}
	}
	l.mu.Unlock()
	l.askEach(ctx, due)
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slow) > 0
}

// listSlowly lists without asking for all at once: who is known, or has a definition on disk, is asked by itself; later, with
// the culprits known, those others together.
func (l *libvirt) listSlowly(ctx context.Context, first bool) (Listing, error) {
	uuids := l.everyone()
	var ask []string
	l.mu.Lock()
	for _, uuid := range uuids {
		if l.slow[uuid] == nil {
			ask = append(ask, uuid)
		}
	}
	l.mu.Unlock()
	for chunk := range slices.Chunk(ask, virtChunk) {
		if first || errors.Is(l.askAbout(ctx, chunk, l.spec.Timeout), errVirtSilent) {
			l.askEach(ctx, chunk)
		}
	}
	l.mu.Lock()
	all := len(l.slow) == len(uuids)
	l.mu.Unlock()
	if all { // is it the daemon, or each of them?
		if _, _, err := l.batch(ctx, []string{"uri"}, slowWithin); err != nil {
			l.mu.Lock()
			l.slow = map[string]*virtSilence{}
			l.mu.Unlock()
			return Listing{Notes: l.notes.take()}, err
		}
	}
	out := l.listing(uuids)
	out.Degraded = l.degraded()
	return out, ctx.Err()
}

var virtUUIDLine = regexp.MustCompile(`<uuid>([0-9a-fA-F-]{36})</uuid>`)

// everyone gives the UUIDs of those that are known, and of those with a definition or a life on disk, which are then known
// by name.
func (l *libvirt) everyone() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, dir := range []string{l.folder(), l.file("/run/libvirt/" + l.driver)} {
		files, _ := filepath.Glob(filepath.Join(dir, "*.xml"))
		for _, f := range files {
			b, err := readBounded(f, 1<<20)
			m := virtUUIDLine.FindSubmatch(b)
			if err != nil || m == nil || !l.local {
				continue
			}
			if uuid := strings.ToLower(string(m[1])); l.known[uuid] == nil {
				l.known[uuid] = &virtDomain{uuid: uuid, name: strings.TrimSuffix(filepath.Base(f), ".xml"), dirty: true}
			}
		}
	}
	return sortedKeys(l.known)
}

// askEach asks about each by itself, some at once, and remembers who is silent.
func (l *libvirt) askEach(ctx context.Context, uuids []string) {
	askEach(uuids, func(uuid string) {
		err := l.askAbout(ctx, []string{uuid}, slowWithin)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errVirtSilent):
			l.silent(uuid)
		default:
			delete(l.slow, uuid)
		}
	})
}

// silent notes that a domain did not answer. The caller holds mu.
func (l *libvirt) silent(uuid string) {
	s := l.slow[uuid]
	if s == nil {
		s = &virtSilence{since: time.Now(), wait: virtSlowFirst / 2}
		l.slow[uuid] = s
	}
	s.wait *= 2
	s.next = time.Now().Add(s.wait)
}

// degraded names who does not answer.
func (l *libvirt) degraded() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var who []string
	for _, uuid := range sortedKeys(l.slow) {
		name := uuid
		if d := l.known[uuid]; d != nil {
			name = tidy(d.name)
		}
		who = append(who, fmt.Sprintf("%q", name))
	}
	if len(who) == 0 {
		return fmt.Sprintf("virsh list gave no answer within %s, though each domain answers: asked one by one", l.spec.Timeout)
	}
	return "virsh list hangs because of " + culprits(who) + ": the others are asked one by one"
}

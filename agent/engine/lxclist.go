package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// lxcFew is up to how many containers are asked about with lxc-info, 5 ms each. Beyond, one lxc-ls -f is asked for all
// that changed: it takes some 2.5 ms a container, as it enters each one's network namespace.
const lxcFew = 4

// errLXCSlow says that the plain list was not answered.
var errLXCSlow = errors.New("lxc-ls gave no answer")

// A list costs at most one process, whatever the number of containers: the folder tells who is defined, /proc tells
// whether a known init lives and its cgroup whether it is frozen, and one lxc-ls -1 --running tells who else runs and
// whose configuration cannot be loaded. Columns are asked for only where that does not fit what is known. Where nothing
// has moved at all it costs none; see quiet.
//
// It is --running and not --active, though that is cheaper with many stopped: --active takes the names from
// /proc/net/unix and misses those with a blank in them. --running includes the frozen.
func (l *lxc) list(ctx context.Context, live []health.Ref) (Listing, error) {
	l.checkNetwork()
	held := l.heldIDs(live)
	folders, err := l.folders()
	if err != nil {
		return Listing{Notes: l.notes.take()}, err
	}
	if l.stillSlow(ctx, folders) {
		return l.listSlowly(ctx, folders, false), nil
	}
	if l.quiet(folders, held) {
		out := l.listing(folders, nil)
		out.Unasked = true
		return out, nil
	}
	running, broken, err := l.plain(ctx, folders)
	if errors.Is(err, errLXCSlow) && ctx.Err() == nil {
		return l.listSlowly(ctx, folders, true), nil
	}
	if err != nil {
		return Listing{Notes: l.notes.take()}, err
	}
	l.mu.Lock()
	l.plainAt = time.Now()
	l.mu.Unlock()
	err = l.askChanged(ctx, l.unclear(folders, running, broken))
	return l.listing(folders, running), err
}

func (l *lxc) heldIDs(live []health.Ref) map[string]bool {
	held := make(map[string]bool, len(live))
	for _, r := range live {
		if r.Engine == "lxc" && r.Instance == l.spec.Instance {
			held[r.ID] = true
		}
	}
	return held
}

// plain asks who runs, and whose configuration cannot be loaded.
func (l *lxc) plain(ctx context.Context, folders map[string]lxcFolder) (running, broken map[string]bool, err error) {
	t := l.run.Read(ctx, hostexec.Command{
		Argv: []string{"lxc-ls", "-P", l.path, "-1", "--running"}, Timeout: l.spec.Timeout, MaxOut: maxList,
	})
	switch {
	case t.TimedOut:
		return nil, nil, errLXCSlow
	case t.Err() != nil:
		return nil, nil, t.Err()
	case t.StdoutSize > int64(len(t.Stdout)):
		return nil, nil, fmt.Errorf("lxc-ls printed %d bytes: not believed", t.StdoutSize)
	}
	running, broken = make(map[string]bool), make(map[string]bool)
	strange := 0
	for _, name := range parseLXCNames(t.Stdout) {
		if err := checkID(name); err != nil {
			l.notes.add("lxc-ls in %q printed what is no name: %v", l.path, err)
			continue
		}
		if _, ok := folders[name]; !ok {
			strange++ // it may run on without a definition, but hardly many do
		}
		running[name] = true
	}
	if strange > 16 && strange > len(folders) {
		return nil, nil, fmt.Errorf("lxc-ls printed %d names that are in no folder: not believed", strange)
	}
	for _, name := range parseLXCBroken(t.Stderr) {
		if _, ok := folders[name]; ok {
			broken[name] = true
		}
	}
	return running, broken, nil
}

// unclear settles what needs no question, and gives the names of the rest.
func (l *lxc) unclear(folders map[string]lxcFolder, running, broken map[string]bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ask []string
	for name, f := range folders {
		if l.settle(l.entry(name, f), f, running[name], broken[name]) {
			continue
		}
		ask = append(ask, name)
	}
	for name := range running {
		if _, defined := folders[name]; defined {
			continue
		}
		if e := l.known[name]; e == nil || !l.settle(e, lxcFolder{}, true, false) {
			ask = append(ask, name)
		}
	}
	slices.Sort(ask)
	return ask
}

// settle tells whether what is known of a container fits the list, and brings it up to date without a process.
func (l *lxc) settle(e *lxcEntry, f lxcFolder, running, broken bool) bool {
	lives := e.init.PID != 0 && alive(e.init)
	switch {
	case broken:
		return e.state == health.Broken && e.fault == e.conf.mark && (lives || e.init.PID == 0)
	case f.lock != nil && !running && !lives:
		e.creating(f.lock)
		return true
	case running && lives && (e.state == health.Running || e.state == health.Paused):
		return e.thaw()
	case running || lives:
		return false
	}
	e.fault = ""
	if e.state != health.Stopped || e.lock != nil {
		e.stopped("")
	}
	return true
}

// thaw reads whether a living container is frozen; false when its cgroup cannot be read.
func (e *lxcEntry) thaw() bool {
	if e.freeze == "" {
		e.freeze, e.frozen = freezerFile(e.init.PID)
	}
	b, err := os.ReadFile(e.freeze)
	if err != nil {
		e.freeze = ""
		return false
	}
	if bytes.Contains(b, []byte(e.frozen)) {
		e.state, e.detail = health.Paused, "FROZEN"
	} else {
		e.state, e.detail = health.Running, ""
	}
	return true
}

// askChanged asks for columns of what changed: one by one when they are few, else with one process for all.
func (l *lxc) askChanged(ctx context.Context, names []string) error {
	if len(names) > lxcFew {
		rest, err := l.askTable(ctx, names)
		if err != nil {
			return err
		}
		names = rest
	}
	l.askEach(ctx, names, lxcAskWithin)
	return ctx.Err()
}

// askTable asks with one lxc-ls -f, and gives back the names that it said nothing about: broken ones, and those with
// blanks, which do not read back from a table.
func (l *lxc) askTable(ctx context.Context, names []string) (rest []string, err error) {
	argv := []string{"lxc-ls", "-P", l.path, "-f", "-F", lxcColumns}
	if f := lxcFilter(names); len(f) < 100<<10 { // one argument holds 128 KiB at most
		argv = append(argv, "--filter="+f)
	}
	t := l.run.Read(ctx, hostexec.Command{Argv: argv, Timeout: l.spec.Timeout, MaxOut: maxList})
	if t.TimedOut {
		return names, nil // one by one, then: the slow one is found there
	}
	if err := t.Err(); err != nil {
		return nil, err
	}
	rows, err := parseLXCTable(t.Stdout)
	if err != nil {
		return nil, err
	}
	folders, err := l.folders()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		row, ok := rows[name]
		if _, known := lxcState(row.state); !ok || !known || strings.TrimSpace(name) != name {
			rest = append(rest, name)
			continue
		}
		e := l.entry(name, folders[name])
		e.learn(row, name, l)
	}
	return rest, nil
}

// lxcFilter is an extended regular expression that fits the names and nothing else.
func lxcFilter(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}

// listing tells what is known now of the defined, and of those that run on without a definition. All others are
// forgotten.
func (l *lxc) listing(folders map[string]lxcFolder, running map[string]bool) Listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out Listing
	for _, name := range sortedKeys(l.known) {
		e := l.known[name]
		_, defined := folders[name]
		switch {
		case defined:
			out.Containers = append(out.Containers, l.sighting(name, e))
		case running[name] && e.init.PID != 0 && alive(e.init):
			s := l.sighting(name, e)
			s.Detail = strings.TrimPrefix(s.Detail+"; its config is gone while it runs", "; ")
			out.Containers = append(out.Containers, s)
		default:
			delete(l.known, name)
			delete(l.slow, name)
		}
	}
	out.Notes = l.notes.take()
	return out
}

// checkNetwork tells, once, of an agent that cannot see the containers' state sockets.
func (l *lxc) checkNetwork() {
	ours, err1 := os.Readlink("/proc/self/ns/net")
	first, err2 := os.Readlink("/proc/1/ns/net")
	if err1 == nil && err2 == nil && ours != first {
		l.notes.add("the agent is in another network namespace than process 1: LXC's state sockets belong to a network namespace, so containers started outside read as stopped: remove PrivateNetwork= from its unit")
	}
}

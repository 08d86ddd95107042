package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

const (
	// nspawnEnding is how long a look waits for systemd to finish with a machine that has died: 30 ms, and 100 ms more
	// until it starts one that rebooted.
	nspawnEnding = 3 * time.Second
	// nspawnAddrTries is in how many lists a machine without addresses is asked about: it may have none at all.
	nspawnAddrTries = 6
	// nspawnAtOnce is about how many stopped machines the journal is asked in one list.
	nspawnAtOnce = 100
)

// list asks systemd with one process about all images, and all instances of its unit that are loaded. A second one is
// started only for what is new: a life without addresses, an end without a reason, a machine without a unit.
func (n *nspawn) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	names, err := n.images(ctx)
	if err != nil {
		return Listing{Notes: n.notes.take()}, err
	}
	units, err := n.show(ctx, names, true)
	if err != nil {
		return Listing{Notes: n.notes.take()}, err
	}
	for unit := range units {
		if name, ok := nspawnNameOf(unit); ok && !slices.Contains(names, name) && (n.isDefined(name, units[unit]) || units[unit]["MainPID"] != "0") {
			names = append(names, name)
		}
	}
	for _, name := range n.strays(ctx, units) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	n.learn(ctx, names, units)
	out := Listing{Containers: make([]health.Sighting, 0, len(names))}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		out.Containers = append(out.Containers, n.sighting(name, units[nspawnUnitOf(name)]))
	}
	for name := range n.known {
		if !slices.Contains(names, name) {
			delete(n.known, name)
		}
	}
	out.Notes = n.notes.take()
	return out, nil
}

// learn takes in what a list told, and asks for what it does not tell. Failing is no failure of the list.
func (n *nspawn) learn(ctx context.Context, names []string, units map[string]nspawnUnit) {
	n.mu.Lock()
	var ended []string
	lacks := false
	for _, name := range names {
		s := n.sighting(name, units[nspawnUnitOf(name)])
		e := n.known[name]
		if s.State == health.Running && len(e.addrs) == 0 && e.asked < nspawnAddrTries {
			lacks = true
		}
		if s.State == health.Stopped && !e.told && len(ended) < nspawnAtOnce {
			ended = append(ended, name)
		}
	}
	n.mu.Unlock()
	if lacks {
		n.askAddrs(ctx)
	}
	n.askPurpose(ctx, ended)
	n.askLeaders(ctx)
}

// look asks about one machine. After a death it waits until systemd is done with it: then it is known how it ended, or
// the reboot that it was is over.
func (n *nspawn) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	for end := time.Now().Add(nspawnEnding); ; {
		units, err := n.show(ctx, []string{id}, false)
		if err != nil {
			return health.Sighting{}, err
		}
		u := units[nspawnUnitOf(id)]
		if dead.PID == 0 || alive(dead) || !u.moves() || time.Now().After(end) {
			return n.lookAt(ctx, id, units), nil
		}
		select {
		case <-ctx.Done():
			return health.Sighting{}, context.Cause(ctx)
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// moves tells a unit that is on its way to another state, or has not yet noticed that its machine is gone. What rebooted
// is inactive for a moment, with a job to start it.
func (u nspawnUnit) moves() bool {
	if u.job() != "" {
		return true
	}
	switch u["ActiveState"] {
	case "activating", "deactivating":
		return true
	case "active", "reloading":
		return nspawnLeader(u).PID == 0
	}
	return false
}

func (u nspawnUnit) job() string {
	if j := u["Job"]; j != "0" {
		return j
	}
	return ""
}

func (n *nspawn) lookAt(ctx context.Context, id string, units map[string]nspawnUnit) health.Sighting {
	n.strays(ctx, units)
	u := units[nspawnUnitOf(id)]
	n.mu.Lock()
	s := n.sighting(id, u)
	ask := s.State == health.Stopped && !n.known[id].told
	n.mu.Unlock()
	if (s.State == health.Stopped || s.State == health.Missing) && !n.exists(ctx, id, u) {
		n.mu.Lock()
		delete(n.known, id)
		n.mu.Unlock()
		return health.Sighting{Ref: n.ref(id), Name: id, Mark: s.Mark, State: health.Removed, At: time.Now()}
	}
	if s.State == health.Running {
		n.askLeaders(ctx)
	}
	if !ask {
		return s
	}
	n.askPurpose(ctx, []string{id})
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sighting(id, u)
}

// show asks systemd about units by name, and, where all are wanted, about those that are loaded. Each that was asked for
// must be in the answer: it is printed also when there is no such unit.
func (n *nspawn) show(ctx context.Context, names []string, all bool) (map[string]nspawnUnit, error) {
	argv := n.argv("systemctl", "show", "--no-pager", "--property="+nspawnProperties, "--")
	for _, name := range names {
		argv = append(argv, nspawnUnitOf(name))
	}
	if all {
		argv = append(argv, nspawnPrefix+"*.service")
	}
	t, err := n.ask(ctx, argv)
	if err != nil {
		if words := lastLine(t.Stderr); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		return nil, err
	}
	units, err := parseSystemctlShow(t.Stdout)
	if err != nil {
		return nil, fmt.Errorf("read what systemctl printed: %w", err)
	}
	for _, name := range names {
		if units[nspawnUnitOf(name)] == nil {
			return nil, fmt.Errorf("systemctl left out %q: not believed", nspawnUnitOf(name))
		}
	}
	return units, nil
}

// events follows what machined and systemd write to the journal about machines.
func (n *nspawn) events(ctx context.Context, changed func(id string)) error {
	argv := n.argv("journalctl", "--quiet", "--follow", "--lines=0", "--output=json", "--output-fields=MESSAGE_ID,NAME,UNIT",
		"MESSAGE_ID="+msgMachineStart, "MESSAGE_ID="+msgMachineStop, "MESSAGE_ID="+msgStopping, "MESSAGE_ID="+msgSuccess)
	return n.run.Stream(ctx, hostexec.Command{Argv: argv, Env: n.spec.Env}, func(line []byte) error {
		for _, j := range parseJournal(line) {
			name := string(j.Name)
			if u, ok := nspawnNameOf(string(j.Unit)); ok {
				name = u
			}
			n.mu.Lock()
			_, known := n.known[name]
			n.mu.Unlock()
			switch {
			case known:
				changed(name)
			case j.ID == msgMachineStart && strings.TrimSpace(name) != "":
				changed("")
			}
		}
		return nil
	})
}

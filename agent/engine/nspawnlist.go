package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	names, err := n.images()
	if err != nil {
		return Listing{Notes: n.notes.take()}, err
	}
	units, err := n.show(ctx, names, true)
	if err != nil {
		return Listing{Notes: n.notes.take()}, err
	}
	for unit := range units {
		if name, ok := nspawnNameOf(unit); ok && !slices.Contains(names, name) && (n.defined(name) || units[unit]["MainPID"] != "0") {
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
			n.ours.forget(name)
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
			e.asked++
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
	if s.State == health.Stopped && !n.defined(id) {
		n.mu.Lock()
		delete(n.known, id)
		n.mu.Unlock()
		return health.Sighting{Ref: n.ref(id), Name: id, Mark: s.Mark, State: health.Removed, At: time.Now()}
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

// strays finds the machines that run without their unit, and gives their names. machined is asked only about a machine
// that is new to us.
func (n *nspawn) strays(ctx context.Context, units map[string]nspawnUnit) []string {
	entries, err := os.ReadDir(n.file(nspawnMachines))
	if err != nil {
		entries = nil
	}
	n.mu.Lock()
	files := map[string]string{}
	var ask, names []string
	for _, en := range entries {
		name := en.Name()
		if !en.Type().IsRegular() || checkNspawnID(name) != nil || nspawnRuns(units[nspawnUnitOf(name)]) {
			continue
		}
		files[name] = n.machineFile(name)
		if e := n.known[name]; e != nil && e.stray != nil && e.stray.file == files[name] {
			if e.stray.name != "" {
				names = append(names, name)
			}
			continue
		}
		ask = append(ask, name)
	}
	for name, e := range n.known {
		if files[name] == "" {
			e.stray = nil
		}
	}
	n.mu.Unlock()
	if len(ask) == 0 {
		return names
	}
	argv := n.argv("machinectl", append([]string{"show", "--no-pager", "--property=Name", "--property=Service", "--property=Unit", "--property=Leader", "--property=Class", "--"}, ask...)...)
	t := n.run.Read(ctx, hostexec.Command{Argv: argv, Env: n.spec.Env, Timeout: lxcAskWithin, MaxOut: 1 << 20})
	found := parseMachines(t.Stdout)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range ask {
		m := found[name] // libvirt's, or one that has just ended: remembered as none of ours
		m.file = files[name]
		_, mine := nspawnNameOf(m.unit)
		if m.name == "" || mine {
			m.name = ""
		} else {
			names = append(names, name)
		}
		if n.known[name] != nil || m.name != "" {
			n.entry(name).stray = &m
		}
	}
	return names
}

func nspawnRuns(u nspawnUnit) bool { return u != nil && u["MainPID"] != "" && u["MainPID"] != "0" }

// machineFile tells one life of a machine from the next, by machined's file of it.
func (n *nspawn) machineFile(name string) string {
	var st unix.Stat_t
	if err := unix.Stat(n.file(filepath.Join(nspawnMachines, name)), &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d.%d", st.Ino, st.Mtim.Sec, st.Mtim.Nsec)
}

// askAddrs asks machined for the addresses of all machines.
func (n *nspawn) askAddrs(ctx context.Context) {
	t, err := n.ask(ctx, n.argv("machinectl", "list", "--no-pager", "--output=json", "--max-addresses=all"))
	if err != nil {
		n.notes.add("the addresses of machines are not known: %v", err)
		return
	}
	addrs, err := parseMachineAddrs(t.Stdout)
	if err != nil {
		n.notes.add("the addresses of machines are not known: %v", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, texts := range addrs {
		if e := n.known[name]; e != nil {
			e.addrs = nil
			for _, a := range texts {
				e.addrs = appendAddr(e.addrs, a)
			}
		}
	}
}

// askPurpose asks the journal why machines are off: for what systemd itself told of their units in this boot.
func (n *nspawn) askPurpose(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	argv := n.argv("journalctl", "--quiet", "--boot", "--no-pager", "--output=json", "--output-fields=MESSAGE,MESSAGE_ID,UNIT,JOB_TYPE", "--lines=5000", "_PID=1")
	for _, name := range names {
		argv = append(argv, "UNIT="+nspawnUnitOf(name))
	}
	t, err := n.ask(ctx, argv)
	if err != nil {
		n.notes.add("who stopped a machine is not known: %v", err)
		return
	}
	byUnit := map[string][]journalLine{}
	for _, j := range parseJournal(t.Stdout) {
		byUnit[string(j.Unit)] = append(byUnit[string(j.Unit)], j)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		e := n.entry(name)
		e.told = true
		e.purpose = nspawnPurpose(byUnit[nspawnUnitOf(name)], func(at time.Time) bool { return n.ours.covers(name, at, time.Second) })
	}
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

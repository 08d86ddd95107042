package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// machined is asked for what systemd does not know: addresses, machines without a unit, and inits on another host. One
// machine can hang it for all: it opens /etc/os-release inside each, and waits for ever where that is a FIFO (measured with
// 252; systemd's watchdog ends it after three minutes). So it is never needed for a list, given little time, and left alone
// for a while when it did not answer.

const (
	machinedWithin = 3 * time.Second
	machinedAgain  = time.Minute
)

// errDeaf says that machined was not asked, or did not answer, and that this was told.
var errDeaf = errors.New("machined does not answer")

// askMachined asks machined.
func (n *nspawn) askMachined(ctx context.Context, argv ...string) ([]byte, error) {
	n.mu.Lock()
	deaf := time.Since(n.deaf) < machinedAgain
	n.mu.Unlock()
	if deaf {
		return nil, errDeaf
	}
	t, err := n.askWithin(ctx, n.argv("machinectl", argv...), machinedWithin)
	if !t.TimedOut {
		return t.Stdout, err
	}
	n.mu.Lock()
	n.deaf = time.Now()
	n.mu.Unlock()
	n.notes.add("machined does not answer: addresses of new machines are not known, and no machine can be started%s", n.hangs(ctx))
	return nil, errDeaf
}

// hangs names the machine that machined waits for: a child of a child of it is in that one's mount namespace.
func (n *nspawn) hangs(ctx context.Context) string {
	t, err := n.ask(ctx, n.argv("systemctl", "show", "--property=MainPID", "--value", "systemd-machined.service"))
	pid, err2 := strconv.Atoi(tidy(string(t.Stdout)))
	if err != nil || err2 != nil || n.far() {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, child := range children(pid) {
		for _, asks := range children(child) {
			in, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", asks))
			for _, name := range sortedKeys(n.known) {
				if its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", n.known[name].init.PID)); err == nil && err2 == nil && in == its {
					return fmt.Sprintf(": it waits for machine %q, for its /etc/os-release", name)
				}
			}
		}
	}
	return ""
}

// askMachines asks about machines that run.
func (n *nspawn) askMachines(ctx context.Context, names []string) (map[string]nspawnStray, error) {
	argv := []string{"show", "--no-pager", "--property=Name", "--property=Service", "--property=Unit", "--property=Leader", "--property=Class", "--"}
	out, err := n.askMachined(ctx, append(argv, names...)...)
	found := parseMachines(out)
	if len(found) > 0 {
		err = nil // one of those asked about may just be gone
	}
	return found, err
}

// askAddrs asks for the addresses of all machines.
func (n *nspawn) askAddrs(ctx context.Context) {
	var addrs map[string][]string
	out, err := n.askMachined(ctx, "list", "--no-pager", "--output=json", "--max-addresses=all")
	if err == nil {
		addrs, err = parseMachineAddrs(out)
	}
	if err != nil {
		if !errors.Is(err, errDeaf) {
			n.notes.add("the addresses of new machines are not known: %v", err)
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.known {
		if len(e.addrs) == 0 {
			e.asked++
		}
	}
	for name, texts := range addrs {
		if e := n.known[name]; e != nil {
			e.addrs = nil
			for _, a := range texts {
				e.addrs = appendAddr(e.addrs, a)
			}
		}
	}
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
	found, err := n.askMachines(ctx, ask)
	if errors.Is(err, errDeaf) {
		return names
	}
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

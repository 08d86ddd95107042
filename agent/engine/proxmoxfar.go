package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"atalaya/agent/hostexec"
)

// Proxmox on another host. Its tools say the same there; what is read of files here, one grep prints there, whatever the
// number of guests, and a second one whenever a task began or ended, or while one is at work. Who runs is not seen: a
// list takes pvestatd's word.

// pveFar is what is remembered of the tasks of a node on another host.
type pveFar struct {
	mu      sync.Mutex
	active  string // the running tasks when the rest was read
	history *pveHistory
	boot    time.Time
	settled bool // no task was at work then
}

const (
	pveTasks     = "/var/log/pve/tasks/"
	pveNodeLocal = "/etc/pve/local/"
)

// gatherThere is gather over ssh.
func (p *proxmox) gatherThere(ctx context.Context, only string) (*pveHost, error) {
	paths := []string{"/proc/sys/kernel/hostname", "/etc/pve/.vmlist", "/etc/pve/ha/resources.cfg", pveTasks + "active"}
	if only == "" {
		paths = append(paths, pveNodeLocal+"lxc", pveNodeLocal+"qemu-server")
	} else {
		paths = append(paths, pveNodeLocal+"lxc/"+only+".conf", pveNodeLocal+"qemu-server/"+only+".conf")
	}
	files, err := p.fetch(ctx, []string{""}, paths)
	if err != nil {
		return nil, err
	}
	h := &pveHost{far: true, confs: map[string]pveConf{}, reboots: map[string]bool{}}
	h.node, _, _ = strings.Cut(strings.TrimSpace(string(files.text[paths[0]])), ".")
	list := files.text["/etc/pve/.vmlist"]
	if list == nil {
		return nil, fmt.Errorf("read the list of all guests there: is pve-cluster running? %s", tidy(files.complaints))
	}
	if h.guests, err = parsePVEList(list); err != nil {
		return nil, fmt.Errorf("read the list of all guests there, /etc/pve/.vmlist: %w", err)
	}
	h.ha = parsePVEHA(files.text["/etc/pve/ha/resources.cfg"])
	for id, g := range h.guests {
		path := pveNodeLocal + pveFolder(g.Type) + "/" + id + ".conf"
		if b := files.text[path]; g.Node == h.node && checkVMID(id) == nil && b != nil {
			h.confs[id] = parsePVEConf(b, g.Type == "qemu")
		}
	}
	sum := fnv.New64a()
	for _, path := range sortedKeys(files.text) {
		fmt.Fprintf(sum, "%s %s;", path, files.text[path])
	}
	h.digest = fmt.Sprintf("%016x", sum.Sum64())
	return h, p.tasksThere(ctx, h, files)
}

// tasksThere reads what tasks there were, unless nothing has moved.
func (p *proxmox) tasksThere(ctx context.Context, h *pveHost, files fetched) error {
	f := &p.afar
	f.mu.Lock()
	defer f.mu.Unlock()
	active := string(files.text[pveTasks+"active"])
	if f.history == nil || !f.settled || f.active != active {
		running := parsePVEActive([]byte(active))
		if err := p.readTasksThere(ctx, f, running, !files.absent(pveTasks+"active")); err != nil {
			return err
		}
		f.active = active
	}
	h.history, h.boot = f.history, f.boot
	return nil
}

// readTasksThere reads the index, whether the workers of running tasks live, and how those ended that do not. The times of
// that host are set to this one's clock.
func (p *proxmox) readTasksThere(ctx context.Context, f *pveFar, running []pveTask, known bool) error {
	patterns := []string{"^btime ", `^[0-9.]* [0-9.]*$`, "^UPID:", "^TASK "}
	paths := []string{"/proc/stat", "/proc/uptime", pveTasks + "index.1", pveTasks + "index"}
	for _, t := range running {
		if t.ended.IsZero() {
			pid := strconv.Itoa(t.proc.PID)
			patterns = append(patterns, "^"+pid+" (")
			paths = append(paths, "/proc/"+pid+"/stat", pveTaskLog(t.upid))
		}
	}
	files, err := p.fetch(ctx, patterns, paths)
	if err != nil {
		return err
	}
	boot, now, err := pveClock(files.text["/proc/stat"], files.text["/proc/uptime"])
	if err != nil {
		return err
	}
	f.settled = true
	for i := range running {
		t := &running[i]
		if !t.ended.IsZero() {
			continue
		}
		stat, ok := parseStat(files.text["/proc/"+strconv.Itoa(t.proc.PID)+"/stat"])
		if t.lives = ok && !stat.dead() && stat.start == t.proc.Start; !t.lives {
			if status, ok := parsePVEResult(files.text[pveTaskLog(t.upid)]); ok {
				t.ended, t.status = now, status
			}
		}
		f.settled = false // its end is not yet in the index
	}
	skew := files.at.Sub(now).Round(time.Second)
	lists := [][]pveTask{parsePVEIndex(files.text[pveTasks+"index.1"]), parsePVEIndex(files.text[pveTasks+"index"]), running}
	for _, list := range lists {
		for i := range list {
			list[i].shift(skew)
		}
	}
	f.history, f.boot = newPVEHistory(known, lists...), boot.Add(skew)
	return nil
}

// shift sets the times of a task to another clock.
func (t *pveTask) shift(by time.Duration) {
	t.started = t.started.Add(by)
	if !t.ended.IsZero() {
		t.ended = t.ended.Add(by)
	}
}

// pveClock reads from /proc/stat and /proc/uptime when a host was started, and what its clock says.
func pveClock(stat, uptime []byte) (boot, now time.Time, err error) {
	var since int64
	var up float64
	if _, err := fmt.Sscanf(string(stat), "btime %d", &since); err != nil {
		return boot, now, fmt.Errorf("read the clock there, /proc/stat: %w", err)
	}
	if _, err := fmt.Sscanf(string(uptime), "%g", &up); err != nil {
		return boot, now, fmt.Errorf("read the clock there, /proc/uptime: %w", err)
	}
	boot = time.Unix(since, 0)
	return boot, boot.Add(time.Duration(up * float64(time.Second))), nil
}

// rebootsThere tells whether Proxmox is about to start a guest again; see rebootFile.
func (p *proxmox) rebootsThere(ctx context.Context, kind, id string) bool {
	path := strings.TrimPrefix(p.rebootFile(kind, id), nowhere)
	t := p.run.Read(ctx, hostexec.Command{Argv: []string{"find", path, "-maxdepth", "0", "-mmin", "-1"}, Timeout: p.spec.Timeout, MaxOut: 4 << 10})
	return t.OK() && strings.TrimSpace(string(t.Stdout)) == path
}

// vzdumpLogThere is vzdumpLog over ssh: that host knows its time zone.
func (p *proxmox) vzdumpLogThere(ctx context.Context, path string) ([]byte, func(string) (time.Time, error), error) {
	files, err := p.fetch(ctx, []string{""}, []string{path})
	return files.text[path], func(s string) (time.Time, error) {
		t, err := p.ask(ctx, []string{"date", "-d", s, "+%s"})
		if err != nil {
			return time.Time{}, err
		}
		at, err := strconv.ParseInt(strings.TrimSpace(string(t.Stdout)), 10, 64)
		return time.Unix(at, 0), err
	}, err
}

// fetched is what grep printed of files there.
type fetched struct {
	text       map[string][]byte // by path; a file without such a line is not there
	complaints string
	at         time.Time // by our clock
}

// absent tells that a file could not be read. An empty one could.
func (f fetched) absent(path string) bool { return strings.Contains(f.complaints, path) }

// fetch prints the lines of files, and of those in folders, that any pattern fits; an empty one fits all. Files that are
// not there are complained of, and no failure. It needs GNU grep, which every Proxmox has.
func (p *proxmox) fetch(ctx context.Context, patterns, paths []string) (fetched, error) {
	argv := []string{"grep", "-a", "-H", "-r", "-Z"}
	for _, pattern := range patterns {
		argv = append(argv, "-e", pattern)
	}
	argv = append(append(argv, "--"), slices.DeleteFunc(paths, func(path string) bool { return path == "" })...)
	t := p.run.Read(ctx, hostexec.Command{Argv: argv, Timeout: p.spec.Timeout, MaxOut: maxList})
	f := fetched{text: map[string][]byte{}, complaints: string(t.Stderr), at: t.Started.Add(t.Took / 2)}
	switch {
	case t.TimedOut:
		return f, p.hangs()
	case t.Failure != "" || t.Exit < 0 || t.Exit > 2:
		return f, t.Err()
	case t.StdoutSize > int64(len(t.Stdout)):
		return f, errors.New("grep printed more than is believed")
	}
	for line := range strings.Lines(string(t.Stdout)) {
		if path, text, ok := strings.Cut(line, "\x00"); ok && filepath.IsAbs(path) {
			f.text[path] = append(f.text[path], text...)
		}
	}
	return f, nil
}

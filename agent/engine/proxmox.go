package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Proxmox VE, CTs and VMs of this node alike: a number names one of either. Written from its source (repositories
// proxmox/* on GitHub, named beside each fact) and never run against a real host.

// proxmox is one node.
type proxmox struct {
	base
	gate chan struct{} // holds one: who reads the host's files, or is stuck there

	mu    sync.Mutex
	known map[string]*pveEntry // by number
	rows  []pveRow             // of the last list of this node
	at    time.Time            // when that was asked
	seen  string               // the digest of the files at that time

	own  orders // stops of ours, so that their tasks are not taken for a person's
	afar pveFar // of a node on another host
}

// pveEntry is what is remembered of one guest between two questions. Guarded by proxmox.mu.
type pveEntry struct {
	kind   string         // lxc, qemu
	init   health.Process // of its life
	addrs  []health.Addr  // of this life, where they had to be asked for
	tries  int            // how often that was tried in this life
	asked  time.Time      // when it was asked for by itself
	ran    time.Time      // when it was last seen running
	freeze string         // file that tells whether this init is frozen
	frozen string         // the words in it that say so
	state  health.RunState
}

func openProxmox(s Spec, r Runner) (*tool, error) {
	if s.Custom != nil {
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	}
	if s.Path != "" {
		return nil, errors.New("path: Proxmox has one place for all guests: remove it")
	}
	p := &proxmox{base: base{spec: s, run: r}, gate: make(chan struct{}, 1), known: map[string]*pveEntry{}}
	p.own = p.kept()
	blind := []string{}
	if p.far() {
		blind = append(blind, "Over ssh a list repeats what pvestatd last told, 10 s ago or, while it hangs, up to five minutes: only a look is fresh.")
	}
	return &tool{
		facts: facts{intent: "onboot, template", stopped: "the list of tasks: who and when", lock: "the lock in the definition, and the task at work", cause: "the first line of the task that names one", supervisor: "hastate of Proxmox HA"},
		verbs: map[health.Verb]verb{
			// A VM with much memory or a disk far away takes minutes; activating storage has no limit of its own.
			health.VerbStart: {argv: p.start, before: p.started, limit: 5 * time.Minute, slack: 10 * time.Second, read: readPVEAnswer},
			// shutdown waits that long itself, and without --forceStop it never kills; 5 s are Proxmox's own slack.
			health.VerbStop: {argv: p.stop, before: p.begin, after: p.end, limit: time.Minute, slack: 15 * time.Second, read: readPVEAnswer},
			// 10 s for the lock, then lxc-stop --kill, or QEMU is asked, then killed after 60 s.
			health.VerbKill: {argv: p.kill, before: p.begin, after: p.end, limit: 90 * time.Second, slack: 10 * time.Second, read: readPVEAnswer},
			// It waits 10 s for the lock of the definition.
			health.VerbUnlock: {argv: p.unlock, limit: 30 * time.Second, slack: 5 * time.Second, read: readPVEAnswer},
			health.VerbBackup: {argv: p.backup, limit: 6 * time.Hour, slack: 30 * time.Second, read: readPVEBackup},
		},
		checkID: checkVMID, list: p.list, look: p.look, defined: p.defined, exec: p.exec,
		meaning: p.meaning, files: pveFiles(), evidence: p.evidence, lastBackup: p.lastBackup, version: p.argv("pveversion"),
		blind: append(blind,
			"Proxmox has no stream of events: what neither the kernel nor a file tells is noticed by polling.",
			"Whether a VM was paused, or by an I/O error, is noticed by the poll that asks Proxmox: at least once a minute.",
			"Which processes run in a VM is not known, and nothing is run in one.",
			"A guest that shuts itself down leaves no record: it counts as died.",
			"Who stopped what by tools below Proxmox (lxc-stop, kill) is not in its task list."),
		units: []string{"pve-guests.service"}, autostarter: systemdUnit("pve-guests.service"),
	}, nil
}

// discoverProxmox finds the node that this host is.
func discoverProxmox(ctx context.Context, r Runner) []Spec { return discoverProxmoxAt(ctx, r, "/") }

// discoverProxmoxAt asks for the version, which needs no running service. While pmxcfs is down, /etc/pve is an empty
// folder: it is still a Proxmox, and its CTs are not for the lxc engine to start.
func discoverProxmoxAt(ctx context.Context, r Runner, root string) []Spec {
	if info, err := os.Stat(filepath.Join(root, "/etc/pve")); err != nil || !info.IsDir() {
		return nil
	}
	t := r.Read(ctx, hostexec.Command{Argv: []string{"pveversion"}, Timeout: 10 * time.Second, MaxOut: 8 << 10})
	if !t.OK() || !strings.HasPrefix(string(t.Stdout), "pve-manager/") {
		return nil
	}
	return []Spec{{Engine: "proxmox"}}
}

// pvesh begins a question.
func (p *proxmox) pvesh(path string, more ...string) []string {
	return append(p.argv("pvesh", "get", path), append(more, "--output-format", "json")...)
}

// guestPath is where a guest is in the API.
func guestPath(node, kind, id, more string) string {
	return "/nodes/" + node + "/" + kind + "/" + id + "/" + more
}

// tool is the command for guests of a kind.
func pveTool(kind string) string {
	if kind == "qemu" {
		return "qm"
	}
	return "pct"
}

// kind tells whether a number is that of a CT or of a VM.
func (p *proxmox) kind(id string) (string, error) {
	p.mu.Lock()
	e := p.known[id]
	p.mu.Unlock()
	if e != nil && e.kind != "" {
		return e.kind, nil
	}
	h, err := p.gather(context.Background(), id)
	if err != nil {
		return "", err
	}
	g := h.guests[id]
	if g.Node != h.node || g.Type != "lxc" && g.Type != "qemu" {
		return "", fmt.Errorf("%s is neither a CT nor a VM of node %q", id, h.node)
	}
	return g.Type, nil
}

// order makes a command line: the number stands behind the verb, where only a number is taken.
func (p *proxmox) order(verb, id string, more ...string) ([]string, error) {
	kind, err := p.kind(id)
	if err != nil {
		return nil, err
	}
	return append(p.argv(pveTool(kind), verb, id), more...), nil
}

func (p *proxmox) start(c call) ([]string, error) { return p.order("start", c.id) }

func (p *proxmox) stop(c call) ([]string, error) {
	return p.order("shutdown", c.id, "--timeout", strconv.Itoa(max(1, int(math.Ceil(c.limit.Seconds())))))
}

func (p *proxmox) kill(c call) ([]string, error) { return p.order("stop", c.id) }

// unlock clears the lock in the definition. Proxmox does so whoever holds it; while a task is at work, it is refused here.
func (p *proxmox) unlock(c call) ([]string, error) {
	h, err := p.gather(context.Background(), c.id)
	if err != nil {
		return nil, err
	}
	if t, busy, _ := h.history.operation(c.id); busy {
		return nil, fmt.Errorf("its lock is not left over: %s by %s, since %s, is at work", t.kind, t.user, t.started.Format("2006-01-02 15:04"))
	}
	return p.order("unlock", c.id)
}

// exec enters a CT; "pct exec" gives the code of the command. "qm guest exec" gives 0 and tells the code in JSON.
func (p *proxmox) exec(id string, argv []string) ([]string, error) {
	kind, err := p.kind(id)
	if err != nil {
		return nil, err
	}
	if kind != "lxc" {
		return nil, fmt.Errorf("%s is a VM, in which nothing is run", id)
	}
	return append(p.argv("pct", "exec", id, "--"), argv...), nil
}

// pveSlack is for the times of tasks, which are whole seconds.
const pveSlack = 2 * time.Second

func (p *proxmox) begin(_ context.Context, c call) { p.own.begin(c.id) }

// end takes the end of a stop of ours. One that nobody waits for any more may go on for a while.
func (p *proxmox) end(_ context.Context, c call, a *Answer) {
	if a.Transcript.Abandoned {
		p.own.endBy(c.id, time.Now().Add(maxOwn))
		return
	}
	p.own.end(c.id)
}

// started has what ended the life before explain nothing any more.
func (p *proxmox) started(_ context.Context, c call) { p.own.forget(c.id) }

// ours tells whether a task is a stop that we ordered: of that guest, by the user that commands run as, in that time.
func (p *proxmox) ours(t pveTask) bool {
	return t.user == "root@pam" && p.own.covers(t.id, t.started, pveSlack)
}

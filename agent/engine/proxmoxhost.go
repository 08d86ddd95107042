package engine

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// What the host's files tell about the guests of Proxmox, with no process started: who is defined here, who runs by
// Proxmox's own test, who is looked after by HA, and which tasks there were.

// pveLXCPath is where Proxmox keeps its CTs, in every version (proxmox/pve-container, src/PVE/LXC.pm).
const pveLXCPath = "/var/lib/lxc"

// A pveHost is all that at one moment. It is not changed once it is made.
type pveHost struct {
	far     bool // of another host: who runs there is not seen from here
	node    string
	guests  map[string]pveGuest // of the whole cluster
	confs   map[string]pveConf  // of this node; those that cannot be read are not there
	ha      map[string]string   // "ct:100" -> "started"
	history *pveHistory
	boot    time.Time
	sockets map[string]bool // CTs whose monitor listens
	sockOK  bool
	vms     map[string]health.Process // VMs whose process lives
	reboots map[string]bool           // guests that Proxmox is about to start again: see rebootFile
	digest  string                    // changes when any of it does
}

// gather reads it. /etc/pve is a file system in user space: while it hangs, a read of it cannot be ended. So the reading
// is left behind after the limit, one at a time and no more, and nothing of it is believed when it comes late. only names
// the guest whose own files are read; empty: those of all.
func (p *proxmox) gather(ctx context.Context, only string) (*pveHost, error) {
	if p.far() {
		return p.gatherThere(ctx, only)
	}
	limit := time.NewTimer(p.spec.Timeout)
	defer limit.Stop()
	hangs := p.hangs()
	select {
	case p.gate <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, hangs
	}
	type answer struct {
		h   *pveHost
		err error
	}
	done := make(chan answer, 1)
	go func() {
		h, err := p.readHost(only)
		done <- answer{h, err}
		<-p.gate
	}()
	select {
	case a := <-done:
		return a.h, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, hangs
	}
}

func (p *proxmox) hangs() error {
	return fmt.Errorf("read /etc/pve: no answer within %s: pmxcfs hangs; see 'systemctl status pve-cluster'", p.spec.Timeout)
}

func (p *proxmox) readHost(only string) (*pveHost, error) {
	h := &pveHost{confs: map[string]pveConf{}, vms: map[string]health.Process{}, reboots: map[string]bool{}, boot: bootTime()}
	h.node = p.nodeName()
	list, err := readBounded(p.file("/etc/pve/.vmlist"), maxPVEConf)
	if err != nil {
		return nil, fmt.Errorf("read the list of all guests: is pve-cluster running? %w", err)
	}
	if h.guests, err = parsePVEList(list); err != nil {
		return nil, fmt.Errorf("read the list of all guests, /etc/pve/.vmlist: %w", err)
	}
	ha, _ := readBounded(p.file("/etc/pve/ha/resources.cfg"), maxPVEConf) // absent where HA is not used
	h.ha = parsePVEHA(ha)
	h.sockets, h.sockOK = lxcSockets(pveLXCPath)
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s %s", list, ha)
	for _, id := range sortedKeys(h.guests) {
		if g := h.guests[id]; g.Node == h.node && checkVMID(id) == nil && (only == "" || only == id) {
			p.readGuest(h, id, g.Type == "qemu")
			fmt.Fprintf(sum, "%s %s %v %v;", id, h.confs[id].digest, h.sockets[id], h.vms[id])
		}
	}
	h.history = p.readTasks(sum)
	h.digest = fmt.Sprintf("%016x", sum.Sum64())
	return h, nil
}

// readGuest reads the files of one guest of this node.
func (p *proxmox) readGuest(h *pveHost, id string, vm bool) {
	kind := "lxc"
	if vm {
		kind = "qemu"
		if proc, ok := pveVM(p.file("/var/run/qemu-server/"+id+".pid"), id); ok {
			h.vms[id] = proc
		}
	}
	if info, err := os.Lstat(p.rebootFile(kind, id)); err == nil && time.Since(info.ModTime()) < time.Minute {
		h.reboots[id] = true
	}
	if b, err := readBounded(p.confPath(h.node, kind, id), maxPVEConf); err == nil {
		h.confs[id] = parsePVEConf(b, vm)
	}
}

// rebootFile is there while Proxmox is about to start a guest again that rebooted itself, or that was asked to: for a CT
// since its post-stop hook (proxmox/pve-container, src/lxc-pve-poststop-hook and src/lxc-pve-reboot-trigger), for a VM
// from "qm reboot" to qmeventd's "qm cleanup" (proxmox/qemu-server, src/PVE/QemuServer.pm, create_reboot_request). One
// that is older than a minute was left behind.
func (p *proxmox) rebootFile(kind, id string) string {
	if kind == "qemu" {
		return p.file("/var/run/qemu-server/" + id + ".reboot")
	}
	return p.file(pveLXCPath + "/" + id + "/reboot")
}

func (p *proxmox) confPath(node, kind, id string) string {
	return p.file(filepath.Join("/etc/pve/nodes", node, pveFolder(kind), id+".conf"))
}

// nodeName is what Proxmox calls this host: where /etc/pve/local leads, else the host's name up to its first dot, as
// PVE::INotify::nodename has it.
func (p *proxmox) nodeName() string {
	if to, err := os.Readlink(p.file("/etc/pve/local")); err == nil {
		return filepath.Base(to)
	}
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	return name
}

// up tells whether a guest runs by Proxmox's own test: a CT when its monitor listens (PVE::LXC::list_active_containers), a
// VM when the process in its pid file is its own (PVE::QemuServer::Helpers::vm_running_locally). sure is false where
// that cannot be read.
func (h *pveHost) up(kind, id string) (up, sure bool) {
	if h.far {
		return false, false
	}
	if kind == "qemu" {
		_, up = h.vms[id]
		return up, true
	}
	return h.sockets[id], h.sockOK
}

// pveVM gives the process of a VM: that of its pid file, if its command line says that it is this VM ("kvm -id 100 …").
func pveVM(pidfile, id string) (health.Process, bool) {
	b, err := readBounded(pidfile, 64)
	if err != nil {
		return health.Process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return health.Process{}, false
	}
	argv := cmdline(pid)
	if i := slices.Index(argv, "-id"); i < 0 || i+1 >= len(argv) || argv[i+1] != id {
		return health.Process{}, false
	}
	return identify(pid)
}

// parsePVEHA reads /etc/pve/ha/resources.cfg: sections "ct: 100" with lines of "key value" (proxmox/pve-ha-manager,
// src/PVE/HA/Resources.pm). Without a state it is "started".
func parsePVEHA(b []byte) map[string]string {
	out := map[string]string{}
	section := ""
	for line := range strings.Lines(string(b)) {
		text := strings.TrimSpace(line)
		kind, id, ok := strings.Cut(text, ":")
		switch {
		case text == "" || text[0] == '#':
		case line[0] != ' ' && line[0] != '\t' && ok:
			section = kind + ":" + strings.TrimSpace(id)
			out[section] = "started"
		case section != "":
			if key, value, _ := strings.Cut(text, " "); key == "state" {
				out[section] = tidy(value)
			}
		}
	}
	return out
}

// readTasks reads what tasks there were. The index is renamed when it has grown to some 1000 lines, so the one before is
// read too.
func (p *proxmox) readTasks(sum io.Writer) *pveHistory {
	const dir = "/var/log/pve/tasks/"
	active, err := readBounded(p.file(dir+"active"), maxPVEConf)
	running := parsePVEActive(active)
	for i, t := range running {
		if running[i].lives = alive(t.proc); t.ended.IsZero() && !running[i].lives {
			running[i] = p.endOf(t)
		}
	}
	old, _ := readBounded(p.file(dir+"index.1"), maxPVEConf)
	index, _ := readBounded(p.file(dir+"index"), maxPVEConf)
	fmt.Fprintf(sum, "%s %d %d", active, len(index), len(old))
	return newPVEHistory(err == nil, parsePVEIndex(old), parsePVEIndex(index), running)
}

// endOf tells how a task ended whose worker is gone and whose end nobody wrote down yet: Proxmox does so when the next
// task begins, or within 10 s.
func (p *proxmox) endOf(t pveTask) pveTask {
	path := p.file(pveTaskLog(t.upid))
	info, err := os.Stat(path)
	if err != nil {
		return t
	}
	tail, err := readTail(path, 4096)
	if err != nil {
		return t
	}
	t.ended = info.ModTime()
	t.status, _ = parsePVEResult(tail)
	return t
}

// pveInits finds the inits of running CTs: the process that is 1 in a namespace below ours, and whose parent is the monitor
// of the CT. pve-container@.service starts it as "lxc-start -F -n ID"; before Proxmox VE 6.2 it called itself "[lxc
// monitor] /var/lib/lxc ID". A guest's own process of that name is in a namespace of its own, and does not count.
func pveInits(ids map[string]bool) map[string]health.Process {
	out := map[string]health.Process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return out
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		id := pveMonitorOf(cmdline(pid))
		if !ids[id] || id == "" || isNested(pid) {
			continue
		}
		for _, child := range children(pid) {
			if proc, ok := identify(child); ok && isInit(child) {
				out[id] = proc
			}
		}
	}
	return out
}

// pveMonitorOf gives the CT whose monitor has this command line.
func pveMonitorOf(argv []string) string {
	switch {
	case len(argv) == 0:
		return ""
	case filepath.Base(argv[0]) == "lxc-start" && len(argv) == 4 && slices.Equal(argv[1:3], []string{"-F", "-n"}):
		return argv[len(argv)-1]
	case strings.HasPrefix(argv[0], "[lxc monitor] "+pveLXCPath+" "):
		return strings.TrimSpace(strings.TrimPrefix(argv[0], "[lxc monitor] "+pveLXCPath+" "))
	}
	return ""
}

// isNested tells a process that lives in a pid namespace below ours.
func isNested(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(b, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return len(bytes.Fields(line)) > 1
}

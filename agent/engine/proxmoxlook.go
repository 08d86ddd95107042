package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
)

// The list is one pvesh for CTs and VMs together, /cluster/resources: it alone tells of both, and of locks and HA. What it
// says of the state is what pvestatd last told the cluster, 10 s old, or five minutes where pvestatd hangs on a dead
// storage. So each row is held against Proxmox's own test of who runs, which needs no process (pveHost.up), and a guest
// on which the two differ is asked for by itself, from status/current, which is fresh.

// pveAsks is how many guests one list asks for by themselves.
const pveAsks = 4

func (p *proxmox) list(ctx context.Context, live []health.Ref) (Listing, error) {
	h, err := p.gather(ctx, "")
	if err != nil {
		return Listing{Notes: p.notes.take()}, err
	}
	rows, quiet := p.quiet(h, live)
	if !quiet {
		if rows, err = p.askAll(ctx, h); err != nil {
			return Listing{Notes: p.notes.take()}, err
		}
	}
	out := p.listing(ctx, h, rows)
	p.askAddrs(ctx, h, out.Containers)
	out.Notes = p.notes.take()
	return out, nil
}

// quiet tells whether Proxmox need not be asked: no file has changed, and every running guest is held by a pidfd. Its Perl
// takes half a second of a core.
func (p *proxmox) quiet(h *pveHost, live []health.Ref) ([]pveRow, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen != h.digest || len(p.rows) == 0 || time.Since(p.at) >= p.spec.Quiet {
		return nil, false
	}
	for id, e := range p.known {
		settled := e.state == health.Stopped || e.state == health.Running && alive(e.init) && slices.Contains(live, p.ref(id))
		if !settled {
			return nil, false
		}
	}
	return p.rows, true
}

// askAll runs the one command of a list, and keeps the guests of this node. That nobody is left of those that are defined
// here is no list.
func (p *proxmox) askAll(ctx context.Context, h *pveHost) ([]pveRow, error) {
	argv := p.pvesh("/cluster/resources", "--type", "vm")
	at := time.Now()
	t, err := p.ask(ctx, argv)
	if err != nil {
		return nil, err
	}
	all, err := parsePVEResources(t.Stdout)
	if err != nil {
		return nil, fmt.Errorf("read what %q printed: %w", strings.Join(argv, " "), err)
	}
	var rows []pveRow
	for _, r := range all {
		if string(r.Node) == h.node {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 && len(h.confs) > 0 {
		return nil, fmt.Errorf("%q names no guest of node %q, where %d are defined", strings.Join(argv, " "), h.node, len(h.confs))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows, p.at, p.seen = rows, at, h.digest
	return rows, nil
}

// listing makes sightings of rows, asking again where they are in doubt.
func (p *proxmox) listing(ctx context.Context, h *pveHost, rows []pveRow) Listing {
	inits := p.inits(h, rows)
	fresh := p.askDoubtful(ctx, h, rows)
	var out Listing
	p.mu.Lock()
	defer p.mu.Unlock()
	listed, silent := map[string]bool{}, 0
	for _, r := range rows {
		id := string(r.VMID)
		if bool(r.Template) || h.confs[id].template || listed[id] {
			continue
		}
		listed[id] = true
		e := p.entry(id, string(r.Type))
		s := p.listed(h, r, fresh[id], inits[id], e)
		if r.Status == "unknown" {
			silent++
		}
		out.Containers = append(out.Containers, s)
	}
	for id := range p.known {
		if !listed[id] {
			delete(p.known, id)
		}
	}
	if silent > 0 {
		out.Degraded = fmt.Sprintf("pvestatd has told nothing about %d guests for minutes: does it hang on a storage? See 'systemctl status pvestatd'", silent)
	}
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	return out
}

// listed gives the sighting of one row. The caller holds mu.
func (p *proxmox) listed(h *pveHost, r pveRow, fresh *pveRow, init health.Process, e *pveEntry) health.Sighting {
	if fresh != nil {
		fresh.Type, fresh.VMID = r.Type, r.VMID
		return p.sighting(h, *fresh, e)
	}
	if p.doubtful(h, r) {
		s := p.sighting(h, r, e)
		s.State, s.Init, s.Addrs, s.OnPurpose = health.Unknown, health.Process{}, nil, ""
		s.Detail = "pvestatd says " + tidy(r.word()) + ", which is old or nothing; it is asked for by itself soon"
		e.state = s.State
		return s
	}
	if r.PID == 0 {
		r.PID = looseInt(init.PID)
	}
	return p.sighting(h, r, e)
}

// doubtful tells whether what pvestatd said does not fit what can be seen.
func (p *proxmox) doubtful(h *pveHost, r pveRow) bool {
	state, known := pveState(r.word())
	if !known {
		return false // asking again would bring the same word
	}
	up, sure := h.up(string(r.Type), string(r.VMID))
	return state == health.Unknown || sure && up == (state == health.Stopped)
}

// askDoubtful asks for those in doubt, some at a time, whoever was asked longest ago first.
func (p *proxmox) askDoubtful(ctx context.Context, h *pveHost, rows []pveRow) map[string]*pveRow {
	var ask []pveRow
	for _, r := range rows {
		if p.doubtful(h, r) && !bool(r.Template) && !h.confs[string(r.VMID)].template {
			ask = append(ask, r)
		}
	}
	p.mu.Lock()
	slices.SortStableFunc(ask, func(a, b pveRow) int {
		return p.entry(string(a.VMID), string(a.Type)).asked.Compare(p.entry(string(b.VMID), string(b.Type)).asked)
	})
	p.mu.Unlock()
	out := map[string]*pveRow{}
	for _, r := range ask[:min(len(ask), pveAsks)] {
		id := string(r.VMID)
		p.mu.Lock()
		p.entry(id, string(r.Type)).asked = time.Now()
		p.mu.Unlock()
		if row, err := p.askOne(ctx, h.node, string(r.Type), id); err == nil {
			out[id] = &row
		}
	}
	return out
}

var errPVEGone = errors.New("this node has no such guest")

// askOne asks for one guest, freshly.
func (p *proxmox) askOne(ctx context.Context, node, kind, id string) (pveRow, error) {
	argv := p.pvesh(guestPath(node, kind, id, "status/current"))
	t, err := p.ask(ctx, argv)
	if err != nil {
		if strings.Contains(string(t.Stderr), id+".conf' does not exist") { // PVE::AbstractConfig::load_config
			err = errPVEGone
		}
		return pveRow{}, err
	}
	row, err := parsePVEStatus(t.Stdout)
	if err != nil {
		return row, fmt.Errorf("read what %q printed: %w", strings.Join(argv, " "), err)
	}
	row.Type, row.VMID, row.Node = looseString(kind), looseString(id), looseString(node)
	return row, nil
}

// entry gives what is known of a guest. The caller holds mu.
func (p *proxmox) entry(id, kind string) *pveEntry {
	e := p.known[id]
	if e == nil || e.kind != kind {
		e = &pveEntry{kind: kind}
		p.known[id] = e
	}
	return e
}

// inits gives the processes of those that run: of a VM from its pid file, of a CT the one known, or from one look through
// /proc when one is missing.
func (p *proxmox) inits(h *pveHost, rows []pveRow) map[string]health.Process {
	out, missing := map[string]health.Process{}, map[string]bool{}
	p.mu.Lock()
	for _, r := range rows {
		id := string(r.VMID)
		e := p.known[id]
		switch {
		case r.Type == "qemu":
			out[id] = h.vms[id]
		case e != nil && e.init.PID != 0 && alive(e.init):
			out[id] = e.init
		case h.sockets[id] || !h.sockOK:
			missing[id] = true
		}
	}
	p.mu.Unlock()
	if len(missing) > 0 {
		for id, proc := range pveInits(missing) {
			out[id] = proc
		}
	}
	return out
}

// look asks for one guest. Where the files alone say that it is gone, or that it has stopped, nothing is started: this is
// the way from a death to its healing, and Proxmox's own test of who runs is as good as its answer.
func (p *proxmox) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	h, err := p.gather(ctx, id)
	if err != nil {
		return health.Sighting{}, err
	}
	g, listed := h.guests[id]
	gone := health.Sighting{Ref: p.ref(id), Name: id, State: health.Removed, At: time.Now()}
	switch {
	case !listed:
		return gone, nil
	case g.Node != h.node:
		gone.Detail = fmt.Sprintf("it is on node %q now", tidy(g.Node))
		return gone, nil
	case h.confs[id].template:
		gone.Detail = "it was made a template"
		return gone, nil
	}
	row := pveRow{VMID: looseString(id), Type: looseString(g.Type), Node: looseString(h.node), Status: "stopped"}
	if up, sure := h.up(g.Type, id); up || !sure || dead.PID == 0 || alive(dead) {
		row, err = p.askOne(ctx, h.node, g.Type, id)
		if errors.Is(err, errPVEGone) {
			return gone, nil
		}
		if err != nil {
			return health.Sighting{}, err
		}
	}
	if bool(row.Template) {
		return gone, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sighting(h, row, p.entry(id, g.Type)), nil
}

// defined tells whether a guest is still one of this node, by the cluster's own list. A template is none.
func (p *proxmox) defined(id string) bool {
	h, err := p.gather(context.Background(), id)
	if err != nil {
		return true
	}
	g, ok := h.guests[id]
	return ok && g.Node == h.node && !h.confs[id].template
}

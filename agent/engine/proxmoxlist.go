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

// list is given the limit of one question in all, so that one guest that hangs does not take it from the others.
func (p *proxmox) list(ctx context.Context, live []health.Ref) (Listing, error) {
	end := time.Now().Add(p.spec.Timeout)
	h, err := p.gather(ctx, "") // which has that limit itself
	if err != nil {
		return Listing{Notes: p.notes.take()}, err
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
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
	rows, silent := h.settle(rows)
	inits := p.inits(h, rows)
	fresh, mute := p.askDoubtful(ctx, h, rows)
	var out Listing
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := map[string]bool{}
	for _, r := range rows {
		id := string(r.VMID)
		if bool(r.Template) || h.confs[id].template || listed[id] {
			continue
		}
		listed[id] = true
		e := p.entry(id, string(r.Type))
		s := p.listed(h, r, fresh[id], inits[id], e)
		out.Containers = append(out.Containers, s)
	}
	for id := range p.known {
		if !listed[id] {
			delete(p.known, id)
		}
	}
	out.Degraded = pveDegraded(silent, mute)
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	return out
}

// pveDegraded says what is wrong with a list that was made all the same.
func pveDegraded(silent int, mute []string) string {
	var all []string
	if silent > 0 {
		all = append(all, fmt.Sprintf("pvestatd has told nothing about %d guests for minutes: does it hang on a storage, or on a guest? See 'systemctl status pvestatd'", silent))
	}
	if len(mute) > 0 {
		all = append(all, "Proxmox gives no answer about "+strings.Join(mute, ", "))
	}
	return strings.Join(all, "; ")
}

// settle takes the state of CTs from Proxmox's own test of who runs, which is all that pvestatd goes by, and newer. It
// counts the guests of which pvestatd told nothing.
func (h *pveHost) settle(rows []pveRow) (out []pveRow, silent int) {
	out = slices.Clone(rows)
	for i, r := range rows {
		if r.Status == "unknown" {
			silent++
		}
		up, sure := h.up(string(r.Type), string(r.VMID))
		if _, known := pveState(r.word()); r.Type != "lxc" || !sure || !known {
			continue
		}
		out[i].Status = "stopped"
		if up {
			out[i].Status = "running"
		}
	}
	return out, silent
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

// askDoubtful asks for those in doubt, some at a time, whoever was asked longest ago first. It names those about whom
// there came no answer in time.
func (p *proxmox) askDoubtful(ctx context.Context, h *pveHost, rows []pveRow) (answers map[string]*pveRow, mute []string) {
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
	answers = map[string]*pveRow{}
	for _, r := range ask[:min(len(ask), pveAsks)] {
		id := string(r.VMID)
		p.mu.Lock()
		p.entry(id, string(r.Type)).asked = time.Now()
		p.mu.Unlock()
		row, err := p.askOne(ctx, h.node, string(r.Type), id, p.spec.Timeout/pveAsks)
		switch {
		case err == nil:
			answers[id] = &row
		case errors.Is(err, errPVEMute):
			mute = append(mute, id)
		}
	}
	return answers, mute
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
		case !h.far && (h.sockets[id] || !h.sockOK):
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

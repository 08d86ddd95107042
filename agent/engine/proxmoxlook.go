package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"atalaya/agent/health"
)

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
		row, err = p.askOne(ctx, h.node, g.Type, id, p.spec.Timeout)
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
	if h.far && row.Status == "stopped" {
		h.reboots[id] = p.rebootsThere(ctx, g.Type, id)
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

var (
	errPVEGone = errors.New("this node has no such guest")
	errPVEMute = errors.New("no answer in time")
)

// askOne asks for one guest, freshly.
func (p *proxmox) askOne(ctx context.Context, node, kind, id string, within time.Duration) (pveRow, error) {
	argv := p.pvesh(guestPath(node, kind, id, "status/current"))
	t, err := p.askWithin(ctx, argv, within)
	if err != nil {
		if t.TimedOut || ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", errPVEMute, err)
		}
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

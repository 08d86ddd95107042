package engine

import (
	"context"

	"atalaya/agent/health"
)

// Addresses that a definition does not hold (DHCP, or set inside) are asked for by a process of their own: of a CT the
// API reads them from its namespace, of a VM its agent tells them. So one guest per list is asked, and no life of one
// for ever: where they do not come, package sentinel finds those of a CT by itself.

// pveAddrTries is how often a life is asked for its addresses: a guest gets them some time after its start.
const pveAddrTries = 3

func (p *proxmox) askAddrs(ctx context.Context, h *pveHost, all []health.Sighting) {
	for i := range all {
		s := &all[i]
		e := p.lacksAddrs(s, h.confs[s.Ref.ID])
		if e == nil {
			continue
		}
		what := "interfaces"
		if e.kind == "qemu" {
			what = "agent/network-get-interfaces"
		}
		t, err := p.askWithin(ctx, p.pvesh(guestPath(h.node, e.kind, s.Ref.ID, what)), p.spec.Timeout/pveAsks)
		if err != nil {
			return
		}
		addrs, err := parsePVEInterfaces(t.Stdout)
		if err != nil {
			p.notes.add("guest %s: its addresses cannot be read: %v", s.Ref.ID, err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		e.addrs = without(addrs, s.Addrs)
		s.Addrs = append(s.Addrs, e.addrs...)
		return
	}
}

// lacksAddrs gives what is known of a guest whose addresses are to be asked for now, and counts the try.
func (p *proxmox) lacksAddrs(s *health.Sighting, conf pveConf) *pveEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.known[s.Ref.ID]
	if e == nil || s.State != health.Running || !conf.dynamic || len(e.addrs) > 0 || e.tries >= pveAddrTries || e.kind == "qemu" && !conf.agent {
		return nil
	}
	e.tries++
	return e
}

// without gives the addresses that are not among those known.
func without(addrs, known []health.Addr) []health.Addr {
	var out []health.Addr
	for _, a := range addrs {
		found := false
		for _, k := range known {
			found = found || k.Prefix.Addr() == a.Prefix.Addr()
		}
		if !found {
			out = append(out, a)
		}
	}
	return out
}

package probes

import (
	"context"
	"net"
	"net/netip"
)

// An endpoint is where the service of a probe listens.
type endpoint struct {
	at   target
	port int // 0 for icmp
}

// endpoint gives that of s.
func (s Spec) endpoint() (endpoint, error) {
	at, err := parseTarget(s.Target, s.Family)
	return endpoint{at: at, port: s.port(at)}, err
}

// find gives the addresses of the endpoint, at least one.
func (e endpoint) find(ctx context.Context, g Guest, t *trial) ([]netip.Addr, error) {
	return e.at.find(ctx, g, t)
}

// reach finds the endpoint and connects to it.
func (e endpoint) reach(ctx context.Context, g Guest, t *trial) (net.Conn, []netip.Addr, error) {
	addrs, err := e.find(ctx, g, t)
	if err != nil {
		return nil, nil, err
	}
	conn, err := t.connect(ctx, g, "tcp", addrs, e.port)
	return conn, addrs, err
}

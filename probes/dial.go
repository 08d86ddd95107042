package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// maxTries bounds how many addresses of one name are tried.
const maxTries = 4

// connect makes a connection to the first of addrs that takes one.
func (t *trial) connect(ctx context.Context, g Guest, network string, addrs []netip.Addr, port int) (conn net.Conn, err error) {
	err = t.try(ctx, g, network, addrs, port, func(ctx context.Context, to netip.AddrPort) (err error) {
		conn, err = dial(ctx, g, network, to.String())
		return err
	})
	return conn, err
}

// try does one to the first of addrs that takes it, each of them having its share of the time left. A name often has an
// IPv6 address on which nothing listens.
func (t *trial) try(ctx context.Context, g Guest, network string, addrs []netip.Addr, port int,
	one func(context.Context, netip.AddrPort) error,
) error {
	began := time.Now()
	defer func() { t.result.Phases.Connect += time.Since(began) }()
	var first error
	addrs = addrs[:min(len(addrs), maxTries)]
	for i, a := range addrs {
		err := t.tryOne(ctx, g, network, netip.AddrPortFrom(a, uint16(port)), len(addrs)-i, one)
		if err == nil {
			return nil
		}
		if first == nil || isUnsure(first) {
			first = err
		}
	}
	return first
}

func (t *trial) tryOne(ctx context.Context, g Guest, network string, to netip.AddrPort, shares int,
	one func(context.Context, netip.AddrPort) error,
) error {
	if end, ok := ctx.Deadline(); ok && shares > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(shares))
		defer cancel()
	}
	began := time.Now()
	t.result.Peer = to.Addr()
	err := one(ctx, to)
	if err == nil {
		return nil
	}
	addr := to.String()
	t.log.add("--- connect to ", addr, " (", network, "): ", because(err), "\n")
	step := stepErr("connect to "+addr, began, err)
	if unreachable(err) && !routed(ctx, g, addr) {
		return unsure{fmt.Errorf("%w: this host itself has no route there", step)}
	}
	return step
}

// dial connects from the vantage of g. It dials by text: Dialer.DialTCP (Go 1.26) binds an ephemeral port before it
// connects, which costs a system call and takes the port from every other destination too.
func dial(ctx context.Context, g Guest, network, addr string) (net.Conn, error) {
	if g.Dial != nil {
		return g.Dial(ctx, network, addr)
	}
	d := net.Dialer{KeepAlive: -1} // three setsockopt less; no probe lives long enough for one
	return d.DialContext(ctx, network, addr)
}

// unreachable says that err may come from the local routing table as well as from the network.
func unreachable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EACCES)
}

// routed says that the local routing table has a way to addr. Connecting a UDP socket sends nothing and looks up the
// route: it fails on none (ENETUNREACH), on an unreachable one (EHOSTUNREACH) and on a prohibited one (EACCES). So what
// it does not complain about was said by a router, or by neighbour discovery: the guest does not answer on its link.
func routed(ctx context.Context, g Guest, addr string) bool {
	conn, err := dial(context.WithoutCancel(ctx), g, "udp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// hearErrors has a datagram socket give what routers and neighbour discovery say of the other side (EHOSTUNREACH,
// ENETUNREACH) at the next read. Without it Linux keeps all but port and protocol unreachable for itself, and the probe
// waits for its whole timeout. A connection that is no socket is left as it is.
func hearErrors(conn net.Conn) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// One of the two is of the other family, and fails.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}

// hold makes the end of ctx the end of everything done on conn. The caller calls what it returns when it is done.
func hold(ctx context.Context, conn net.Conn) (release func() bool) {
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// over says that the time of ctx is up. Its own timer may be a moment behind that of a connection.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

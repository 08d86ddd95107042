package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// A target says where the service is. At most one of prefix, addr and name is set; none of them means auto.
type target struct {
	text   string
	family string
	prefix netip.Prefix // the guest's first address within
	addr   netip.Addr   // an address as seen from this host, with its zone
	name   string       // a host name for the system's resolver; not set where text can only be an interface
	port   int          // 0: not named
}

// maxIface is how long the name of a Linux interface can be, in bytes.
const maxIface = 15

// parseTarget reads a Target. A word without a dot and without a port is an interface; "localhost" and all else that
// can be a host name is one, unless the guest turns out to have an interface of exactly that name (eth0.100).
func parseTarget(text, family string) (target, error) {
	t := target{text: or(text, Auto), family: or(family, AnyFamily)}
	if t.text == Auto {
		return t, nil
	}
	if !isPlain(t.text) || strings.Contains(t.text, " ") {
		return t, fmt.Errorf("%q holds blanks or control characters", text)
	}
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return t, fmt.Errorf("%q is not a CIDR like 10.0.0.0/24; a URL's path belongs into path", text)
		}
		t.prefix = prefix.Masked()
		return t, t.matchFamily(prefix.Addr())
	}
	host, port := text, 0
	if h, p, err := net.SplitHostPort(text); err == nil {
		if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
			return t, fmt.Errorf("%q: port %q is not a number between 1 and 65535", text, p)
		}
		if port > 0 { // venet0:0 is an interface
			host = h
		}
	}
	t.port = port
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		t.addr = addr.Unmap()
		return t, t.matchFamily(t.addr)
	}
	switch {
	case isHost(host) && (port > 0 || strings.Contains(host, ".") || host == "localhost"):
		t.name = host
	case port == 0 && len(host) <= maxIface:
	default:
		return t, fmt.Errorf("%q is neither auto, a CIDR, an interface nor host:port", text)
	}
	return t, nil
}

// isHost says that s can be a host name.
func isHost(s string) bool {
	if s == "" || len(s) > 253 || strings.HasPrefix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_.", r) {
			return false
		}
	}
	return true
}

func (t target) matchFamily(a netip.Addr) error {
	if t.takes(a) {
		return nil
	}
	return fmt.Errorf("%q is not of family %s", t.text, t.family)
}

// takes says that a is of the family asked for.
func (t target) takes(a netip.Addr) bool {
	return t.family == AnyFamily || a.Unmap().Is4() == (t.family == IPv4)
}

// find gives the addresses of the target, at least one, all of the family asked for. Its errors are unsure.
func (t target) find(ctx context.Context, g Guest, tr *trial) ([]netip.Addr, error) {
	if t.addr.IsValid() {
		return t.given(g)
	}
	for _, a := range g.Addrs {
		if t.text == a.Iface {
			return t.own(g, "on interface "+t.text, func(a health.Addr) bool {
				return a.Iface == t.text && a.Prefix.Addr().Unmap().IsGlobalUnicast()
			})
		}
	}
	switch {
	case t.prefix.IsValid():
		return t.own(g, "within "+t.prefix.String(), func(a health.Addr) bool {
			return t.prefix.Contains(a.Prefix.Addr().Unmap())
		})
	case t.name != "":
		return t.resolve(ctx, tr)
	case t.text != Auto:
		return nil, unsure{fmt.Errorf("the guest has no interface %q", t.text)}
	}
	return t.own(g, "that is global", func(a health.Addr) bool { return a.Prefix.Addr().Unmap().IsGlobalUnicast() })
}

// given is the address that was configured: as this host sees it, so not its loopback from within the guest.
func (t target) given(g Guest) ([]netip.Addr, error) {
	if g.Dial != nil && t.addr.IsLoopback() {
		return nil, unsure{fmt.Errorf("%s is this host's own address, another one inside the guest", t.addr)}
	}
	return []netip.Addr{t.addr}, nil
}

// own picks the guest's first address that is of the family and good. An address that means another machine from here,
// loopback or without the zone that it needs, is refused.
func (t target) own(g Guest, which string, good func(health.Addr) bool) ([]netip.Addr, error) {
	for _, a := range g.Addrs {
		addr := a.Prefix.Addr().Unmap()
		if !addr.IsValid() || !t.takes(addr) || !good(a) {
			continue
		}
		if addr.Is6() && addr.IsLinkLocalUnicast() && g.Dial != nil {
			addr = addr.WithZone(a.Iface)
		}
		if g.Dial == nil && (addr.IsLoopback() || addr.IsLinkLocalUnicast() && addr.Zone() == "" && addr.Is6()) {
			return nil, unsure{fmt.Errorf("%s means nothing outside the guest; for a link-local address name the "+
				"host's interface in target, like fe80::1%%br0", addr)}
		}
		return []netip.Addr{addr}, nil
	}
	family := ""
	if t.family != AnyFamily {
		family = t.family + " "
	}
	return nil, unsure{fmt.Errorf("the guest has no %saddress %s", family, which)}
}

// resolve asks the system's resolver, within ctx.
func (t target) resolve(ctx context.Context, tr *trial) ([]netip.Addr, error) {
	network := map[string]string{AnyFamily: "ip", IPv4: "ip4", IPv6: "ip6"}[t.family]
	began := time.Now()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, t.name)
	tr.result.Phases.Resolve += time.Since(began)
	if err != nil {
		why := err.Error()
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			why = dns.Err
		}
		return nil, unsure{fmt.Errorf("resolve %q: %s after %s", t.name, why, millis(time.Since(began)))}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

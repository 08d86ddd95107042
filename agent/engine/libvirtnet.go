package engine

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// What this host's network tells about domains: the interfaces that they hang on, and the addresses that were seen.

// links are the host's interfaces that a definition needs, sorted: those it names, and those of its networks, which the
// network driver keeps in files, as an active one is and as it was defined (all drivers share them).
func (l *libvirt) links(c virtConf) []string {
	out := slices.Clone(c.links)
	for _, name := range c.networks {
		if !l.local || checkID(name) != nil {
			continue
		}
		for _, path := range []string{"/run/libvirt/network/", "/etc/libvirt/qemu/networks/"} {
			b, err := readBounded(l.file(path+name+".xml"), 1<<20)
			if devs := parseVirtNetwork(b); err == nil && len(devs) > 0 {
				out = append(out, devs...)
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// neighbours reads from the kernel of the domains' host which addresses have been seen behind which MAC.
func (l *libvirt) neighbours(ctx context.Context) map[string][]health.Addr {
	out := map[string][]health.Addr{}
	if l.far() {
		t, err := l.askWithin(ctx, []string{"ip", "-o", "neigh", "show"}, slowWithin)
		if err != nil {
			return out // without it the leases still tell some
		}
		return parseNeighbours(t.Stdout)
	}
	if !l.local {
		return out
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := netlink.NeighList(0, family)
		if err != nil {
			continue // a dump that was disturbed; the next list reads it again
		}
		for _, n := range list {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) == 0 {
				isNeighbour(out, n.HardwareAddr.String(), ip)
			}
		}
	}
	return out
}

// isNeighbour takes in an address that has been seen behind a MAC, if it is one by which others are reached.
func isNeighbour(out map[string][]health.Addr, mac string, ip netip.Addr) {
	if ip = ip.Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return
	}
	out[mac] = append(out[mac], health.Addr{Prefix: netip.PrefixFrom(ip, ip.BitLen()), MAC: mac})
}

// parseNeighbours reads "ip -o neigh show": "192.0.2.7 dev br0 lladdr 52:54:00:d5:02:02 REACHABLE".
func parseNeighbours(b []byte) map[string][]health.Addr {
	out := map[string][]health.Addr{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		at := slices.Index(f, "lladdr")
		if at < 0 || at+1 >= len(f) || slices.Contains(f, "FAILED") || slices.Contains(f, "INCOMPLETE") {
			continue
		}
		mac, err := net.ParseMAC(f[at+1])
		if ip, err2 := netip.ParseAddr(f[0]); err == nil && err2 == nil {
			isNeighbour(out, mac.String(), ip)
		}
	}
	return out
}

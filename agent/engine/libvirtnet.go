package engine

import (
	"net/netip"
	"slices"

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

// neighbours reads from this host's kernel which addresses have been seen behind which MAC.
func (l *libvirt) neighbours() map[string][]health.Addr {
	out := map[string][]health.Addr{}
	if !l.local {
		return out
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := netlink.NeighList(0, family)
		if err != nil {
			continue // a dump that was disturbed; the next list reads it again
		}
		for _, n := range list {
			ip, ok := netip.AddrFromSlice(n.IP)
			if !ok || n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) != 0 || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
				continue
			}
			ip, mac := ip.Unmap(), n.HardwareAddr.String()
			out[mac] = append(out[mac], health.Addr{Prefix: netip.PrefixFrom(ip, ip.BitLen()), MAC: mac})
		}
	}
	return out
}

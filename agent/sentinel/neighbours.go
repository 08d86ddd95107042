package sentinel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// DropStaleNeighbours drops the host's neighbour entries (ARP and NDP) of the addresses of p that name another MAC than the
// interface which has the address now, and gives those addresses. Without it a container that came back with a new MAC
// serves, but not the host: its entry stays REACHABLE for some 40 s (measured, LXC without a fixed hwaddr).
//
// Permanent and NOARP entries are somebody's decision and stay, and so do proxy entries and those without a MAC, which
// the kernel is resolving anyhow. Should another container on another bridge have the same address, its entry goes too, and
// comes back with its next packet. There is nothing to do for a container that shares the host's network namespace, and an
// entry that another dropped first is no error. About 0.5 ms. Needs CAP_NET_ADMIN.
func DropStaleNeighbours(p health.Process) ([]netip.Addr, error) {
	macs, err := addressMACs(p)
	if err != nil || len(macs) == 0 {
		return nil, err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket of the host: %w", err)
	}
	defer host.Close()
	entries, err := whole(func() ([]netlink.Neigh, error) { return host.NeighList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list the neighbours of the host: %w", err)
	}
	var dropped []netip.Addr
	var failed []error
	for _, e := range entries {
		ip, stale := staleFor(e, macs)
		if !stale {
			continue
		}
		err := host.NeighDel(&e)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fmt.Errorf("drop the stale neighbour entry of %v (%v): %w", ip, e.HardwareAddr, err))
			continue
		}
		dropped = append(dropped, ip)
	}
	return dropped, errors.Join(failed...)
}

// addressMACs gives the MAC behind each address of p; none when p shares our network namespace.
func addressMACs(p health.Process) (map[netip.Addr]net.HardwareAddr, error) {
	if shared, err := sharesOurs(p); err != nil || shared {
		return nil, err
	}
	macs := make(map[netip.Addr]net.HardwareAddr)
	err := inside(p, func(h *netlink.Handle) error {
		ports, err := ports(h)
		for _, port := range ports {
			for _, a := range port.addrs {
				macs[a.prefix.Addr()] = port.mac
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the addresses of pid %d: %w", p.PID, err)
	}
	return macs, nil
}

func sharesOurs(p health.Process) (bool, error) {
	ns, err := openNetns(p)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(ns) }()
	return ours(ns)
}

// staleFor says whether an entry of the host names another MAC than the owner of its address has.
func staleFor(e netlink.Neigh, macs map[netip.Addr]net.HardwareAddr) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(e.IP)
	ip = ip.Unmap()
	mac, known := macs[ip]
	kept := e.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 || e.Flags&netlink.NTF_PROXY != 0
	return ip, ok && known && !kept && len(mac) > 0 && len(e.HardwareAddr) > 0 && !bytes.Equal(e.HardwareAddr, mac)
}

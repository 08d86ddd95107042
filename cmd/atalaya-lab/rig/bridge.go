package rig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// makeBridge adds a bridge with an address and brings it up. Its MAC is fixed: else
// it is the lowest of its ports' and changes whenever one comes or goes, and the
// containers go on answering to the old one.
func makeBridge(name string, addr netip.Prefix) error {
	ip := addr.Addr().As4()
	mac := net.HardwareAddr{0x00, 0x16, 0x3e, 0xd5, ip[2], ip[3]}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac}}
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("add bridge %q: %w", name, err)
	}
	ipnet := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen())}
	if err := netlink.AddrAdd(br, &netlink.Addr{IPNet: ipnet}); err != nil {
		return fmt.Errorf("give bridge %q the address %s: %w", name, addr, err)
	}
	if err := netlink.LinkSetUp(br); err != nil {
		return fmt.Errorf("bring bridge %q up: %w", name, err)
	}
	return nil
}

// deleteBridge removes the bridge; one that is not there is well.
func deleteBridge(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find bridge %q: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("delete bridge %q: %w", name, err)
	}
	return nil
}

// allLinks lists all links. Tests beside this one make and delete theirs meanwhile: what that made inconsistent is read
// again.
func allLinks() (links []netlink.Link, err error) {
	for range 20 {
		if links, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return links, err
}

// portsOf are the links enslaved to the bridge, by index.
func portsOf(name string) ([]int, error) {
	br, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find bridge %q: %w", name, err)
	}
	links, err := allLinks()
	if err != nil {
		return nil, fmt.Errorf("list the ports of bridge %q: %w", name, err)
	}
	var ports []int
	for _, l := range links {
		if l.Attrs().MasterIndex == br.Attrs().Index {
			ports = append(ports, l.Attrs().Index)
		}
	}
	return ports, nil
}

// attach enslaves those of the links that still exist.
func attach(name string, ports []int) error {
	br, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find bridge %q: %w", name, err)
	}
	for _, index := range ports {
		port, err := netlink.LinkByIndex(index)
		if err != nil {
			continue // its container died meanwhile
		}
		if err := netlink.LinkSetMaster(port, br); err != nil {
			return fmt.Errorf("attach %q to bridge %q: %w", port.Attrs().Name, name, err)
		}
	}
	return nil
}

// subnetTaken tells whether somebody else uses addresses of the slot's subnet.
func subnetTaken(n int) bool {
	s := &slot{n: n}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && p.Overlaps(s.subnet()) {
			return true
		}
	}
	return false
}

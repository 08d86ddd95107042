package sentinel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Announce tells the neighbours of p, from inside its network namespace, which MAC its addresses have now: for each IPv4
// address a gratuitous ARP request and reply (RFC 5227 and 826: some heed one, some the other), for each IPv6 address an
// unsolicited neighbour advertisement with the override flag (RFC 4861, 7.2.6). It is for the other machines on the link
// and for bridges; for the host itself DropStaleNeighbours is the sure way. Interfaces that are down or have no Ethernet
// address are left out, so is an IPv6 address in its first second or so, while it is tentative, and so is a container that
// shares our namespace. Sends two small packets per address at most, waits for nothing, about 0.5 ms. Needs CAP_NET_RAW.
func Announce(p health.Process) error {
	ns, err := openNetns(p)
	if err != nil {
		return fmt.Errorf("announce the addresses of pid %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(ns) }()
	if shared, err := ours(ns); err != nil || shared {
		return err
	}
	err = within(ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		ports, err := ports(h)
		failed := []error{err}
		for _, port := range ports {
			if port.up && len(port.mac) == 6 {
				failed = append(failed, announcePort(port))
			}
		}
		return errors.Join(failed...)
	})
	if err != nil {
		return fmt.Errorf("announce the addresses of pid %d: %w", p.PID, err)
	}
	return nil
}

func announcePort(p port) error {
	var failed []error
	for _, a := range p.addrs {
		if a.tentative {
			continue
		}
		ip, send := a.prefix.Addr(), advertise
		if ip.Is4() {
			send = gratuitous
		}
		if err := send(p, ip); err != nil {
			failed = append(failed, fmt.Errorf("announce %v on %q: %w", ip, p.name, err))
		}
	}
	return errors.Join(failed...)
}

// gratuitous sends an ARP request and an ARP reply about our own address to everybody.
func gratuitous(p port, ip netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	arp := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP)) // htons
	everybody := [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}                              // an Ethernet address in the form of sockaddr_ll
	to := &unix.SockaddrLinklayer{Protocol: arp, Ifindex: p.index, Halen: 6, Addr: everybody}
	const request, reply = 1, 2
	return errors.Join(
		unix.Sendto(fd, arpPacket(request, p.mac, net.HardwareAddr{0, 0, 0, 0, 0, 0}, ip), 0, to),
		unix.Sendto(fd, arpPacket(reply, p.mac, net.HardwareAddr(everybody[:6]), ip), 0, to))
}

// arpPacket is an ARP packet over Ethernet and IPv4 whose sender and target address are both ip.
func arpPacket(op uint16, sender, target net.HardwareAddr, ip netip.Addr) []byte {
	b := binary.BigEndian.AppendUint16(nil, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	b = append(b, 6, 4) // lengths of the addresses
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, sender...), ip.AsSlice()...)
	return append(append(b, target...), ip.AsSlice()...)
}

// advertise sends an unsolicited neighbour advertisement to all nodes on the link.
func advertise(p port, ip netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	const untouched = 255 // RFC 4861: what a router forwarded has less and is dropped
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, untouched),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, p.index),
		unix.Bind(fd, &unix.SockaddrInet6{Addr: ip.As16()}))
	if err != nil {
		return err
	}
	all := netip.IPv6LinkLocalAllNodes().As16()
	return unix.Sendto(fd, advertisement(p.mac, ip), 0, &unix.SockaddrInet6{Addr: all, ZoneId: uint32(p.index)})
}

// advertisement is an ICMPv6 neighbour advertisement; the kernel fills in the checksum.
func advertisement(mac net.HardwareAddr, ip netip.Addr) []byte {
	const kind, override, targetMAC = 136, 0x20, 2
	b := []byte{kind, 0, 0, 0, override, 0, 0, 0}
	b = append(b, ip.AsSlice()...)
	return append(append(b, targetMAC, 1), mac...)
}

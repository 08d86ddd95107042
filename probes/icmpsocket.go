package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// openEcho gives a connected socket for echo requests to addr: an unprivileged ping socket where the kernel's
// net.ipv4.ping_group_range allows one, else a raw one, which needs CAP_NET_RAW. From a guest's vantage only the raw
// one can be had, through its dialer. A connected socket hears nobody else, and gives "host unreachable" as an error.
func openEcho(ctx context.Context, g Guest, addr netip.Addr) (conn net.Conn, raw bool, err error) {
	if g.Dial == nil {
		conn, err = pingSocket(addr)
		if err == nil || !denied(err) {
			return conn, false, err
		}
	}
	network := "ip4:icmp"
	if addr.Is6() {
		network = "ip6:ipv6-icmp"
	}
	conn, err = dial(ctx, g, network, addr.String())
	if denied(err) {
		return nil, true, unsure{errNoPermission}
	}
	return conn, true, err
}

// denied says that the kernel refuses this kind of socket. EACCES of a ping socket is its group range.
func denied(err error) bool {
	call, ok := errors.AsType[*os.SyscallError](err)
	return ok && call.Syscall == "socket" &&
		(errors.Is(call.Err, os.ErrPermission) || errors.Is(call.Err, syscall.EPROTONOSUPPORT))
}

// pingSocket opens SOCK_DGRAM of IPPROTO_ICMP, Linux's socket for pings without privileges (since 3.0). The net package
// cannot open one, but it can take it over.
func pingSocket(addr netip.Addr) (net.Conn, error) {
	family, protocol, to := syscall.AF_INET, syscall.IPPROTO_ICMP, sockaddr(addr)
	if addr.Is6() {
		family, protocol = syscall.AF_INET6, syscall.IPPROTO_ICMPV6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer file.Close() // FileConn keeps a copy of its own
	if to == nil {
		return nil, unsure{fmt.Errorf("the host has no interface %q", addr.Zone())}
	}
	if err := syscall.Connect(fd, to); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(file)
}

// sockaddr gives addr for the kernel; nil when its zone names no interface of this host.
func sockaddr(addr netip.Addr) syscall.Sockaddr {
	if addr.Is4() {
		return &syscall.SockaddrInet4{Addr: addr.As4()}
	}
	to := &syscall.SockaddrInet6{Addr: addr.As16()}
	if zone := addr.Zone(); zone != "" {
		index, ok := zoneIndex(zone)
		if !ok {
			return nil
		}
		to.ZoneId = index
	}
	return to
}

// zoneIndex gives the number of the interface that a zone names, or is.
func zoneIndex(zone string) (uint32, bool) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), true
	}
	link, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, false
	}
	return uint32(link.Index), true
}

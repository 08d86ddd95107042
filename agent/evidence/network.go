package evidence

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"atalaya/agent/health"
)

// maxRows bounds each table of the network; more rows are counted, not shown.
const maxRows = 500

// littleEndian is the byte order of this machine, in which the kernel shows addresses.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Network is the network of the container and of the host: links with their bridges and counters, addresses, routes and
// neighbours, all by netlink.
func Network(init health.Process) []Item {
	return []Item{
		{
			Name: "network-container.txt", Volatile: true, Max: 64 << 10,
			Shows: "the container's own network: links, addresses, routes, neighbours",
			Func:  func(ctx context.Context) ([]byte, error) { return guestNetwork(ctx, init) },
		},
		{
			Name: "network-host.txt", Max: 192 << 10,
			Shows: "the host's network: links and which bridge each belongs to, addresses, routes, neighbours",
			Func: func(ctx context.Context) ([]byte, error) {
				h, err := netlink.NewHandle(netlink.FAMILY_V4)
				if err != nil {
					return nil, fmt.Errorf("open netlink: %w", err)
				}
				defer h.Close()
				return network(ctx, h)
			},
		},
	}
}

func guestNetwork(ctx context.Context, init health.Process) ([]byte, error) {
	if err := ownNetwork(init); err != nil {
		return nil, err
	}
	ns, err := netns.GetFromPid(init.PID)
	if err != nil {
		return nil, fmt.Errorf("find the container's network: %w", err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("open netlink in the container's network: %w", err)
	}
	defer h.Close()
	return network(ctx, h)
}

// network writes the four tables of one network. One that cannot be had is named, and the others are given.
func network(ctx context.Context, h *netlink.Handle) ([]byte, error) {
	var out bytes.Buffer
	names := map[int]string{}
	links, err := h.LinkList()
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	table(&out, "LINKS", err, links, func(l netlink.Link) string { return linkRow(l, names) })
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	table(&out, "ADDRESSES", err, addrs, func(a netlink.Addr) string {
		return fmt.Sprintf("%-16s %s", names[a.LinkIndex], a.IPNet)
	})
	if ctx.Err() != nil {
		return out.Bytes(), ctx.Err()
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	table(&out, "ROUTES", err, routes, func(r netlink.Route) string { return routeRow(r, names) })
	neighbours, err := h.NeighList(0, netlink.FAMILY_ALL)
	table(&out, "NEIGHBOURS", err, neighbours, func(n netlink.Neigh) string { return neighbourRow(n, names) })
	return out.Bytes(), ctx.Err()
}

func table[T any](out *bytes.Buffer, title string, err error, rows []T, row func(T) string) {
	fmt.Fprintf(out, "%s (%d)\n", title, len(rows))
	if err != nil {
		fmt.Fprintf(out, "  incomplete: %v\n", err)
	}
	for n, r := range rows {
		if n == maxRows {
			fmt.Fprintf(out, "  (%d more are not shown)\n", len(rows)-n)
			break
		}
		if text := row(r); text != "" {
			fmt.Fprintf(out, "  %s\n", printable(text))
		}
	}
	out.WriteByte('\n')
}

func linkRow(l netlink.Link, names map[int]string) string {
	a := l.Attrs()
	up := "down"
	if a.Flags&net.FlagUp != 0 {
		up = "up"
	}
	s := fmt.Sprintf("%-16s %-7s %-4s %-14s mtu %-5d %-17s", a.Name, l.Type(), up, a.OperState, a.MTU, a.HardwareAddr)
	if a.MasterIndex != 0 {
		s += " on " + nameOr(names, a.MasterIndex)
	}
	if st := a.Statistics; st != nil {
		s += fmt.Sprintf(" rx %d/%d errors/%d dropped tx %d/%d errors/%d dropped",
			st.RxPackets, st.RxErrors, st.RxDropped, st.TxPackets, st.TxErrors, st.TxDropped)
	}
	return s
}

func routeRow(r netlink.Route, names map[int]string) string {
	to := "default"
	if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
		to = r.Dst.String()
	}
	s := fmt.Sprintf("%-28s dev %-16s", to, nameOr(names, r.LinkIndex))
	if r.Gw != nil {
		s += " via " + r.Gw.String()
	}
	if r.Src != nil {
		s += " src " + r.Src.String()
	}
	if r.Priority != 0 {
		s += fmt.Sprintf(" metric %d", r.Priority)
	}
	return s
}

// neighbourStates are the states of a neighbour entry by bit (include/uapi/linux/neighbour.h).
var neighbourStates = []string{"INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT"}

// neighbourRow leaves out multicast and broadcast, which tell nothing.
func neighbourRow(n netlink.Neigh, names map[int]string) string {
	if n.State&netlink.NUD_NOARP != 0 || n.IP == nil {
		return ""
	}
	var states []string
	for bit, name := range neighbourStates {
		if n.State&(1<<bit) != 0 {
			states = append(states, name)
		}
	}
	return fmt.Sprintf("%-28s dev %-16s %-17s %s", n.IP, nameOr(names, n.LinkIndex), n.HardwareAddr, strings.Join(states, " "))
}

func nameOr(names map[int]string, index int) string {
	if name := names[index]; name != "" {
		return name
	}
	return fmt.Sprintf("#%d", index)
}

package evidence

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"atalaya/agent/health"
)

// maxSockets bounds the list of sockets of one kind; more are counted, not shown.
const maxSockets = 400

// tcpStates are the kernel's states of a TCP socket by number (include/net/tcp_states.h).
var tcpStates = []string{
	"?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
	"LISTEN", "CLOSING", "NEW_SYN_RECV",
}

// Sockets are the network sockets in the container. A listening one whose receive queue does not empty is the proof of
// a server that hangs.
func Sockets(init health.Process) []Item {
	return []Item{{
		Name: "sockets.txt", Volatile: true, Max: 64 << 10,
		Shows: "who listens and is connected in the container; connections that pile up at a listener: its program hangs",
		Func:  func(ctx context.Context) ([]byte, error) { return listSockets(ctx, init) },
	}}
}

func listSockets(ctx context.Context, init health.Process) ([]byte, error) {
	if err := ownNetwork(init); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "RECV of a LISTEN line counts connections that the program has not accepted yet.\n\n")
	fmt.Fprintf(&out, "%-5s %-12s %6s %6s  %-28s %s\n", "KIND", "STATE", "RECV", "SEND", "LOCAL", "REMOTE")
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		if err := socketsOf(ctx, &out, init.PID, kind); err != nil {
			return out.Bytes(), err
		}
	}
	return out.Bytes(), nil
}

// ownNetwork says why there is no network of the container's own to be read.
func ownNetwork(init health.Process) error {
	if !lives(init) {
		return ended(init)
	}
	theirs, err := os.Readlink(procPath(init.PID, "ns", "net"))
	if err != nil {
		return fmt.Errorf("find the container's network: %w", err)
	}
	if ours, err := os.Readlink("/proc/self/ns/net"); err == nil && ours == theirs {
		return errShared
	}
	return nil
}

// socketsOf reads one table. Listeners come first: after thousands of connections they would not be shown.
func socketsOf(ctx context.Context, out *bytes.Buffer, pid int, kind string) error {
	f, err := os.Open(procPath(pid, "net", kind))
	if errors.Is(err, os.ErrNotExist) {
		return nil // no IPv6 in this kernel
	}
	if err != nil {
		return fmt.Errorf("read the container's sockets: %w", err)
	}
	defer func() { _ = f.Close() }()
	var listening, others []string
	left := 0
	for lines := bufio.NewScanner(f); lines.Scan() && ctx.Err() == nil; {
		line, state := socketLine(kind, lines.Text())
		switch {
		case line == "":
		case state == "LISTEN" && len(listening) < maxSockets:
			listening = append(listening, line)
		case len(others) < maxSockets:
			others = append(others, line)
		default:
			left++
		}
	}
	for _, line := range append(listening, others...) {
		out.WriteString(line)
	}
	if left > 0 {
		fmt.Fprintf(out, "%-5s (%d more are not shown)\n", kind, left)
	}
	return ctx.Err()
}

// socketLine reads a line of /proc/net/tcp and its like:
// "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 …" (proc_pid_net(5)).
func socketLine(kind, text string) (line, state string) {
	f := strings.Fields(text)
	if len(f) < 5 {
		return "", ""
	}
	local, okLocal := hexAddr(f[1])
	remote, okRemote := hexAddr(f[2])
	number, err := strconv.ParseUint(f[3], 16, 8)
	send, recv, okQueue := strings.Cut(f[4], ":")
	if !okLocal || !okRemote || !okQueue || err != nil {
		return "", ""
	}
	state = "-"
	if strings.HasPrefix(kind, "tcp") {
		state = tcpStates[min(int(number), len(tcpStates)-1)]
	}
	return fmt.Sprintf("%-5s %-12s %6d %6d  %-28s %s\n", kind, state, hexCount(recv), hexCount(send), local, remote), state
}

func hexCount(s string) uint64 {
	n, _ := strconv.ParseUint(s, 16, 64) // the kernel writes hex
	return n
}

// hexAddr reads an address as the kernel shows it: groups of four bytes in the host's byte order, and the port.
func hexAddr(s string) (string, bool) {
	ip, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(ip)
	if !ok || err != nil || len(raw)%4 != 0 {
		return "", false
	}
	if littleEndian {
		for i := 0; i < len(raw); i += 4 {
			slices.Reverse(raw[i : i+4])
		}
	}
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		return "", false
	}
	if hexCount(port) == 0 {
		return strings.TrimSuffix(netip.AddrPortFrom(addr.Unmap(), 0).String(), "0") + "*", true
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(hexCount(port))).String(), true
}

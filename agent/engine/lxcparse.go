package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"atalaya/agent/health"
)

// lxcInfo is what lxc-info, or one row of lxc-ls -f, says of a container.
type lxcInfo struct {
	state string // LXC's own word: RUNNING, STOPPED, …; empty: none was given
	pid   int
	addrs []health.Addr
	gone  bool   // it does not exist
	fault string // why its configuration cannot be read

	autostart health.Tri // of the list over ssh
}

// lxcStates are the words of lxc_state_t (liblxc, src/lxc/state.h).
func lxcState(word string) (health.RunState, bool) {
	switch word {
	case "RUNNING", "THAWED":
		return health.Running, true
	case "STOPPED":
		return health.Stopped, true
	case "FROZEN":
		return health.Paused, true
	case "STARTING", "STOPPING", "ABORTING", "FREEZING":
		return health.Busy, true
	}
	return health.Unknown, false
}

// parseLXCInfo reads the output of lxc-info -s -p -i. What is garbled leaves state empty.
func parseLXCInfo(stdout, stderr []byte) lxcInfo {
	var i lxcInfo
	for line := range strings.Lines(string(stdout)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			i.state = value
		case "PID":
			i.pid, _ = strconv.Atoi(value)
		case "IP":
			i.addrs = appendAddr(i.addrs, value)
		}
	}
	text := string(stderr)
	i.gone = strings.Contains(text, "doesn't exist") && i.state == ""
	if strings.Contains(text, "Failed to load config for ") {
		i.fault = lxcFault(text)
	}
	return i
}

// lxcFault picks why a configuration cannot be read out of what --logpriority=ERROR prints: the line that names the file
// and the line in it, else the first that says anything.
func lxcFault(stderr string) string {
	first := ""
	for line := range strings.Lines(stderr) {
		_, words, ok := cutLXCLog(line)
		if !ok {
			continue
		}
		if strings.Contains(words, "Failed to parse config file") {
			if first == "" {
				return words
			}
			return first + ": " + words
		}
		if first == "" {
			first = words
		}
	}
	if first == "" {
		return "LXC cannot load its config"
	}
	return first
}

// parseLXCNames reads the output of lxc-ls -1: one name a line.
func parseLXCNames(stdout []byte) []string {
	var names []string
	for line := range strings.Lines(string(stdout)) {
		if name := strings.TrimSuffix(line, "\n"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// parseLXCBroken finds in the complaints of lxc-ls whose configuration it could not load: it leaves those out, rc 0.
func parseLXCBroken(stderr []byte) []string {
	var names []string
	for line := range strings.Lines(string(stderr)) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "Failed to load config for "); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// lxcColumns is what is asked of lxc-ls -f. The name comes last, where nothing follows that it could be mistaken for.
const lxcColumns = "STATE,PID,IPV4,IPV6,NAME"

// parseLXCTable reads lxc-ls -f -F lxcColumns.
func parseLXCTable(stdout []byte) (map[string]lxcInfo, error) {
	out := make(map[string]lxcInfo)
	err := eachLXCRow(stdout, lxcColumns, func(cells []string) {
		i := lxcInfo{state: cells[0], addrs: lxcAddrs(cells[2], cells[3])}
		i.pid, _ = strconv.Atoi(cells[1])
		if cells[4] != "" {
			out[cells[4]] = i
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachLXCRow takes a table of lxc-ls apart. Columns stand where the header says, in bytes.
func eachLXCRow(stdout []byte, columns string, row func(cells []string)) error {
	var at []int
	for line := range strings.Lines(string(stdout)) {
		line = strings.TrimSuffix(line, "\n")
		if at == nil {
			var err error
			if at, err = lxcHeader(line, columns); err != nil {
				return err
			}
			continue
		}
		last := len(at) - 1
		if len(line) < at[last] {
			return fmt.Errorf("a row of lxc-ls is too short: %.60q", line)
		}
		cells := make([]string, len(at))
		for i := range last {
			cells[i] = strings.TrimSpace(line[at[i]:at[i+1]])
		}
		cells[last] = strings.TrimRight(line[at[last]:], " ")
		row(cells)
	}
	return nil
}

func lxcAddrs(columns ...string) (addrs []health.Addr) {
	for _, c := range columns {
		for a := range strings.SplitSeq(c, ",") {
			addrs = appendAddr(addrs, strings.TrimSpace(a))
		}
	}
	return addrs
}

// lxcHeader finds where each column begins.
func lxcHeader(line, columns string) ([]int, error) {
	var at []int
	from := 0
	for name := range strings.SplitSeq(columns, ",") {
		i := strings.Index(line[from:], name)
		if i < 0 {
			return nil, fmt.Errorf("lxc-ls printed no column %s: %.60q", name, line)
		}
		at = append(at, from+i)
		from += i + len(name)
	}
	return at, nil
}

// appendAddr adds what other machines can reach. The tools give no prefix length: it is taken as that of one host.
func appendAddr(to []health.Addr, text string) []health.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
		return to
	}
	return append(to, health.Addr{Prefix: netip.PrefixFrom(a, a.BitLen())})
}

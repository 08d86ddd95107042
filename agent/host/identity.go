package host

import (
	"net"
	"os"
	"strings"

	"atalaya/agent/health"
)

// Identity gives how receivers know this host: its full name, the configured site, and its boot (BootID).
//
// The name is what hostname(1) says if that has a dot, else the name in /etc/hosts that begins with it (Debian writes
// "127.0.1.1 web.example.org web"), else what it is. DNS is not asked: it may hang, it may be what is broken, and no
// packet leaves the host that was not configured.
func Identity(site string) health.Host {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	hosts, _ := os.ReadFile("/etc/hosts") // unreadable is as good as empty
	return health.Host{FQDN: fullName(name, string(hosts)), Site: site, Boot: BootID()}
}

// fullName looks a short name up in the text of /etc/hosts.
func fullName(name, hosts string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.Contains(name, ".") {
		return name
	}
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || net.ParseIP(fields[0]) == nil {
			continue
		}
		for _, full := range fields[1:] {
			if first, rest, dotted := strings.Cut(full, "."); dotted && rest != "" && strings.EqualFold(first, name) {
				return full
			}
		}
	}
	return name
}

package engine

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// The definition of a guest, /etc/pve/lxc/ID.conf or /etc/pve/qemu-server/ID.conf: lines of "key: value" up to the first
// [section], which is a snapshot or what waits for the next start (proxmox/pve-container, src/PVE/LXC/Config.pm,
// parse_pct_config; proxmox/qemu-server, src/PVE/QemuServer.pm, parse_vm_config).

// maxPVEConf is how much of one file under /etc/pve is read. pmxcfs itself allows 1 MiB.
const maxPVEConf = 1 << 20

// A pveConf is what is needed of it.
type pveConf struct {
	name     string
	lock     string
	template bool
	onboot   bool
	agent    bool // a VM that says it has a guest agent
	tags     []string
	addrs    []health.Addr // static ones
	dynamic  bool          // an address may come from elsewhere
	links    []string
	mark     string // what stays as long as it is the same guest
	digest   string // changes with the file
}

// parsePVEConf reads a definition. It never fails: what means nothing is left out, and Proxmox says itself what it
// cannot read.
func parsePVEConf(b []byte, vm bool) pveConf {
	h := fnv.New64a()
	_, _ = h.Write(b)
	c := pveConf{digest: fmt.Sprintf("%016x", h.Sum64())}
	nets, ips := map[string]pveProps{}, map[string]pveProps{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			break
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		switch {
		case key == "smbios1":
			c.mark = parsePVEProps(value)["uuid"]
		case strings.HasPrefix(key, "net"):
			nets[key[3:]] = parsePVEProps(value)
		case strings.HasPrefix(key, "ipconfig"):
			ips[key[8:]] = parsePVEProps(value)
		default:
			c.set(key, value)
		}
	}
	c.network(nets, ips, vm)
	return c
}

func (c *pveConf) set(key, value string) {
	on := value == "1" || value == "yes" || value == "on" || value == "true"
	switch key {
	case "name", "hostname":
		c.name = tidy(value)
	case "lock":
		c.lock = tidy(value)
	case "template":
		c.template = on
	case "onboot":
		c.onboot = on
	case "agent":
		p := parsePVEProps(value)
		c.agent = p["enabled"] == "1" || p[""] == "1"
	case "tags":
		c.tags = pveTags(value)
	}
}

// pveTags takes apart what may be separated by ';', ',' or spaces (PVE::Tools::split_list).
func pveTags(s string) []string {
	tags := strings.FieldsFunc(tidy(s), func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
	slices.Sort(tags)
	return slices.Compact(tags)
}

// pveProps is a property string, "virtio=BC:24:11:…,bridge=vmbr0": by key, the default one under "".
type pveProps map[string]string

func parsePVEProps(s string) pveProps {
	p := pveProps{}
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			key, value = "", key
		}
		p[key] = tidy(value)
	}
	return p
}

// network takes in the interfaces. A CT has its address beside its bridge, a VM the one that cloud-init gives it. The MAC
// of the first one is made at creation, and kept: it marks a CT, whose definition has nothing else that is its own.
func (c *pveConf) network(nets, ips map[string]pveProps, vm bool) {
	for _, n := range sortedKeys(nets) {
		p, from := nets[n], nets[n]
		mac := p["hwaddr"]
		if vm {
			from, mac = ips[n], vmMAC(p)
		}
		if c.mark == "" && !vm {
			c.mark = mac
		}
		if p["bridge"] != "" && !slices.Contains(c.links, p["bridge"]) {
			c.links = append(c.links, p["bridge"])
		}
		static := false
		for _, key := range []string{"ip", "ip6"} {
			if a, err := netip.ParsePrefix(from[key]); err == nil {
				static = true
				c.addrs = append(c.addrs, health.Addr{Prefix: a, Iface: p["name"], MAC: mac})
			}
		}
		c.dynamic = c.dynamic || !static
	}
	slices.Sort(c.links)
}

// vmMAC finds the address behind the model: "virtio=BC:24:11:00:00:01".
func vmMAC(p pveProps) string {
	for _, key := range sortedKeys(p) {
		if v := p[key]; len(v) == 17 && strings.Count(v, ":") == 5 {
			return v
		}
	}
	return p["macaddr"]
}

// A pveGuest is where a guest of the cluster is: /etc/pve/.vmlist (proxmox/pve-cluster, src/pmxcfs/status.c,
// cfs_create_vmlist_msg).
type pveGuest struct {
	Node string `json:"node"`
	Type string `json:"type"`
}

// parsePVEList reads the list of all guests of the cluster. Without a guest it has no "ids" at all.
func parsePVEList(b []byte) (map[string]pveGuest, error) {
	var doc struct {
		Version *looseString        `json:"version"`
		IDs     map[string]pveGuest `json:"ids"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.Version == nil {
		return nil, fmt.Errorf("no version in it: %.60q", b)
	}
	return doc.IDs, nil
}

// pveFolder is where definitions of a kind lie.
func pveFolder(kind string) string {
	if kind == "qemu" {
		return "qemu-server"
	}
	return "lxc"
}

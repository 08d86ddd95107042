package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AddNetwork makes the installation's second network, "second", with IPv4 and IPv6 on a bridge of its own.
func (o *OCI) AddNetwork() {
	o.t.Helper()
	v4, v6 := fmt.Sprintf("10.214.%d.0/24", o.slot.n), fmt.Sprintf("fd00:213:%x::/64", o.slot.n)
	if o.engine == "docker" {
		o.Run("network", "create", "--internal", "--ipv6", "--subnet="+v4, "--subnet="+v6, "--opt=com.docker.network.bridge.name="+o.slot.bridges()[1], "second")
		return
	}
	o.must(os.WriteFile(o.networkFile(), fmt.Appendf(nil, `{"name":"second","id":%q,"driver":"bridge","network_interface":%q,"created":"2026-11-25T09:00:00Z",`+
		`"subnets":[{"subnet":%q,"gateway":"10.214.%d.1"},{"subnet":%q,"gateway":"fd00:213:%x::1"}],"ipv6_enabled":true,"internal":true,"dns_enabled":false,"ipam_options":{"driver":"host-local"}}`,
		strings.Repeat("cd", 32), o.slot.bridges()[1], v4, o.slot.n, v6, o.slot.n), 0o644))
}

// RemoveNetwork removes it again; a container that does not run may still be meant for it.
func (o *OCI) RemoveNetwork() {
	o.t.Helper()
	if o.engine == "docker" {
		o.Run("network", "rm", "second")
		return
	}
	o.must(os.Remove(o.networkFile()))
	o.must(deleteBridge(o.slot.bridges()[1]))
}

func (o *OCI) networkFile() string {
	return filepath.Join(o.slot.dir, "podman", "net", "second.json")
}

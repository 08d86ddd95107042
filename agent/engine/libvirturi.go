package engine

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/hostexec"
)

// Connections of libvirt: what their names say, and which there are on this host.

// CheckURI says why s cannot be the value of Spec.URI.
func CheckURI(s string) error {
	_, _, err := parseVirtURI(s)
	return err
}

// parseVirtURI takes the driver from driver[+transport]://[host]/path, and tells whether it is the daemon of this host's
// system.
func parseVirtURI(s string) (driver string, local bool, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || strings.ContainsAny(s, "; \t\n'\"\\") {
		return "", false, fmt.Errorf("%q is no connection of libvirt: give one such as %q or \"lxc:///\"", s, virtDefaultURI)
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	here := u.Host == "" && (transport == "" || transport == "unix")
	return driver, here && (driver == "lxc" || driver == "qemu" && u.Path == "/system"), nil
}

// discoverLibvirt finds the daemons of this host by their sockets and asks them in one process. Distributions install the
// LXC driver along with libvirt, so that one counts only where it has a container.
func discoverLibvirt(ctx context.Context, r Runner) []Spec {
	return discoverVirtBelow(ctx, r, "/", []Spec{{Engine: "libvirt", URI: virtDefaultURI}, {Engine: "libvirt", Instance: "lxc", URI: "lxc:///"}})
}

func discoverVirtBelow(ctx context.Context, r Runner, root string, candidates []Spec) []Spec {
	sockets, _ := filepath.Glob(filepath.Join(root, "run/libvirt/*-sock"))
	if len(sockets) == 0 || !installed("virsh") {
		return nil
	}
	var cmds []string
	for _, s := range candidates {
		cmds = append(cmds, "connect "+s.URI+"; uri; list --all --uuid")
	}
	t := r.Read(ctx, hostexec.Command{Argv: []string{"virsh", virtScript(cmds)}, Timeout: 20 * time.Second, MaxOut: maxList})
	items, ok := virtItems(t.Stdout, len(cmds))
	if !ok {
		return nil
	}
	var found []Spec
	for i, s := range candidates {
		lines := nonEmptyLines(items[i])
		driver, _, _ := parseVirtURI(s.URI)
		if len(lines) > 0 && strings.HasPrefix(lines[0], driver) && (driver != "lxc" || len(lines) > 1) {
			found = append(found, s)
		}
	}
	return found
}

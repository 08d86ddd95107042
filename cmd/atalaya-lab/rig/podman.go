package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// NewPodman makes a storage of its own for podman, with its own network on the rig's bridge. Its runtime is runc: crun
// refuses hybrid cgroups.
func NewPodman(t TB) *OCI {
	t.Helper()
	o := newOCI(t, "podman")
	dir := o.slot.dir
	p := podmanAt(dir)
	o.args, o.env = p.args, p.env
	o.create, o.network = []string{"--cgroup-parent=/" + ociCgroup(dir)}, []string{"--network=rig"}
	o.keepForwarding()
	nets := filepath.Join(dir, "podman", "net")
	o.must(os.MkdirAll(nets, 0o755))
	o.must(writeFiles(filepath.Join(dir, "podman"), map[string]string{
		"containers.conf": fmt.Sprintf("[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n"+
			"[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = %q\n", nets),
		// internal: neither a way out nor rules of a firewall
		"net/rig.json": fmt.Sprintf(`{"name":"rig","id":%q,"driver":"bridge","network_interface":%q,"created":"2026-11-25T09:00:00Z",`+
			`"subnets":[{"subnet":%q,"gateway":%q}],"ipv6_enabled":false,"internal":true,"dns_enabled":false,"ipam_options":{"driver":"host-local"}}`,
			strings.Repeat("ab", 32), o.Bridge(), o.slot.subnet(), o.slot.addr(1)),
	}))
	o.load()
	return o
}

// podmanAt is how podman is called for the storage in a rig's folder.
func podmanAt(dir string) ociInstallation {
	at := filepath.Join(dir, "podman")
	return ociInstallation{
		engine: "podman", client: "/usr/bin/podman",
		args: []string{
			"--root=" + filepath.Join(at, "root"), "--runroot=" + filepath.Join(at, "run"), "--tmpdir=" + filepath.Join(at, "tmp"),
			"--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=/usr/sbin/runc",
		},
		env: []string{"CONTAINERS_CONF=" + filepath.Join(at, "containers.conf")},
	}
}

// Serve runs podman's service until the test ends, and gives its socket as podman's --url takes it.
func (o *OCI) Serve() string {
	o.t.Helper()
	path := filepath.Join(o.slot.dir, "podman.sock")
	service := exec.Command(o.client, append(o.Args(), "system", "service", "--time=0", "unix://"+path)...)
	service.Env = append(os.Environ(), o.env...)
	o.must(service.Start())
	o.t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	if !poll(quick, func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}) {
		o.t.Fatalf("rig: podman's service does not listen on %q", path)
	}
	return "unix://" + path
}

// keepForwarding puts back what netavark sets when it makes a network, also an internal one.
func (o *OCI) keepForwarding() {
	const path = "/proc/sys/net/ipv4/ip_forward"
	was, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(was)) != "0" {
		return
	}
	o.t.Cleanup(func() { _ = os.WriteFile(path, was, 0o644) })
}

package engine

import (
	"os"
	"path/filepath"
	"testing"

	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// Both connections of a host are found by one process; the LXC driver, which comes with libvirt, only where it has a
// container, and nothing where no daemon has a socket.
func TestDiscoverLibvirt(t *testing.T) {
	rig.Require(t, "root", "busybox", "libvirt")
	v := rig.NewLibvirt(t, "lxc")
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	uri := func(driver string) string {
		return driver + "+unix:///system?socket=" + filepath.Join(v.Root(), "run/libvirt/libvirt-sock")
	}
	found := func(root string) (names string) {
		for _, s := range discoverVirtBelow(t.Context(), h, root, []Spec{{Engine: "libvirt", URI: uri("nosuch")}, {Engine: "libvirt", URI: uri("qemu")}, {Engine: "libvirt", Instance: "lxc", URI: uri("lxc")}}) {
			driver, _, err := parseVirtURI(s.URI)
			if err != nil {
				t.Fatal(err)
			}
			names += " " + driver
		}
		return names
	}
	if got := found(v.Root()); got != " qemu" {
		t.Errorf("found%s, want qemu", got)
	}
	v.Make("web1", rig.LibvirtOptions{})
	if got := found(v.Root()); got != " qemu lxc" {
		t.Errorf("found%s, want qemu lxc", got)
	}
	if got := found(t.TempDir()); got != "" {
		t.Errorf("found%s where no daemon has a socket", got)
	}
	_ = os.Remove(filepath.Join(v.Root(), "run/libvirt/libvirt-sock"))
	if got := found(v.Root()); got != "" {
		t.Errorf("found%s where no daemon answers", got)
	}
}

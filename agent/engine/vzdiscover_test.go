package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// foundOn is what Discover finds on a host that has the tools and the configuration of a scripted one, and what the found
// instances list: "openvz", "openvz 101 running". It runs in a mount namespace of its own.
func foundOn(t *testing.T, h *scripted.Host) []string {
	t.Helper()
	rig.Require(t, "root", "unshare")
	out := filepath.Join(t.TempDir(), "found")
	const script = `mount -t overlay overlay -o "lowerdir=$1/etc:/etc" /etc && mount --bind "$2" /usr/local && exec "$0" -test.run '^TestDiscoverHere$'`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, os.Args[0], h.Root(), filepath.Dir(h.Bin()))
	cmd.Env = append(os.Environ(), "ATALAYA_DISCOVER="+out)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// TestDiscoverHere is the inside of foundOn, and nothing by itself.
func TestDiscoverHere(t *testing.T) {
	out := os.Getenv("ATALAYA_DISCOVER")
	if out == "" {
		return
	}
	h := hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
	var text strings.Builder
	for _, s := range engine.Discover(context.Background(), h) {
		fmt.Fprintln(&text, s.Engine)
		if s.Engine != "openvz" && s.Engine != "virtuozzo" {
			continue
		}
		i, err := engine.Open(s, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range list(t, i).Containers {
			fmt.Fprintln(&text, s.Engine, g.Ref.ID, g.State)
		}
	}
	if err := os.WriteFile(out, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// finds holds what is found of the two, and what they list.
func finds(t *testing.T, what string, h *scripted.Host, want ...string) {
	t.Helper()
	var got []string
	for _, line := range foundOn(t, h) {
		if strings.HasPrefix(line, "openvz") || strings.HasPrefix(line, "virtuozzo") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: found %q, want %q", what, got, want)
	}
}

// A host of vzctl 4 is found as such, and one that only looks like it is not.
func (v *vzTest) discovers() {
	finds(v.T, "as it is", v.Host, "openvz", "openvz 101 running")
	prlctl := filepath.Join(v.Bin(), "prlctl")
	if err := os.WriteFile(prlctl, []byte("#!/bin/sh\necho '[]'\n"), 0o755); err != nil {
		v.Fatal(err)
	}
	finds(v.T, "with prlctl", v.Host, "virtuozzo")
	if err := os.Remove(prlctl); err != nil {
		v.Fatal(err)
	}
	v.RemoveFile("/etc/vz/vz.conf")
	finds(v.T, "without vz.conf", v.Host)
	v.WriteFile("/etc/vz/vz.conf", "")
	if err := os.Remove(filepath.Join(v.Bin(), "vzlist")); err != nil {
		v.Fatal(err)
	}
	finds(v.T, "without vzlist", v.Host)
	if err := os.WriteFile(filepath.Join(v.Bin(), "vzlist"), nil, 0o644); err != nil {
		v.Fatal(err)
	}
	finds(v.T, "with a vzlist that cannot be run", v.Host)
}

// A host of Virtuozzo 7 is found as such, and not as one of vzctl 4, whose tools it has too.
func (v *prlTest) discovers() {
	finds(v.T, "as it is", v.Host, "virtuozzo", "virtuozzo "+v.id+" running")
	if err := os.Remove(filepath.Join(v.Bin(), "prlctl")); err != nil {
		v.Fatal(err)
	}
	if got := foundOn(v.T, v.Host); slices.Contains(got, "virtuozzo") {
		v.Errorf("without prlctl: %q", got)
	}
}

package bench

import (
	"fmt"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/cmd/atalaya-lab/rig"
)

// awayWithin bounds a whole measurement on another host: fifty starts, and forty kills.
const awayWithin = 15 * time.Minute

// A raiser raises one real engine.
type raiser struct {
	name  string
	raise func(*rig.Stage) *site
}

func (r *run) sites() []raiser {
	return []raiser{
		{"lxc", lxcSite},
		{"docker", func(s *rig.Stage) *site { return ociSite(s, "docker", rig.NewDocker) }},
		{"podman", func(s *rig.Stage) *site { return ociSite(s, "podman", rig.NewPodman) }},
		{"lxd", lxdSite},
		{"libvirt", libvirtSite},
		{"nspawn", r.nspawnSite},
	}
}

// Engines are the names that Options.Engines takes.
func Engines() (names []string) {
	for _, s := range (&run{}).sites() {
		names = append(names, s.name)
	}
	return names
}

func lxcSite(s *rig.Stage) *site {
	l := rig.NewLXC(s, rig.LXCOptions{})
	return &site{
		name: "lxc", spec: engine.Spec{Engine: "lxc", Path: l.Path()},
		start: func(name string) { l.Add(name); l.Start(name) },
		id:    func(name string) string { return name },
		init:  l.InitPID,
		bare:  func(name string) []string { return []string{"lxc-start", "-P", l.Path(), "-n", name} },
	}
}

func ociSite(s *rig.Stage, name string, raise func(rig.TB) *rig.OCI) *site {
	if lacks := rig.Lacking("root", "/usr/bin/"+name, "busybox"); len(lacks) > 0 {
		return &site{name: name, lacks: lacks}
	}
	o := raise(s)
	return &site{
		name: name, spec: engine.Spec{Engine: name, Bin: o.Bin(), Args: o.Args(), Env: o.Env()},
		start: func(name string) { o.Make(name); o.Start(name) },
		id:    o.ID, init: o.InitPID, bareEnv: o.Env(),
		bare: func(c string) []string {
			return append(append([]string{o.Bin() + "/" + name}, o.Args()...), "start", c)
		},
	}
}

func lxdSite(s *rig.Stage) *site {
	if lacks := rig.Lacking("root", "lxd", "busybox"); len(lacks) > 0 {
		return &site{name: "lxd", lacks: lacks}
	}
	l := rig.NewLXD(s)
	return &site{
		name: "lxd", spec: engine.Spec{Engine: "lxd", Path: l.Path(), Bin: "/usr/bin"},
		start: func(name string) { l.Make(name); l.Start(name) },
		id:    func(name string) string { return name },
		init:  l.InitPID, bareEnv: l.Env(),
		bare: func(name string) []string { return []string{"/usr/bin/lxc", "start", "--quiet", name} },
	}
}

func libvirtSite(s *rig.Stage) *site {
	if lacks := rig.Lacking("root", "libvirt", "busybox"); len(lacks) > 0 {
		return &site{name: "libvirt", lacks: lacks}
	}
	v := rig.NewLibvirt(s, "lxc")
	return &site{
		name: "libvirt", spec: engine.Spec{Engine: "libvirt", URI: v.URI(), Root: v.Root()},
		start: func(name string) {
			v.Make(name, rig.LibvirtOptions{})
			v.Start(name)
			v.WaitHTTP(name, time.Minute) // one that this host has not spoken to has no address yet, and is asked about in each list
		},
		id:   func(name string) string { return name },
		init: v.InitPID,
		bare: func(name string) []string {
			return []string{"virsh", "--quiet", "--connect", v.URI(), "start", "--domain", name}
		},
	}
}

// nspawnSite is on the host that this program is on, if that has systemd; else such a host is booted, and this very program
// measures there.
func (r *run) nspawnSite(s *rig.Stage) *site {
	if r.Inside {
		n := rig.NewNspawn(s)
		return &site{
			name: "nspawn", spec: engine.Spec{Engine: "nspawn"},
			start: func(name string) { n.Make(name); n.Start(name) },
			id:    func(name string) string { return name },
			init:  n.InitPID,
			bare:  func(name string) []string { return []string{"systemctl", "start", "systemd-nspawn@" + name} },
		}
	}
	if lacks := rig.Lacking("root", "lxc", "busybox", "debootstrap"); len(lacks) > 0 {
		return &site{name: "nspawn", lacks: lacks}
	}
	host := rig.NewSystemd(s, rig.SystemdOptions{NoStart: true})
	host.CopyIn(r.Lab, "/root/atalaya-lab")
	return &site{name: "nspawn", away: func() error {
		ran := host.ExecFor(awayWithin, "/root/atalaya-lab", "bench", "--inside", "--only=engines", "--engines=nspawn", "--agent=/root/atalaya-lab")
		for line := range strings.Lines(ran.Stdout) {
			if strings.HasPrefix(strings.TrimSpace(line), "nspawn ") {
				r.printf("%s", line)
			}
		}
		if ran.Exit != 0 {
			return fmt.Errorf("measure nspawn on its host: exit %d: %s", ran.Exit, ran.Stderr)
		}
		return nil
	}}
}

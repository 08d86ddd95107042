package bench

import (
	"atalaya/agent/engine"
	"atalaya/cmd/atalaya-lab/rig"
)

// sites raises each real engine, one at a time.
func (r *run) sites() []func(*rig.Stage) *site {
	return []func(*rig.Stage) *site{
		lxcSite,
		func(s *rig.Stage) *site { return ociSite(s, "docker", rig.NewDocker) },
		func(s *rig.Stage) *site { return ociSite(s, "podman", rig.NewPodman) },
	}
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

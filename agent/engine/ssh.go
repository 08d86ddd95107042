package engine

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// An instance on another host is asked through a Runner that goes there, and otherwise like one that is here. What it must
// not do is mistake this host for that one: nothing of our /proc and none of our files is about its containers. The rules:
//
//   - Its pids mean nothing here, so no Sighting has an Init: nobody holds it, dials into it, or reads its cgroup.
//   - Files of the host are looked for below a Root where there are none. An engine that concludes anything from a file
//     must ask base.far first.
//   - Nothing proves that a container was removed, as its definition cannot be seen: it is missing.
//   - Who stopped a container is known only where the tool tells it.
//   - What is evidence here as a file is there the output of a command; what a container can write is left out, because no
//     command reads a path safely that somebody else can change.

// nowhere is a root below which nothing is, nor can be.
const nowhere = "/dev/null/on-another-host"

// farBlind is what cannot be known over ssh, whatever the engine.
func farBlind() []string {
	return []string{
		"The deaths of its containers are noticed by polling, not by this host's kernel.",
		"Whether a container that is no longer there was removed is not known: it is missing.",
		"Who stopped a container by a command is not seen; it is known only where the tool tells it.",
		"Whether that host shuts down or restarts its engine is not known: a container that stops then is treated as one that died.",
		"Probes go over the network from this host, or by an exec probe; there is none from inside a container's network namespace.",
		"A container's console and other files that it can write itself are not in the evidence.",
	}
}

// CheckSSH says why s cannot be the value of Spec.SSH.
func CheckSSH(s string) error { return hostexec.CheckTarget(s) }

// far tells an instance on another host.
func (s Spec) far() bool { return s.SSH != "" }

// far tells whether the tool is on another host, where no file or process of this one is about its containers.
func (b *base) far() bool { return b.spec.far() }

// identify gives the life that pid is now. Of a process on another host the tool's word is taken: it is, and has no name
// here.
func (b *base) identify(pid int) (health.Process, bool) {
	if b.far() {
		return health.Process{}, pid > 0
	}
	return identify(pid)
}

// far gives what opens an engine on another host; nil where that has not been made: its open would conclude from files and
// processes of this host. To allow it, have it ask base.far and base.identify, and name it here.
func (k kind) far() func(Spec, Runner) (*tool, error) {
	switch k.name {
	case "lxc":
		return openLXCFar
	case "custom", "docker", "podman", "openvz", "virtuozzo", "lxd", "incus", "libvirt", "nspawn", "proxmox":
		return k.open
	}
	return nil
}

// OverSSH lists the engines that can be watched on another host.
func OverSSH() []string {
	var names []string
	for _, k := range kinds() {
		if k.far() != nil {
			names = append(names, k.name)
		}
	}
	return names
}

// openFar opens an instance on another host.
func (k kind) openFar(s Spec, r Runner) (*tool, error) {
	if err := CheckSSH(s.SSH); err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	open := k.far()
	if open == nil {
		return nil, fmt.Errorf("ssh: %q cannot be watched from another host by this version: run the agent there", k.name)
	}
	if s.Root != "" {
		return nil, fmt.Errorf("root %q: stands beside ssh, and there no files are read", s.Root)
	}
	s.Root = nowhere
	t, err := open(s, r)
	if err != nil {
		return nil, err
	}
	t.moveAway()
	return t, nil
}

// moveAway takes everything from a tool that is about this host.
func (t *tool) moveAway() {
	list, look, evidence, logs := t.list, t.look, t.evidence, t.logs
	t.list = func(ctx context.Context, _ []health.Ref) (Listing, error) {
		l, err := list(ctx, nil)
		for i := range l.Containers {
			l.Containers[i] = farSighting(l.Containers[i])
		}
		return l, err
	}
	t.look = func(ctx context.Context, id string, _ health.Process) (health.Sighting, error) {
		g, err := look(ctx, id, health.Process{})
		return farSighting(g), err
	}
	t.evidence = func(id string, g health.Sighting) []Source {
		var own []Source
		if evidence != nil {
			own = evidence(id, g)
		}
		return farEvidence(own)
	}
	if logs != nil {
		t.logs = func(id string) []Source { return farSources(logs(id)) }
	}
	for v, how := range t.verbs {
		how.log = false // its log file would be there
		t.verbs[v] = how
	}
	t.defined = func(string) bool { return true }
	t.place, t.meaning, t.hint, t.events, t.files, t.units, t.autostarter = nil, nil, nil, nil, nil, nil, ""
	t.blind = append(append([]string{}, t.blind...), farBlind()...)
}

// farSighting is what remains of a sighting.
func farSighting(g health.Sighting) health.Sighting {
	g.Init, g.Links = health.Process{}, nil
	if g.Lock != nil {
		lock := *g.Lock
		lock.Holder = health.Process{}
		g.Lock = &lock
	}
	if g.State == health.Removed {
		g.State = health.Missing
	}
	return g
}

// maxFarFile bounds what is read of a file there, in bytes, where its end is not what counts.
const maxFarFile = 256 << 10

// farSources asks by commands for what would be read here. What a container can write is left out.
func farSources(own []Source) []Source {
	var out []Source
	for _, s := range own {
		path := strings.TrimPrefix(s.Path, nowhere)
		switch {
		case path == "":
			out = append(out, s)
			continue
		case s.Root != "" || !filepath.IsAbs(path):
			continue
		case s.Tail > 0:
			s.Argv = []string{"tail", "-c", strconv.Itoa(s.Tail), "--", path}
		default:
			s.Argv = []string{"head", "-c", strconv.Itoa(maxFarFile), "--", path}
		}
		s.Path = ""
		out = append(out, s)
	}
	return out
}

// farEvidence is what there is over there, and how that host fares.
func farEvidence(own []Source) []Source {
	out := farSources(own)
	return append(out,
		Source{Name: "host-uptime.txt", Argv: []string{"uptime"}},
		Source{Name: "host-memory.txt", Argv: []string{"head", "-n", "20", "/proc/meminfo"}},
		Source{Name: "host-disks.txt", Argv: []string{"df", "-P"}},
		Source{Name: "host-inodes.txt", Argv: []string{"df", "-P", "-i"}},
		Source{Name: "host-kernel.txt", Argv: []string{"dmesg"}, Tail: 64 << 10},
		Source{Name: "host-processes.txt", Argv: []string{"ps", "-eo", "pid,ppid,stat,rss,etime,time,args"}},
	)
}

// Where says in one word where the instance is: "root@old:/var/lib/lxc".
func (i *Instance) Where() string {
	where := i.spec.Path
	if where == "" {
		where = cmp.Or(i.spec.URI, strings.Join(i.spec.Args, " "))
	}
	if i.spec.SSH != "" && where != "" {
		return i.spec.SSH + ":" + where
	}
	return i.spec.SSH + where
}

// Far tells an instance on another host.
func (i *Instance) Far() bool { return i.spec.far() }

// Runner is what runs the commands of this instance, here or there.
func (i *Instance) Runner() Runner { return i.run }

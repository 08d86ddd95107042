package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// LXC on another host: what its tools say is all there is. One lxc-ls -f answers for all; it costs that host some 2.5 ms a
// running container (measured with 5.0.2), which the engine here avoids by reading /proc.

// lxcFarColumns are those of the list. The name comes last, as in lxcColumns.
const lxcFarColumns = "STATE,AUTOSTART,PID,IPV4,IPV6,NAME"

// lxcFar is one lxcpath there.
type lxcFar struct{ base }

func openLXCFar(s Spec, r Runner) (*tool, error) {
	if s.Path != "" && !filepath.IsAbs(s.Path) {
		return nil, fmt.Errorf("path %q: give the absolute path of the lxcpath on %q, such as \"/var/lib/lxc\"", s.Path, s.SSH)
	}
	if s.Custom != nil {
		return nil, errors.New("custom: belongs to the engine \"custom\": remove it")
	}
	l := &lxcFar{base{spec: s, run: r}}
	// The command lines are those of LXC here. What it would log to a file goes to its standard error, which is one, too.
	near := &lxc{spec: s, path: s.Path, run: r}
	logged := func(line func(call) ([]string, error)) func(call) ([]string, error) {
		return func(c call) ([]string, error) {
			c.log = "/dev/stderr"
			argv, err := line(c)
			return l.elsewhere(argv), err
		}
	}
	answer := func(t hostexec.Transcript, _ []byte) Answer { return readLXCAnswer(t, t.Stderr) }
	return &tool{
		facts: facts{intent: "lxc.start.auto", stopped: "", lock: "", cause: "a log of each start (--logfile), its first error", supervisor: ""},
		verbs: map[health.Verb]verb{
			health.VerbStart: {argv: logged(near.start), limit: 2 * time.Minute, read: answer},
			health.VerbStop: {argv: logged(near.stop), limit: time.Minute, slack: 10 * time.Second,
				read: func(t hostexec.Transcript, _ []byte) Answer { return readLXCStop(t, t.Stderr) }},
			health.VerbKill: {argv: logged(near.kill), limit: 30 * time.Second, read: answer},
		},
		checkID: checkID, list: l.list, look: l.look, evidence: l.evidence,
		exec: func(id string, argv []string) ([]string, error) {
			line, err := near.exec(id, argv)
			return l.elsewhere(line), err
		},
		version: []string{"lxc-ls", "--version"},
		blind: []string{
			"A container that is made again under its name looks like the one before.",
			"A list that hangs because of one container hangs for all: then nothing is known of any.",
			"That a configuration changed is not noticed.",
		},
	}, nil
}

// elsewhere takes out the lxcpath where none is given: the tools there know their own.
func (l *lxcFar) elsewhere(argv []string) []string {
	if l.spec.Path == "" && len(argv) > 2 {
		return slices.Delete(slices.Clone(argv), 1, 3)
	}
	return argv
}

// list runs the one lxc-ls. One that prints nothing is looked into: a wrong lxcpath prints nothing either, rc 0.
func (l *lxcFar) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	t, err := l.ask(ctx, l.elsewhere([]string{"lxc-ls", "-P", l.spec.Path, "-f", "-F", lxcFarColumns}))
	if err != nil {
		return Listing{Notes: l.notes.take()}, err
	}
	rows, err := parseLXCFar(t.Stdout)
	if err != nil {
		return Listing{Notes: l.notes.take()}, err
	}
	broken := parseLXCBroken(t.Stderr)
	if len(rows) == 0 && len(broken) == 0 {
		if err := l.present(ctx); err != nil {
			return Listing{Notes: l.notes.take()}, err
		}
	}
	var out Listing
	for _, name := range sortedKeys(rows) {
		if err := checkID(name); err != nil {
			l.notes.add("container not watched: %v", err)
			continue
		}
		out.Containers = append(out.Containers, l.sighting(name, rows[name]))
	}
	for _, name := range broken {
		if _, listed := rows[name]; !listed && checkID(name) == nil {
			out.Containers = append(out.Containers, l.sighting(name, lxcInfo{fault: "LXC cannot load its config"}))
		}
	}
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	out.Notes = l.notes.take()
	return out, nil
}

// present says why an lxcpath in which nothing is listed is not believed to be empty.
func (l *lxcFar) present(ctx context.Context) error {
	path := l.spec.Path
	if path == "" {
		t, err := l.ask(ctx, []string{"lxc-config", "lxc.lxcpath"})
		if err != nil {
			return err
		}
		path = strings.TrimSpace(string(t.Stdout))
	}
	t := l.run.Read(ctx, hostexec.Command{Argv: []string{"test", "-d", path}, Timeout: l.spec.Timeout})
	if t.Exit == 1 && t.Failure == "" {
		return fmt.Errorf("the lxcpath %q does not exist on %q: mount it, or correct its path in the configuration", path, l.spec.SSH)
	}
	return t.Err()
}

// look runs one lxc-info.
func (l *lxcFar) look(ctx context.Context, id string, _ health.Process) (health.Sighting, error) {
	argv := append([]string{"lxc-info", "-P", l.spec.Path, "--name=" + id, "-s", "-p", "-i", "-H"}, logTo("")...)
	t := l.run.Read(ctx, hostexec.Command{Argv: l.elsewhere(argv), Timeout: lxcAskWithin, MaxOut: 64 << 10})
	info := parseLXCInfo(t.Stdout, t.Stderr)
	if t.Failure != "" || !t.OK() && !info.gone && info.fault == "" {
		return health.Sighting{}, t.Err()
	}
	if _, known := lxcState(info.state); !known && !info.gone && info.fault == "" {
		return health.Sighting{}, fmt.Errorf("lxc-info says %q, which is no state of LXC", tidy(info.state))
	}
	return l.sighting(id, info), nil
}

func (l *lxcFar) sighting(id string, i lxcInfo) health.Sighting {
	s := health.Sighting{Ref: l.ref(id), Name: id, Autostart: i.autostart, Addrs: i.addrs, At: time.Now()}
	switch {
	case i.gone:
		s.State, s.Detail = health.Missing, "lxc-info says that it does not exist"
	case i.fault != "":
		s.State, s.Detail = health.Broken, tidy(i.fault)
	default:
		var known bool
		if s.State, known = lxcState(i.state); !known {
			l.notes.add("lxc-ls printed the state %q, which is none of LXC: taken as unknown", tidy(i.state))
		}
		if s.State != health.Running && s.State != health.Stopped {
			s.Detail = tidy(i.state)
		}
	}
	return s
}

// evidence names what LXC leaves there.
func (l *lxcFar) evidence(id string, _ health.Sighting) []Source {
	out := []Source{{Name: "lxc-info.txt", Argv: l.elsewhere([]string{"lxc-info", "-P", l.spec.Path, "--name=" + id}), Volatile: true}}
	if l.spec.Path != "" {
		out = append(out, Source{Name: "config", Path: filepath.Join(l.spec.Path, id, "config")})
	}
	return append(out, Source{Name: "lxc.log", Path: filepath.Join("/var/log/lxc", id+".log"), Tail: lxcLogTail})
}

// parseLXCFar reads lxc-ls -f -F lxcFarColumns. Nothing printed is no container.
func parseLXCFar(stdout []byte) (map[string]lxcInfo, error) {
	out := make(map[string]lxcInfo)
	err := eachLXCRow(stdout, lxcFarColumns, func(cells []string) {
		i := lxcInfo{state: cells[0], addrs: lxcAddrs(cells[3], cells[4])}
		switch cells[1] {
		case "1":
			i.autostart = health.Yes
		case "0":
			i.autostart = health.No
		}
		if cells[5] != "" {
			out[cells[5]] = i
		}
	})
	return out, err
}

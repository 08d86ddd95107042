package engine

import (
	"path/filepath"

	"atalaya/agent/health"
)

// evidence names what the daemon has to tell about a container. Redacting its configuration is the reader's work.
func (l *lxd) evidence(id string, _ health.Sighting) []Source {
	project, container := splitLXDID(id)
	p := "--project=" + project
	daemon := filepath.Join(l.logs, l.name+".log")
	if l.spec.Path != "" {
		daemon = filepath.Join(l.home, "logs", l.name+".log")
	}
	// with liblxc's or qemu's log of this life; a start begins a new one
	info := Source{Name: l.tool + "-info.txt", Argv: l.about(id, "info", "--show-log"), Volatile: true, Tail: lxcLogTail}
	return append(append([]Source{info}, l.console(id)...), []Source{
		{Name: "operations.json", Argv: l.rawQuery("/1.0/operations", "recursion", "1", "project", project), Volatile: true},
		{Name: "instance.json", Argv: l.query("/1.0/instances/"+container, "recursion", "1", "project", project), Volatile: true},
		{Name: "config.yaml", Argv: l.argv(l.tool, "config", "show", "--expanded", p, "local:"+container)},
		{Name: "warnings.txt", Argv: l.argv(l.tool, "warning", "list", "local:")},
		{Name: l.name + ".log", Path: l.file(daemon), Tail: lxcLogTail},
	}...)
}

// console is what a container wrote to its console. The daemon keeps it over lives, and has none of a VM.
func (l *lxd) console(id string) []Source {
	const shows = "what the container wrote to its console: its own last words"
	return []Source{{Name: "console.txt", Shows: shows, Argv: l.about(id, "console", "--show-log"), Volatile: true, Tail: lxcLogTail}}
}

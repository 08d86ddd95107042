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
	return []Source{
		// with liblxc's or qemu's log of this life; a start begins a new one
		{Name: l.tool + "-info.txt", Argv: l.about(id, "info", "--show-log"), Volatile: true, Tail: lxcLogTail},
		{Name: "console.txt", Argv: l.about(id, "console", "--show-log"), Volatile: true, Tail: lxcLogTail},
		{Name: "operations.json", Argv: l.rawQuery("/1.0/operations", "recursion", "1", "project", project), Volatile: true},
		{Name: "instance.json", Argv: l.query("/1.0/instances/"+container, "recursion", "1", "project", project), Volatile: true},
		{Name: "config.yaml", Argv: l.argv(l.tool, "config", "show", "--expanded", p, "local:"+container)},
		{Name: "warnings.txt", Argv: l.argv(l.tool, "warning", "list", "local:")},
		{Name: l.name + ".log", Path: l.file(daemon), Tail: lxcLogTail},
	}
}

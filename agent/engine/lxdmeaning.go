package engine

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// Which command lines of lxc and incus end, move, snapshot or remove a container. An exec, console, info or monitor
// proves nothing, and pause ends nothing. "stop --all", aliases and other clients of the API name no container: events
// and operations tell of those.

// An lxdCommand is one of them: the options that take a value, and whether it stands below another word
// ("incus snapshot create NAME").
type lxdCommand struct {
	verb health.Verb
	long []string
	sub  []string
}

func lxdCommands() map[string]lxdCommand {
	snapshot := []string{"create", "restore", "delete", "rename"}
	target := []string{"target", "target-project", "storage", "mode", "instance-only", "stateless", "config", "device", "profile"}
	return map[string]lxdCommand{
		"stop": {health.VerbStop, []string{"timeout"}, nil}, "restart": {health.VerbRestart, []string{"timeout"}, nil},
		"delete": {health.VerbRemove, nil, nil}, "rm": {health.VerbRemove, nil, nil},
		"move": {health.VerbMove, target, nil}, "mv": {health.VerbMove, target, nil},
		"rename": {health.VerbMove, nil, nil},
		"copy":   {health.VerbSnapshot, target, nil}, "cp": {health.VerbSnapshot, target, nil},
		"export":  {health.VerbSnapshot, []string{"compression"}, nil},
		"publish": {health.VerbSnapshot, []string{"alias", "compression", "expire"}, nil},
		// lxc snapshot NAME, incus snapshot create NAME, lxc restore NAME SNAPSHOT
		"snapshot": {health.VerbSnapshot, nil, snapshot}, "restore": {health.VerbSnapshot, nil, nil},
		"rebuild": {health.VerbRemove, nil, nil},
	}
}

// meaning gives the first container that a command line ends. Without --project, and without a remote, a person's current
// project and default remote are meant, which are in that person's files: then the one container of that name is, or the
// one in the default project.
func (l *lxd) meaning(argv []string) (string, health.Verb, bool) {
	if filepath.Base(argv[0]) != l.tool {
		return "", "", false
	}
	o := getopt(argv[1:], "", []string{"project"}, nil)
	rest := ociSkip(argv[1:], "", []string{"project"})
	if len(rest) == 0 || slices.Contains(o.flags, "help") || slices.Contains(o.flags, "h") {
		return "", "", false
	}
	if rest[0] == "query" {
		return l.meaningOfQuery(rest[1:])
	}
	c, ok := lxdCommands()[rest[0]]
	if !ok {
		return "", "", false
	}
	p := getopt(rest[1:], lxdShort(rest[0]), append([]string{"project"}, c.long...), []string{"force", "all", "stateful", "console", "quiet", "debug", "verbose", "reuse", "interactive"})
	words, verb := p.rest, c.verb
	if len(words) > 1 && slices.Contains(c.sub, words[0]) {
		words = words[1:]
	}
	if rest[0] == "stop" && (slices.Contains(p.flags, "f") || slices.Contains(p.flags, "force")) {
		verb = health.VerbKill
	}
	project := o.values["project"]
	if v, ok := p.values["project"]; ok {
		project = v
	}
	for _, w := range words {
		if id := l.find(w, project); id != "" {
			return id, verb, true
		}
		if verb == health.VerbMove || verb == health.VerbSnapshot {
			break // what follows is where it goes, or the name of a snapshot
		}
	}
	return "", "", false
}

// lxdShort are the short options that take a value: of copy and move those of config, device, profile and storage.
func lxdShort(command string) string {
	if command == "copy" || command == "cp" || command == "move" || command == "mv" {
		return "cdps"
	}
	return ""
}

// find gives the container that a person may have meant by [REMOTE:]NAME, or NAME/SNAPSHOT.
func (l *lxd) find(word, project string) string {
	remote, name, ok := strings.Cut(word, ":")
	if !ok {
		remote, name = "local", word
	}
	name, snapshot, _ := strings.Cut(name, "/")
	if remote != "local" || snapshot != "" || !lxdNameRE.MatchString(name) {
		return ""
	}
	if project != "" {
		if id := joinLXDID(project, name); checkLXDID(id) == nil {
			return id
		}
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[name] != nil {
		return name
	}
	found := ""
	for id := range l.known {
		if _, n := splitLXDID(id); n == name {
			if found != "" {
				return "" // it could be either
			}
			found = id
		}
	}
	return found
}

// meaningOfQuery reads a raw request: PUT of a state, DELETE of an instance.
func (l *lxd) meaningOfQuery(args []string) (string, health.Verb, bool) {
	o := getopt(args, "Xd", []string{"request", "data", "project"}, []string{"wait", "raw"})
	method := o.values["X"] + o.values["request"]
	if len(o.rest) == 0 {
		return "", "", false
	}
	path := strings.TrimPrefix(o.rest[0], "local:")
	project, name, more := lxdSource(path)
	id := joinLXDID(project, name)
	if checkLXDID(id) != nil {
		return "", "", false
	}
	path, _, _ = strings.Cut(path, "?")
	switch {
	case method == "DELETE" && !more:
		return id, health.VerbRemove, true
	case method == "PUT" && strings.HasSuffix(path, "/state"):
		var v struct {
			Action string
			Force  bool
		}
		if json.Unmarshal([]byte(o.values["d"]+o.values["data"]), &v) != nil {
			return "", "", false
		}
		switch {
		case v.Action == "stop" && v.Force:
			return id, health.VerbKill, true
		case v.Action == "stop":
			return id, health.VerbStop, true
		case v.Action == "restart":
			return id, health.VerbRestart, true
		}
	}
	return "", "", false
}

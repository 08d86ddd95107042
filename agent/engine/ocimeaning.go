package engine

import (
	"path/filepath"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// Which command lines of docker and podman end, move, snapshot or remove a container. An attach, logs, exec or events
// proves nothing, and pause ends nothing. "compose down" and "stop --all" name no container: the engine's record of each
// container tells of those.

// ociCommands are the commands, which may stand behind "container", with the options that take a value.
func ociCommands() map[string]ociCommand {
	return map[string]ociCommand{
		"stop":       {health.VerbStop, "t", []string{"time", "timeout", "signal", "cidfile", "filter", "ignore"}},
		"kill":       {health.VerbKill, "s", []string{"signal", "cidfile"}},
		"restart":    {health.VerbRestart, "t", []string{"time", "timeout", "signal", "cidfile", "filter"}},
		"rm":         {health.VerbRemove, "t", []string{"time", "cidfile", "filter"}},
		"commit":     {health.VerbSnapshot, "amcf", []string{"author", "message", "change", "format", "iidfile", "pause"}},
		"export":     {health.VerbSnapshot, "o", []string{"output"}},
		"checkpoint": {health.VerbMove, "ec", []string{"export", "compress", "checkpoint-dir", "create-image", "print-stats"}},
		"cleanup":    {health.VerbRemove, "", []string{"exec"}},
	}
}

type ociCommand struct {
	verb  health.Verb
	short string
	long  []string
}

// ociGlobals are the options before the command that take a value, of docker and of podman.
func ociGlobals() (short string, long []string) {
	return "Hclu", []string{
		"host", "config", "context", "log-level", "tlscacert", "tlscert", "tlskey",
		"root", "runroot", "runtime", "runtime-flag", "tmpdir", "url", "connection", "identity", "cgroup-manager", "conmon", "events-backend",
		"hooks-dir", "imagestore", "module", "namespace", "network-cmd-path", "network-config-dir", "out", "ssh", "storage-driver",
		"storage-opt", "volumepath", "network-backend", "db-backend", "pull-option",
	}
}

// ociFiles are where the command lies, and where a packager or an administrator may have put it.
func ociFiles(name string) []string {
	var files []string
	for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/snap/bin"} {
		files = append(files, filepath.Join(dir, name))
	}
	return files
}

// meaning gives the first container that a command line ends. One of another daemon or storage means nothing here, unless
// it is told to be so by the environment, which is not seen: then the container's name or id decides.
func (o *oci) meaning(argv []string) (string, health.Verb, bool) {
	if filepath.Base(argv[0]) != o.name {
		return "", "", false
	}
	short, long := ociGlobals()
	rest := ociSkip(argv[1:], short, long)
	if len(rest) > 0 && rest[0] == "container" {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return "", "", false
	}
	name, args := rest[0], rest[1:]
	if name == "checkpoint" && len(args) > 0 && args[0] == "create" { // docker checkpoint create CONTAINER NAME
		args = args[1:]
	}
	c, ok := ociCommands()[name]
	if !ok || o.elsewhere(argv[1:len(argv)-len(rest)]) || ociHelps(args) {
		return "", "", false
	}
	for _, word := range getopt(args, c.short, c.long, []string{"force", "volumes", "all", "latest", "keep", "leave-running"}).rest {
		if id := o.find(word); id != "" {
			return id, c.verb, true
		}
	}
	return "", "", false
}

func ociHelps(args []string) bool {
	return slices.Contains(args, "--help") || slices.Contains(args, "-h")
}

// ociSkip gives what follows the options: the command's name and its arguments. Unlike getopt it stops at the first word.
func ociSkip(argv []string, short string, long []string) []string {
	for i := 0; i < len(argv); i++ {
		a := argv[i]
		name := strings.TrimLeft(a, "-")
		switch {
		case !strings.HasPrefix(a, "-"):
			return argv[i:]
		case strings.Contains(a, "="):
		case strings.HasPrefix(a, "--") && slices.Contains(long, name):
			i++
		case !strings.HasPrefix(a, "--") && len(name) == 1 && strings.Contains(short, name):
			i++
		}
	}
	return nil
}

// elsewhere tells whether the options before the command name another daemon or storage than ours do.
func (o *oci) elsewhere(global []string) bool {
	short, long := ociGlobals()
	flags := []string{"debug", "tls", "tlsverify", "remote", "syslog", "trace", "transient-store", "noout"}
	theirs, ours := getopt(global, short, long, flags), getopt(o.spec.Args, short, long, flags)
	socket := func(s string) string { return strings.Replace(s, "unix:///var/run/", "unix:///run/", 1) } // a link to it
	for _, names := range [][]string{{"host", "H"}, {"context", "c"}, {"root"}, {"url"}, {"connection"}} {
		for _, n := range names {
			v, ok := theirs.values[n]
			v = socket(v)
			same := v == socket(ours.values[names[0]]) || v == ours.values[names[len(names)-1]] || names[0] == "context" && v == "default"
			if ok && !same {
				return true
			}
		}
	}
	return false
}

// find gives the container that a person may have meant: by name, by id, or by what its id begins with.
func (o *oci) find(word string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.known[word]; ok {
		return word
	}
	found := ""
	for id, e := range o.known {
		switch {
		case strings.TrimPrefix(string(e.in.Name), "/") == strings.TrimPrefix(word, "/"):
			return id
		case len(word) >= 2 && strings.HasPrefix(id, word):
			if found != "" {
				found = "-" // it could be either
			} else {
				found = id
			}
		}
	}
	if found == "-" {
		return ""
	}
	return found
}

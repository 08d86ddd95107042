package engine

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// lxcTool is how one of LXC's tools is called when it ends, moves, snapshots or removes a container.
type lxcTool struct {
	verb health.Verb
	args string            // short options that take an argument, besides those of all tools
	long []string          // long options that take one
	as   map[string]verbAs // options that change what it does
}

type verbAs struct {
	verb health.Verb
	none bool // it only shows something
}

// lxcTools says which command lines explain a container's death. lxc-attach, lxc-console, lxc-info and lxc-monitor are
// left out: an open one proves nothing. So is lxc-freeze: it ends nothing, and a frozen container is seen as paused.
func lxcTools() map[string]lxcTool {
	return map[string]lxcTool{
		"lxc-stop": {
			verb: health.VerbStop, args: "t", long: []string{"timeout"},
			as: map[string]verbAs{"k": {verb: health.VerbKill}, "kill": {verb: health.VerbKill}, "r": {verb: health.VerbRestart}, "reboot": {verb: health.VerbRestart}},
		},
		"lxc-destroy": {verb: health.VerbRemove},
		"lxc-copy": {
			verb: health.VerbSnapshot, args: "NpBLm", long: []string{"newname", "newpath", "backingstorage", "fssize", "mount"},
			as: map[string]verbAs{"R": {verb: health.VerbMove}, "rename": {verb: health.VerbMove}},
		},
		"lxc-clone": {verb: health.VerbSnapshot, args: "opNBL", long: []string{"orig", "new", "newpath", "backingstore", "fssize"}},
		"lxc-snapshot": {
			verb: health.VerbSnapshot, args: "crdN", long: []string{"comment", "restore", "destroy", "newname"},
			as: map[string]verbAs{"L": {none: true}, "list": {none: true}},
		},
		"lxc-checkpoint": {verb: health.VerbMove, args: "DA", long: []string{"checkpoint-dir", "action-script", "predump-dir"}},
	}
}

// lxcFiles are where these tools lie, and where a packager or an administrator may have put them.
func lxcFiles() []string {
	var files []string
	for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin"} {
		for _, tool := range sortedKeys(lxcTools()) {
			files = append(files, filepath.Join(dir, tool))
		}
	}
	return files
}

// meaning reads a command line as getopt_long would: options before and after the name, in one word or two, clustered,
// and long ones shortened. Another lxcpath, and a name that no container could have, mean nothing.
func (l *lxc) meaning(argv []string) (string, health.Verb, bool) {
	base := filepath.Base(argv[0])
	tool, ok := lxcTools()[base]
	if !ok {
		return "", "", false
	}
	args := "nPol" + tool.args
	long := append([]string{"name", "lxcpath", "logfile", "logpriority", "rcfile"}, tool.long...)
	flags := []string{"quiet", "help", "usage", "version", "kill", "reboot", "nowait", "nolock", "nokill", "force", "snapshots", "rename", "snapshot", "list", "showcomments", "stop"}
	o := getopt(argv[1:], args, long, flags)
	if name, alias := o.values["o"]; base == "lxc-clone" && alias {
		o.values["n"] = name // there, -o is the original
	}
	id := cmp.Or(o.values["n"], o.values["name"], o.values["orig"])
	if id == "" && len(o.rest) > 0 {
		id = o.rest[0]
	}
	path := cmp.Or(o.values["P"], o.values["lxcpath"])
	if path == "" && !l.main || path != "" && realPath(path) != l.real || checkID(id) != nil {
		return "", "", false
	}
	verb := tool.verb
	for _, f := range o.flags {
		if as, ok := tool.as[f]; ok && as.none {
			return "", "", false
		} else if ok {
			verb = as.verb
		}
	}
	return id, verb, true
}

// options is a command line taken apart.
type options struct {
	values map[string]string // by name, without dashes; the first one given
	flags  []string
	rest   []string
}

// getopt takes a command line apart as getopt_long(3) does, which lets long names be shortened.
func getopt(argv []string, shortArgs string, longArgs, longFlags []string) options {
	o := options{values: map[string]string{}}
	set := func(k, v string) {
		if _, dup := o.values[k]; !dup {
			o.values[k] = v
		}
	}
	next := func(i *int) string {
		if *i++; *i < len(argv) {
			return argv[*i]
		}
		return ""
	}
	for i := 0; i < len(argv); i++ {
		a := argv[i]
		switch {
		case a == "--":
			o.rest = append(o.rest, argv[i+1:]...)
			return o
		case strings.HasPrefix(a, "--"):
			name, value, given := strings.Cut(a[2:], "=")
			full := complete(name, longArgs, longFlags)
			switch {
			case given:
				set(full, value)
			case slices.Contains(longArgs, full):
				set(full, next(&i))
			default:
				o.flags = append(o.flags, full)
			}
		case len(a) > 1 && a[0] == '-':
			for j := 1; j < len(a); j++ {
				c := a[j : j+1]
				if !strings.Contains(shortArgs, c) {
					o.flags = append(o.flags, c)
					continue
				}
				if value := a[j+1:]; value != "" {
					set(c, value)
				} else {
					set(c, next(&i))
				}
				break
			}
		default:
			o.rest = append(o.rest, a)
		}
	}
	return o
}

// complete gives the one long option that a shortened name can mean.
func complete(name string, lists ...[]string) string {
	found := ""
	for _, list := range lists {
		for _, full := range list {
			if full == name {
				return full
			}
			if strings.HasPrefix(full, name) && found == "" {
				found = full
			}
		}
	}
	if found == "" {
		return name
	}
	return found
}

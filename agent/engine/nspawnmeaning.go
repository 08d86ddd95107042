package engine

import (
	"os"
	"path/filepath"
	"slices"

	"atalaya/agent/health"
)

// Which command lines of machinectl and systemctl end, move or remove a machine. A shell, login or status proves nothing.

func nspawnCommands(tool string) map[string]health.Verb {
	if tool == "systemctl" {
		return map[string]health.Verb{
			"stop": health.VerbStop, "kill": health.VerbKill, "restart": health.VerbRestart, "try-restart": health.VerbRestart,
			"reload-or-restart": health.VerbRestart, "try-reload-or-restart": health.VerbRestart,
		}
	}
	return map[string]health.Verb{
		"poweroff": health.VerbStop, "stop": health.VerbStop, "terminate": health.VerbKill, "kill": health.VerbKill,
		"reboot": health.VerbRestart, "restart": health.VerbRestart, "remove": health.VerbRemove, "rename": health.VerbMove,
		"clone": health.VerbSnapshot, "export-tar": health.VerbSnapshot, "export-raw": health.VerbSnapshot,
	}
}

func nspawnFiles() []string {
	var out []string
	for _, dir := range []string{"/usr/bin", "/bin"} {
		out = append(out, filepath.Join(dir, "machinectl"), filepath.Join(dir, "systemctl"))
	}
	return out
}

// meaning gives the first machine that a command line ends. One for another host, or for the systemd inside a machine,
// means nothing here.
func (n *nspawn) meaning(argv []string) (string, health.Verb, bool) {
	tool := filepath.Base(argv[0])
	if tool != "machinectl" && tool != "systemctl" {
		return "", "", false
	}
	long := []string{
		"host", "machine", "property", "type", "state", "signal", "kill-who", "kill-whom", "kill-value", "job-mode", "output", "lines",
		"root", "image", "when", "what", "message", "preset-mode", "check-inhibitors", "timestamp", "boot-loader-menu", "boot-loader-entry",
		"firmware-setup", "uid", "setenv", "verify", "format", "max-addresses", "runner", "drop-in",
	}
	o := getopt(argv[1:], "HMtpsnoPE", long, []string{"user", "global", "runtime", "force", "no-block", "all", "now", "quiet", "help"})
	for _, k := range []string{"host", "H", "machine", "M", "root"} {
		if o.values[k] != "" {
			return "", "", false
		}
	}
	if len(o.rest) < 2 || slices.Contains(o.flags, "user") || slices.Contains(o.flags, "global") || slices.Contains(o.flags, "help") {
		return "", "", false
	}
	verb, ok := nspawnCommands(tool)[o.rest[0]]
	if !ok {
		return "", "", false
	}
	for _, word := range o.rest[1:] {
		name, is := word, checkNspawnID(word) == nil
		if tool == "systemctl" {
			if filepath.Ext(word) != ".service" {
				word += ".service"
			}
			name, is = nspawnNameOf(word)
		}
		if is {
			return name, verb, true
		}
	}
	return "", "", false
}

// evidence names what systemd and its journal have to tell about a machine.
func (n *nspawn) evidence(id string, s health.Sighting) []Source {
	unit := nspawnUnitOf(id)
	out := append(n.logs(id), []Source{
		{Name: "unit.txt", Argv: n.argv("systemctl", "show", "--no-pager", "--", unit), Volatile: true},
		{Name: "unit-file.txt", Argv: n.argv("systemctl", "cat", "--no-pager", "--", unit)},
		{Name: "machines.json", Argv: n.argv("machinectl", "list", "--no-pager", "--output=json", "--max-addresses=all"), Volatile: true},
	}...)
	if s.Init.PID != 0 {
		out = append(out, Source{Name: "status.txt", Argv: n.argv("systemctl", "status", "--no-pager", "--full", "--lines=0", "--", unit), Volatile: true})
	}
	for _, path := range n.configFiles(id, nil) {
		if _, err := os.Stat(path); err == nil || n.far() {
			out = append(out, Source{Name: "settings.nspawn", Path: path})
			break
		}
	}
	return out
}

// logs is the journal of the unit: what the machine's console said, and systemd about it.
func (n *nspawn) logs(id string) []Source {
	return []Source{{Name: "journal.txt", Shows: "the machine's console, and what systemd says about it", Tail: lxcLogTail,
		Argv: n.argv("journalctl", "--quiet", "--no-pager", "--lines=500", "--output=short-iso-precise", "--unit="+nspawnUnitOf(id))}}
}

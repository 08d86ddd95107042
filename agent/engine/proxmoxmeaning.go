package engine

import (
	"path/filepath"
	"slices"
	"strings"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// pveVerbs is what the commands of pct and qm do to the guest that they name (proxmox/pve-container, src/PVE/CLI/pct.pm;
// proxmox/qemu-server, src/PVE/CLI/qm.pm). Consoles, "enter", "exec", "status" and the like are left out: an open one
// proves nothing. So are "suspend" and "resume" of VMs: they end nothing, unless it goes to disk, and then the lock says so.
func pveVerbs() map[string]health.Verb {
	return map[string]health.Verb{
		"stop": health.VerbKill, "shutdown": health.VerbStop, "reboot": health.VerbRestart, "reset": health.VerbRestart,
		"migrate": health.VerbMove, "remote-migrate": health.VerbMove, "remote_migrate": health.VerbMove,
		"destroy": health.VerbRemove, "restore": health.VerbRemove,
		"snapshot": health.VerbSnapshot, "delsnapshot": health.VerbSnapshot, "rollback": health.VerbSnapshot, "clone": health.VerbSnapshot,
		"template": health.VerbSnapshot, "move-volume": health.VerbSnapshot, "move_volume": health.VerbSnapshot, "move-disk": health.VerbSnapshot, "move_disk": health.VerbSnapshot,
	}
}

// pveTaskVerb is the same for the workers of tasks, which call themselves "task UPID:…".
func pveTaskVerb(kind string) (health.Verb, bool) {
	switch kind {
	case "vzstop", "qmstop":
		return health.VerbKill, true
	case "vzshutdown", "qmshutdown", "vzsuspend", "hastop":
		return health.VerbStop, true
	case "vzreboot", "qmreboot", "qmreset":
		return health.VerbRestart, true
	case "vzdestroy", "qmdestroy":
		return health.VerbRemove, true
	}
	switch pveOperation(kind) {
	case "migrate":
		return health.VerbMove, true
	case "":
		return "", false
	}
	return health.VerbSnapshot, true
}

// pveFiles are where the commands lie.
func pveFiles() []string {
	var files []string
	for _, tool := range []string{"ha-manager", "pct", "pvesh", "qm", "vzdump"} {
		for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
			files = append(files, filepath.Join(dir, tool))
		}
	}
	return files
}

// meaning reads a command line, or the title of a task's worker. Our own stops are no person's: the commands are known to
// the agent as its own, and the workers that they start by the time of our order.
func (p *proxmox) meaning(argv []string) (string, health.Verb, bool) {
	if upid, ok := strings.CutPrefix(argv[0], "task "); ok {
		t, ok := parseUPID(strings.TrimSpace(upid))
		verb, does := pveTaskVerb(t.kind)
		if !ok || !does || checkVMID(t.id) != nil {
			return "", "", false
		}
		return t.id, verb, !p.ours(t)
	}
	return p.meant(argv)
}

// meant reads a command line. They are Perl scripts: the interpreter stands first.
func (p *proxmox) meant(argv []string) (id string, verb health.Verb, ok bool) {
	argv = unperl(argv)
	if len(argv) < 2 {
		return "", "", false
	}
	switch words := argv[1:]; filepath.Base(argv[0]) {
	case "pct", "qm":
		verb, ok = pveVerbs()[words[0]]
		id = pveNumber(words[1:])
	case "vzdump":
		id, verb, ok = pveNumber(words), health.VerbSnapshot, true
	case "ha-manager":
		id, verb, ok = haMeaning(words)
	case "pvesh":
		id, verb, ok = pveshMeaning(words)
	}
	return id, verb, ok && checkVMID(id) == nil
}

// unperl leaves out "/usr/bin/perl -T" before a script.
func unperl(argv []string) []string {
	if len(argv) == 0 || !strings.HasPrefix(filepath.Base(argv[0]), "perl") {
		return argv
	}
	i := slices.IndexFunc(argv[1:], func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return nil
	}
	return argv[1+i:]
}

// pveNumber gives the first word that is a number, and not the value of an option: options come as "--timeout 30" or
// "--timeout=30" (PVE::JSONSchema::get_options, by Getopt::Long), before or behind it.
func pveNumber(words []string) string {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if strings.HasPrefix(w, "-") {
			if !strings.Contains(w, "=") && !slices.Contains(pveFlags(), strings.TrimLeft(w, "-")) {
				i++
			}
			continue
		}
		return w
	}
	return ""
}

// pveFlags are options that may stand without a value.
func pveFlags() []string {
	return []string{
		"skiplock", "forceStop", "keepActive", "overrule-shutdown", "purge", "force", "destroy-unreferenced-disks", "online",
		"restart", "full", "start", "unprivileged", "all", "quiet", "remove", "protected", "stop", "stdout", "vmstate", "delete", "todisk",
	}
}

// haMeaning reads "ha-manager migrate ct:100 node", "crm-command stop ct:100 30", "set ct:100 --state stopped".
func haMeaning(words []string) (string, health.Verb, bool) {
	if words[0] == "crm-command" {
		words = words[1:]
	}
	if len(words) < 2 {
		return "", "", false
	}
	_, id, _ := strings.Cut(words[1], ":")
	if id == "" {
		id = words[1]
	}
	switch words[0] {
	case "migrate", "relocate":
		return id, health.VerbMove, true
	case "stop":
		return id, health.VerbStop, true
	case "set":
		rest := strings.Join(words[2:], " ")
		return id, health.VerbStop, strings.Contains(rest, "stopped") || strings.Contains(rest, "disabled")
	}
	return "", "", false
}

// pveshMeaning reads "pvesh create /nodes/NODE/lxc/100/status/stop" and its like.
func pveshMeaning(words []string) (string, health.Verb, bool) {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "create" && words[0] != "delete" {
		return "", "", false
	}
	f := strings.Split(strings.Trim(words[1], "/"), "/")
	if len(f) < 4 || f[0] != "nodes" || f[2] != "lxc" && f[2] != "qemu" {
		return "", "", false
	}
	switch {
	case words[0] == "delete":
		return f[3], health.VerbRemove, len(f) == 4
	case len(f) == 6 && f[4] == "status":
		verb, ok := pveVerbs()[f[5]]
		return f[3], verb, ok
	case len(f) >= 5:
		verb, ok := pveVerbs()[f[4]]
		return f[3], verb, ok
	}
	return "", "", false
}

// readPVEAnswer reads what pct or qm answered: 255 for every failure (pct.pm, $upid_exit), the words of "TASK ERROR" as the
// last line of stderr, and before it, on stdout, what the task printed, where the cause is further in.
func readPVEAnswer(t hostexec.Transcript, _ []byte) Answer {
	var a Answer
	said := append(append(slices.Clone(t.Stdout), '\n'), t.Stderr...)
	// "CT 100 already running" (src/PVE/API2/LXC/Status.pm), "VM 100 already running" (src/PVE/QemuServer.pm)
	a.Already = strings.Contains(string(said), " already running")
	if err := t.Err(); err != nil && !a.Already {
		a.Err, a.Cause = err.Error(), pveCause(said)
	}
	return a
}

// pveCause gives the first line that names a cause; where all only say that something failed, the last but one of LXC's,
// and else the last.
func pveCause(said []byte) string {
	script, last := "", ""
	if hook := pveHookCause(said); hook != "" {
		return hook
	}
	for line := range strings.Lines(string(said)) {
		words := tidy(line)
		if words == "" {
			continue
		}
		last = words
		_, inner := cutPVELine(words)
		switch {
		case strings.HasPrefix(inner, "Script exited with status"):
			script = inner
		case !pveOuter(inner):
			return inner
		}
	}
	if script != "" {
		return script + ", of a hook: 'pct start ID --debug' shows what it printed"
	}
	return last
}

// pveHookCause gives what a hookscript of the guest said last, which Proxmox passes on, and that it failed
// (proxmox/pve-guest-common, src/PVE/GuestHelpers.pm, exec_hookscript).
func pveHookCause(said []byte) string {
	last := ""
	for line := range strings.Lines(string(said)) {
		words := tidy(line)
		switch {
		case strings.HasPrefix(words, "hookscript error for ") && last != "":
			return last + " (" + words + ")"
		case strings.HasPrefix(words, "hookscript error for "):
			return words
		case words != "":
			last = words
		}
	}
	return ""
}

// cutPVELine takes LXC's "lxc_init: 1037 " off a line, as Proxmox prints it (src/PVE/LXC.pm, print_ct_stderr_log).
func cutPVELine(line string) (function, words string) {
	function, rest, ok := strings.Cut(line, ": ")
	number, words, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || strings.ContainsAny(function, " /") || number == "" || strings.Trim(number, "0123456789") != "" {
		return "", line
	}
	return function, words
}

// pveOuter tells the words that follow from a failure, and those that are said in any case.
func pveOuter(words string) bool {
	if strings.HasPrefix(words, "startup for container '") || strings.HasSuffix(words, "Performance may be slow") {
		return true
	}
	for _, s := range []string{
		"Failed to run lxc.hook.", "Failed to initialize container", "Failed to spawn container", "The container failed to start",
		"Received container state", "Additional information can be obtained", "To get more details",
		"start failed: QEMU exited with code", "generating cloud-init ISO", "trying to acquire lock", "Task finished with ", "WARN: ", "swtpm_setup", "Requesting HA ",
		"kvm: warning: ", "explicitly configured lxc.apparmor.profile overrides",
	} {
		if strings.HasPrefix(words, s) {
			return true
		}
	}
	return lxcOuter("", words)
}

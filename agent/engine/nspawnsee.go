package engine

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// entry gives what is known of a machine. The caller holds mu.
func (n *nspawn) entry(name string) *nspawnEntry {
	e := n.known[name]
	if e == nil {
		e = &nspawnEntry{}
		n.known[name] = e
	}
	return e
}

// sighting judges what systemd says of a machine's unit, against /proc. The caller holds mu.
func (n *nspawn) sighting(name string, u nspawnUnit) health.Sighting {
	e := n.entry(name)
	e.stops = u.span("TimeoutStopUSec")
	files := n.configFiles(name, u)
	if mark := lxcConfMark(files); mark != e.config {
		e.config, e.links = mark, nspawnLinks(files)
	}
	s := health.Sighting{
		Ref: n.ref(name), Name: name, Mark: n.imageMark(e, name), Autostart: nspawnAutostart(u),
		Config: e.config, Links: slices.Clone(e.links), Supervisor: nspawnSupervisor(u), At: time.Now(),
	}
	var init health.Process
	switch {
	case e.stray != nil && e.stray.name != "":
		s.State, init = health.Running, n.strayInit(e.stray)
		s.Supervisor = "whoever started it: " + tidy(e.stray.unit)
		if init.PID == 0 {
			s.State, s.Detail = health.Unknown, "machined lists it, but its leader is gone: it is just ending"
		}
	default:
		init = n.leader(u)
		s.State, s.Detail = nspawnState(u, init.PID != 0, &n.notes)
		if s.State == health.Stopped || s.State == health.Broken {
			init = health.Process{}
		}
		if s.State == health.Unknown && n.isStopped(u) {
			s.Detail = "its systemd-nspawn is stopped, and nobody tells systemd of its end: continue it with kill -CONT " + u["MainPID"]
		}
		if s.State == health.Stopped && s.Mark == "" && !n.far() && u["DropInPaths"] == "" && !strings.HasPrefix(u["FragmentPath"], "/etc/") {
			s.State, s.Detail = health.Missing, "there is no folder or image of it in "+nspawnImages
		}
		if s.State == health.Stopped && u.job() != "" {
			s.State, s.Detail = health.Busy, "it is about to be started"
		}
	}
	if init != e.init {
		e.init, e.addrs, e.asked, e.leader, e.sought = init, nil, 0, 0, 0
	}
	if init.PID != 0 && s.State == health.Running && (u["FreezerState"] == "frozen" || !n.far() && isFrozen(init.PID)) {
		s.State, s.Detail = health.Paused, "frozen"
	}
	if s.State != health.Stopped {
		e.told, e.purpose = false, ""
	}
	s.Lock = n.lock(u)
	s.Init, s.Addrs, s.OnPurpose = e.init, slices.Clone(e.addrs), e.purpose
	return s
}

func (n *nspawn) strayInit(m *nspawnStray) health.Process {
	p, _ := identify(m.leader)
	return p
}

// isFrozen reads the cgroup, which knows also of a freeze that was not made by systemd.
func isFrozen(pid int) bool {
	path, words := freezerFile(pid)
	b, err := readBounded(path, 4<<10)
	return err == nil && path != "" && strings.Contains(string(b), words)
}

// isStopped tells a systemd-nspawn that got a SIGSTOP.
func (n *nspawn) isStopped(u nspawnUnit) bool {
	pid, _ := strconv.Atoi(u["MainPID"])
	st, ok := readStat(pid)
	return ok && !n.far() && (st.state == 'T' || st.state == 't')
}

// lock is the job of systemd that is at work on a unit, or waits. What kind of job it is, its state tells; there is no
// holder: who ordered it is long gone.
func (n *nspawn) lock(u nspawnUnit) *health.Lock {
	job := u.job()
	if job == "" {
		return nil
	}
	kind, ok := map[string]string{"activating": "start", "inactive": "start", "failed": "start", "deactivating": "stop", "active": "stop", "reloading": "reload"}[u["ActiveState"]]
	if !ok {
		kind = "unknown"
	}
	l := &health.Lock{Operation: tidy(kind + " job " + job + " of systemd (" + u["SubState"] + ")")}
	// Microseconds of CLOCK_MONOTONIC, which is another one on another host.
	var now unix.Timespec
	since, err := strconv.ParseInt(u["StateChangeTimestampMonotonic"], 10, 64)
	if err == nil && since > 0 && !n.far() && unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		l.Since = time.Now().Add(time.Duration(since)*time.Microsecond - time.Duration(now.Nano()))
	}
	return l
}

// nspawnState reads the states of a unit (systemd(1), "UNITS"); of a failed one the result is the cause. lives tells
// whether an init of it was found.
func nspawnState(u nspawnUnit, lives bool, notes *notes) (health.RunState, string) {
	sub := tidy(u["ActiveState"] + " (" + u["SubState"] + ")")
	switch u["LoadState"] {
	case "loaded", "masked", "not-found", "stub", "merged":
	case "bad-setting", "error":
		if !nspawnRuns(u) {
			return health.Broken, tidy(u["LoadState"] + " " + u["LoadError"])
		}
	default:
		notes.add("load state %q is none that is known", tidy(u["LoadState"]))
	}
	switch u["ActiveState"] {
	case "active", "reloading", "refreshing":
		if !lives {
			return health.Unknown, "its unit is " + sub + ", but no init of it lives: it is just starting or ending"
		}
		return health.Running, ""
	case "inactive":
		if u["LoadState"] == "masked" {
			return health.Stopped, "masked"
		}
		return health.Stopped, ""
	case "failed":
		return health.Stopped, nspawnResult(u)
	case "activating", "deactivating", "maintenance":
		return health.Busy, sub
	}
	notes.add("state %q of a unit is none that is known: taken as unknown", tidy(u["ActiveState"]))
	return health.Unknown, sub
}

// nspawnResult says how it ended, in systemd's words.
func nspawnResult(u nspawnUnit) string {
	switch r := u["Result"]; r {
	case "exit-code":
		return "failed: exit-code " + tidy(u["ExecMainStatus"])
	case "signal", "core-dump":
		return "failed: " + r + " " + tidy(u["ExecMainStatus"])
	default:
		return "failed: " + tidy(r)
	}
}

// leader is the init of a unit's machine. On another host the process of its nspawn stands for it.
func (n *nspawn) leader(u nspawnUnit) health.Process {
	if n.far() {
		main, _ := strconv.Atoi(u["MainPID"])
		return health.Process{PID: max(main, 0)}
	}
	return nspawnLeader(u)
}

// nspawnLeader finds the init of a unit's machine: the child of systemd-nspawn that is 1 in a pid namespace of its own.
func nspawnLeader(u nspawnUnit) health.Process {
	main, err := strconv.Atoi(u["MainPID"])
	if err != nil || main <= 0 {
		return health.Process{}
	}
	for _, child := range children(main) {
		if isInit(child) {
			if p, ok := identify(child); ok {
				return p
			}
		}
	}
	return health.Process{}
}

func nspawnAutostart(u nspawnUnit) health.Tri {
	switch u["UnitFileState"] {
	case "enabled", "enabled-runtime", "linked", "linked-runtime":
		return health.Yes
	case "disabled", "masked", "masked-runtime":
		return health.No
	}
	return health.Maybe
}

// nspawnSupervisor is systemd itself where the unit says so, until it has given up or has nothing to start again. That it
// starts again what rebooted (RestartForceExitStatus=133) is no such policy.
func nspawnSupervisor(u nspawnUnit) string {
	r := u["Restart"]
	if r == "" || r == "no" {
		return ""
	}
	// Failed, 252 keeps the Result of the first failure also where it was the limit of starts that ended it.
	if down := u["ActiveState"] == "failed" || u["ActiveState"] == "inactive"; down && u.job() == "" && !strings.HasSuffix(u["SubState"], "auto-restart") {
		return ""
	}
	return "systemd (Restart=" + tidy(r) + ")"
}

// imageMark tells a machine from another one of the same name, by its folder or image.
func (n *nspawn) imageMark(e *nspawnEntry, name string) string {
	if n.far() {
		return e.mark
	}
	for _, dir := range nspawnFolders() {
		path := n.file(filepath.Join(dir, name))
		if mark := cmp.Or(folderMark(path), folderMark(path+".raw")); mark != "" {
			return mark
		}
	}
	return ""
}

// configFiles are those that say how a machine runs: its settings (systemd.nspawn(5)), its unit and what was added to it.
func (n *nspawn) configFiles(name string, u nspawnUnit) []string {
	files := []string{
		n.file("/etc/systemd/nspawn/" + name + ".nspawn"), n.file("/run/systemd/nspawn/" + name + ".nspawn"),
		n.file(filepath.Join(nspawnImages, name+".nspawn")),
	}
	if u["FragmentPath"] != "" {
		files = append(files, n.file(u["FragmentPath"]))
	}
	for f := range strings.FieldsSeq(u["DropInPaths"]) {
		files = append(files, n.file(f))
	}
	return files
}

// nspawnLinks are the bridges and interfaces of this host that the settings name: [Network] Bridge=, MACVLAN=, IPVLAN=.
func nspawnLinks(files []string) []string {
	var out []string
	for _, f := range files {
		if filepath.Ext(f) != ".nspawn" {
			continue
		}
		b, err := readBounded(f, 64<<10)
		if err != nil {
			continue
		}
		out = append(out, parseNspawnLinks(b)...)
		break // the first of them hides the others
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func parseNspawnLinks(b []byte) []string {
	var out []string
	section := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || section != "[Network]" || key != "Bridge" && key != "MACVLAN" && key != "IPVLAN" {
			continue
		}
		for f := range strings.FieldsSeq(value) {
			name, _, _ := strings.Cut(f, ":")
			if checkID(name) == nil && len(name) < 16 {
				out = append(out, name)
			}
		}
	}
	return out
}

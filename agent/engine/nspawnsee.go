package engine

import (
	"fmt"
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
		Ref: n.ref(name), Name: name, Mark: n.imageMark(name), Autostart: nspawnAutostart(u),
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
		s.State, s.Detail, init = nspawnState(u, &n.notes)
		if s.State == health.Stopped && u.job() != "" {
			s.State, s.Detail = health.Busy, "it is about to be started"
		}
	}
	if init != e.init {
		e.init, e.addrs, e.asked = init, nil, 0
	}
	if init.PID != 0 && s.State == health.Running && (u["FreezerState"] == "frozen" || isFrozen(init.PID)) {
		s.State, s.Detail = health.Paused, "frozen"
	}
	if s.State != health.Stopped {
		e.told, e.purpose = false, ""
	}
	if job := u.job(); job != "" {
		s.Lock = &health.Lock{Operation: "job " + tidy(job) + " of systemd"}
	}
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

// nspawnState reads the states of a unit (systemd(1), "UNITS"); of a failed one the result is the cause.
func nspawnState(u nspawnUnit, notes *notes) (health.RunState, string, health.Process) {
	sub := tidy(u["ActiveState"] + " (" + u["SubState"] + ")")
	switch u["LoadState"] {
	case "loaded", "masked", "not-found", "stub", "merged":
	case "bad-setting", "error":
		if !nspawnRuns(u) {
			return health.Broken, tidy(u["LoadState"] + " " + u["LoadError"]), health.Process{}
		}
	default:
		notes.add("load state %q is none that is known", tidy(u["LoadState"]))
	}
	init := nspawnLeader(u)
	switch u["ActiveState"] {
	case "active", "reloading", "refreshing":
		if init.PID == 0 {
			return health.Unknown, "its unit is " + sub + ", but no init of it lives: it is just starting or ending", init
		}
		return health.Running, "", init
	case "inactive":
		if u["LoadState"] == "masked" {
			return health.Stopped, "masked", health.Process{}
		}
		return health.Stopped, "", health.Process{}
	case "failed":
		return health.Stopped, nspawnResult(u), health.Process{}
	case "activating", "deactivating", "maintenance":
		return health.Busy, sub, init
	}
	notes.add("state %q of a unit is none that is known: taken as unknown", tidy(u["ActiveState"]))
	return health.Unknown, sub, init
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

// nspawnSupervisor is systemd itself where the unit says so, until it has given up. That it starts again what rebooted
// (RestartForceExitStatus=133) is no such policy.
func nspawnSupervisor(u nspawnUnit) string {
	if r := u["Restart"]; r != "" && r != "no" && u["Result"] != "start-limit-hit" {
		return "systemd (Restart=" + tidy(r) + ")"
	}
	return ""
}

// imageMark tells a machine from another one of the same name, by its folder or image.
func (n *nspawn) imageMark(name string) string {
	for _, path := range []string{filepath.Join(nspawnImages, name), filepath.Join(nspawnImages, name+".raw")} {
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, n.file(path), 0, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
			continue
		}
		mark := strconv.FormatUint(st.Ino, 10)
		if st.Mask&unix.STATX_BTIME != 0 {
			mark += fmt.Sprintf("-%d.%09d", st.Btime.Sec, st.Btime.Nsec)
		}
		return mark
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

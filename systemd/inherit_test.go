package systemd_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A process is all that could have leaked into one from the unit of whoever started it.
type process map[string]string

// A person is a container's two processes on the host: its init, and LXC's monitor above it.
type person struct{ init, monitor process }

// leaks are the lines of /proc/PID/status that tell what is inherited.
var leaks = []string{"NoNewPrivs", "Seccomp", "Seccomp_filters", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Umask",
	"SigBlk", "SigIgn", "Groups", "Uid", "Gid", "Cpus_allowed_list", "Mems_allowed_list", "THP_enabled", "CoreDumping"}

func (h tower) look(name string) person {
	h.t.Helper()
	init, _ := h.GuestInit(name)
	monitor := parent(h.t, init)
	p := person{inherited(h.t, init), inherited(h.t, monitor)}
	// A container has a mount namespace of its own in any case; what is mounted there is what counts. Its monitor is in
	// the host's.
	p.init["mounts"] = mounts(h.t, init)
	p.monitor["mount namespace"] = link(h.t, monitor, "mnt")
	if hosts := link(h.t, h.InitPID(), "mnt"); p.monitor["mount namespace"] != hosts {
		h.t.Errorf("the monitor of %s is in mount namespace %s, the host in %s", name, p.monitor["mount namespace"], hosts)
	}
	return p
}

func inherited(t *testing.T, pid int) process {
	t.Helper()
	p := process{}
	for line := range strings.Lines(proc(t, pid, "status")) {
		key, value, _ := strings.Cut(line, ":")
		if slices.Contains(leaks, key) {
			p[key] = strings.TrimSpace(value)
		}
	}
	for line := range strings.Lines(proc(t, pid, "limits")) {
		if strings.HasPrefix(line, "Max ") {
			p[strings.TrimSpace(line[:26])] = strings.Join(strings.Fields(line[26:]), " ")
		}
	}
	stat := proc(t, pid, "stat")
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	p["nice"], p["policy"] = fields[16], fields[38] // fields 19 and 41 of proc(5), of which two and one more are cut off
	p["oom_score_adj"] = strings.TrimSpace(proc(t, pid, "oom_score_adj"))
	p["cgroup"] = strings.TrimSpace(proc(t, pid, "cgroup"))
	for _, kind := range []string{"net", "uts", "ipc", "pid", "user", "cgroup", "time"} {
		_ = link(t, pid, kind)
	}
	return p
}

// mounts are where, what and from which folder of it, without the numbers that each mount namespace has of its own.
func mounts(t *testing.T, pid int) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(proc(t, pid, "mountinfo")) {
		f := strings.Fields(line)
		all = append(all, fmt.Sprintf("%s %s %s", f[4], f[3], f[5]))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func proc(t *testing.T, pid int, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func link(t *testing.T, pid int, ns string) string {
	t.Helper()
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// inheritsNothing compares a container that the agent started from its hostile unit with the same one started by hand.
func inheritsNothing(h tower, before map[string]person) {
	agent := inherited(h.t, h.MachinePID(h.agentPID()))
	byHand := before["web1"]
	for _, key := range []string{"NoNewPrivs", "Seccomp", "CapBnd", "Umask", "Max open files", "nice", "oom_score_adj", "cgroup"} {
		if agent[key] == byHand.monitor[key] {
			h.t.Errorf("the unit's %s is no different from what a container has: %q; the test proves nothing", key, agent[key])
		}
	}
	h.Kill9("web1")
	h.awaitHook("pre-start", "web1", 2)
	h.WaitHTTP("web1", patience)
	h.awaitUp("web1")
	ours := h.look("web1")
	h.t.Logf("init: %d properties, monitor: %d", len(ours.init), len(ours.monitor))
	for what, pair := range map[string][2]process{"init": {ours.init, byHand.init}, "monitor": {ours.monitor, byHand.monitor}} {
		for _, key := range slices.Sorted(maps.Keys(pair[1])) {
			if pair[0][key] != pair[1][key] {
				h.t.Errorf("%s, %s: by the agent %q, by hand %q", what, key, pair[0][key], pair[1][key])
			}
		}
	}
}

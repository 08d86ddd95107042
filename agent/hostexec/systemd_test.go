package hostexec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atalaya/cmd/atalaya-lab/rig"
)

// The agent as a service that is as unlike a person's shell as a unit can be made.
const agentUnit = `[Service]
Type=exec
Environment=HOSTEXEC_ROLE=change
ExecStart=/usr/local/bin/agent %s
NoNewPrivileges=yes
LimitNOFILE=777
LimitCORE=0
Nice=5
UMask=0077
OOMScoreAdjust=300
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths=/run
SystemCallFilter=@system-service
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_KILL
StandardOutput=file:/run/agent.out
StandardError=file:/run/agent.err
`

// host is one small host with systemd for all tests here: it takes seconds to boot.
func TestInSystemd(t *testing.T) {
	t.Parallel()
	need(t, "root", "lxc", "busybox", "debootstrap")
	host := rig.NewSystemd(t, rig.SystemdOptions{N: 1, NoStart: true})
	host.CopyIn(self(t), "/usr/local/bin/agent")
	for name, f := range map[string]func(t *testing.T, s *rig.Systemd){
		"what it starts inherits nothing":           inheritsNothing,
		"exit codes, signals, words, odd arguments": unitEndings,
		"a limit": unitLimit,
		"kill -9 of the service harms no command":    serviceKilled,
		"a container is as one started by hand":      containerInheritsNothing,
		"without systemd's answer, it starts itself": alone,
	} {
		t.Run(name, func(t *testing.T) { f(t, host.With(t)) })
	}
	if left := host.MustExec("systemctl", "list-units", "--all", "--plain", "--no-legend", "atalaya-*"); strings.TrimSpace(left) != "" {
		t.Errorf("units left behind:\n%s", left)
	}
	if state := strings.TrimSpace(host.MustExec("systemctl", "is-system-running")); state != "running" {
		t.Errorf("the host is %q", state)
	}
}

// service runs the agent as a service with a changing command, and waits for its end.
func service(t *testing.T, s *rig.Systemd, extra string, args ...string) Transcript {
	t.Helper()
	begin(t, s, extra, args...)
	until(t, "the agent's service ends", func() bool {
		state := s.Exec("systemctl", "is-active", "agent.service").Stdout
		return state != "active\n" && state != "activating\n"
	})
	var got Transcript
	if err := json.Unmarshal([]byte(s.MustExec("cat", "/run/agent.out")), &got); err != nil {
		t.Fatalf("%v\n%s", err, s.Exec("cat", "/run/agent.err").Stdout)
	}
	return got
}

func begin(t *testing.T, s *rig.Systemd, extra string, args ...string) {
	t.Helper()
	s.MustExec("rm", "-f", "/run/agent.out", "/run/agent.err")
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = strconv.Quote(strings.NewReplacer("%", "%%", "$", "$$").Replace(a))
	}
	s.Write("/etc/systemd/system/agent.service", fmt.Sprintf(agentUnit, strings.Join(quoted, " "))+extra)
	s.MustExec("systemctl", "daemon-reload")
	s.MustExec("systemctl", "restart", "agent.service")
}

// byLook has the agent's look be run as a child of a shell that did nothing.
var byLook = []string{"sh", "-c", "HOSTEXEC_ROLE=look /usr/local/bin/agent; exit $?"}

func inherits(t *testing.T, stdout []byte) inherited {
	t.Helper()
	var in inherited
	if err := json.Unmarshal(stdout, &in); err != nil {
		t.Fatalf("%v: %q", err, stdout)
	}
	return in
}

func inheritsNothing(t *testing.T, s *rig.Systemd) {
	got := service(t, s, "", append([]string{"/run/ops", "auto", "look"}, byLook...)...)
	if !got.OK() || !strings.HasPrefix(got.Unit, "atalaya-look-") {
		t.Fatal(got.Text(), s.Exec("cat", "/run/agent.err").Stdout)
	}
	in := inherits(t, got.Stdout)
	// The measure is a unit of which nothing is said, started by hand.
	plain := inherits(t, []byte(s.MustExec(append([]string{"systemd-run", "-q", "--wait", "--pipe", "--collect"}, byLook...)...)))
	plain.Status["SigIgn"] = in.Status["SigIgn"] // a unit ignores SIGPIPE, which ours and a person's shell do not
	for _, diff := range []struct{ what, got, want string }{
		{"status", fmt.Sprint(in.Status), fmt.Sprint(plain.Status)},
		{"limits", fmt.Sprint(in.Limits), fmt.Sprint(plain.Limits)},
		{"nice", fmt.Sprint(in.Nice), "0"},
		{"OOM adjustment", in.OOM, "0"},
		{"mount namespace", in.MountNS, plain.MountNS},
		{"NoNewPrivs", in.Status["NoNewPrivs"], "0"},
		{"Seccomp", in.Status["Seccomp"], "0"},
		{"SigIgn", publicSignals(t, in.Status["SigIgn"]), "0"},
		{"Umask", in.Status["Umask"], "0022"},
		{"cgroup", in.Cgroup[strings.LastIndex(in.Cgroup, "0::"):], "0::/system.slice/" + got.Unit},
		{"stdin", in.Stdin, "/dev/null"},
		{"folder", in.Dir, "/"},
	} {
		if diff.got != diff.want {
			t.Errorf("%s: %s\nwant %s", diff.what, diff.got, diff.want)
		}
	}
	env := slices.DeleteFunc(slices.Clone(in.Env), func(e string) bool { return e == "" })
	slices.Sort(env)
	if want := []string{"HOME=/root", "LC_ALL=C", "PATH=" + searchPath}; !slices.Equal(env, want) {
		t.Errorf("environment %q, want %q", env, want)
	}
}

func unitEndings(t *testing.T, s *rig.Systemd) {
	odd := []string{"$HOME", "${PATH}", "$$", "%n %%", `a"b'c\d`, "line\nbreak", "-x", "", "é", "\t", ";", "@x", "|"}
	got := service(t, s, "", append([]string{"/run/ops", "auto", "odd %n/$x", "printf", "%s|"}, odd...)...)
	if want := strings.Join(odd, "|") + "|"; !got.OK() || string(got.Stdout) != want {
		t.Errorf("%q\nwant %q\n%s", got.Stdout, want, got.Text())
	}
	got = service(t, s, "", "/run/ops", "auto", "exit", "sh", "-c", "echo out; echo err >&2; exit 7")
	if got.Exit != 7 || string(got.Stdout) != "out\n" || string(got.Stderr) != "err\n" || got.Failure != "" || got.PID == 0 {
		t.Errorf("%+v", got)
	}
	got = service(t, s, "", "/run/ops", "auto", "signal", "sh", "-c", "kill -SEGV $$")
	if got.Exit != -1 || got.Signal != "SIGSEGV" {
		t.Errorf("%+v", got)
	}
	if left := s.Exec("ls", "-A", "/run/ops").Stdout; left != "" {
		t.Errorf("left on record: %s", left)
	}
}

func unitLimit(t *testing.T, s *rig.Systemd) {
	script := `sleep 1000 & trap "echo asked; exit 5" TERM; while :; do sleep 0.05; done`
	got := service(t, s, "Environment=HOSTEXEC_LIMIT=300ms\n", "/run/ops", "auto", "limit", "sh", "-c", script)
	if got.Exit != 5 || !got.TimedOut || string(got.Stdout) != "asked\n" {
		t.Errorf("%+v", got)
	}
	// What the command started is not asked to end: it could be the container.
	if n := strings.Count(s.MustExec("ps", "-eo", "args"), "sleep 1000"); n != 1 {
		t.Errorf("%d of its children live, want 1", n)
	}
	s.MustExec("sh", "-c", `kill $(ps -eo pid,args | grep '[s]leep 1000' | cut -c1-8)`)
}

// killed starts script as the service's changing command and kills the service under it. The unit has systemd's default
// KillMode=control-group.
func killed(t *testing.T, s *rig.Systemd, op, script string) {
	t.Helper()
	begin(t, s, "", "/run/ops", "auto", op, "sh", "-c", "echo early; read x < /run/go; "+script)
	until(t, "the command is under way", func() bool { return s.Exec("grep", "-rq", "early", "/run/ops").Exit == 0 })
	s.MustExec("systemctl", "kill", "-s", "KILL", "agent.service")
	until(t, "the agent is dead", func() bool { return s.Exec("systemctl", "is-active", "agent.service").Stdout == "failed\n" })
	s.MustExec("systemctl", "reset-failed", "agent.service")
	s.MustExec("rm", "-f", "/run/ops.found")
}

// successor starts the next agent, a person's for a change; the function gives what it found.
func successor(t *testing.T, s *rig.Systemd) func() []Transcript {
	t.Helper()
	done := make(chan rig.Ran, 1)
	go func() { done <- s.Exec("env", "HOSTEXEC_ROLE=successor", "/usr/local/bin/agent", "/run/ops", "units") }()
	until(t, "the successor has looked", func() bool { return s.Exec("test", "-e", "/run/ops.found").Exit == 0 })
	return func() (got []Transcript) {
		r := <-done
		if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		if left := s.Exec("ls", "-A", "/run/ops").Stdout; left != "" {
			t.Errorf("left on record: %s", left)
		}
		return got
	}
}

func serviceKilled(t *testing.T, s *rig.Systemd) {
	s.MustExec("mkfifo", "/run/go")
	killed(t, s, "i1/start", "echo late; exit 9")
	found := successor(t, s)
	s.MustExec("sh", "-c", "echo go > /run/go")
	got := found()
	if len(got) != 1 || got[0].Exit != 9 || string(got[0].Stdout) != "early\nlate\n" || got[0].Failure != "" {
		t.Errorf("%+v", got)
	}

	// This one ends while no agent is there: nothing is left to wait for.
	killed(t, s, "i2/start", "exit 4")
	s.MustExec("sh", "-c", "echo go > /run/go")
	until(t, "it has ended", func() bool {
		return strings.Contains(s.Exec("systemctl", "list-units", "--plain", "--no-legend", "atalaya-*").Stdout, "exited")
	})
	if got := successor(t, s)(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// containerInheritsNothing compares a container that the service started with one started by hand.
func containerInheritsNothing(t *testing.T, s *rig.Systemd) {
	init := func() inherited {
		until(t, "the container runs", func() bool { return strings.Contains(s.State("web1"), "RUNNING") })
		_, pid := s.GuestInit("web1")
		out := s.MustExec("env", "HOSTEXEC_ROLE=look", "/usr/local/bin/agent", strconv.Itoa(pid))
		s.MustExec("lxc-stop", "-k", "-n", "web1")
		return inherits(t, []byte(out))
	}
	s.MustExec("systemd-run", "-q", "--wait", "--collect", "-p", "KillMode=process", "-p", "IgnoreSIGPIPE=no", "lxc-start", "-n", "web1")
	byHand := init()
	if got := service(t, s, "", "/run/ops", "auto", "start", "lxc-start", "-n", "web1"); !got.OK() {
		t.Fatal(got.Text())
	}
	ours := init()
	if ours.Nice != byHand.Nice || ours.OOM != byHand.OOM || ours.Cgroup != byHand.Cgroup || !maps.Equal(ours.Status, byHand.Status) || !maps.Equal(ours.Limits, byHand.Limits) {
		t.Errorf("by us:   %+v\nby hand: %+v", ours, byHand)
	}
}

// alone is a service that cannot reach systemd: it resets what it can, says so, and the customer is up.
func alone(t *testing.T, s *rig.Systemd) {
	extra := "LimitNOFILE=777:524288\nInaccessiblePaths=/run/systemd/private /run/dbus\nNoNewPrivileges=no\nCapabilityBoundingSet=~\nSystemCallFilter=\n"
	got := service(t, s, extra, "/run/ops", "auto", "alone", "sh", "-c", "sleep 0.2; "+byLook[2])
	if !got.OK() || got.Unit != "" {
		t.Fatalf("%s", got.Text())
	}
	in := inherits(t, got.Stdout)
	if in.Nice != 0 || in.OOM != "0" || in.Status["Umask"] != "0022" || !strings.HasPrefix(in.Limits["Max open files"], "1024 ") {
		t.Errorf("%+v", in)
	}
	if log := s.MustExec("cat", "/run/agent.err"); strings.Count(log, "systemd cannot be asked") != 1 {
		t.Errorf("log: %s", log)
	}
}

// BenchmarkChangeInSystemd prints, from within a host with systemd, what starting by a transient unit costs beside a bare os/exec.
func BenchmarkChangeInSystemd(b *testing.B) {
	need(b, "root", "lxc", "busybox", "debootstrap")
	s := rig.NewSystemd(b, rig.SystemdOptions{})
	s.CopyIn(self(b), "/usr/local/bin/agent")
	measure := func(place string) []float64 {
		var ms []float64
		out := s.MustExec("env", "HOSTEXEC_ROLE=bench", "/usr/local/bin/agent", "/run/ops", place, "40", "true")
		for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
			f, err := strconv.ParseFloat(lines.Text(), 64)
			if err != nil {
				b.Fatal(err)
			}
			ms = append(ms, f)
		}
		return ms
	}
	var bare, direct, units []float64
	for b.Loop() {
		bare = append(bare, measure("bare")...)
		direct = append(direct, measure("direct")...)
		units = append(units, measure("units")...)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(bare), "bare-ms")
	b.ReportMetric(median(direct), "direct-ms")
	b.ReportMetric(median(units), "unit-ms")
	b.ReportMetric(median(units)/median(bare), "unit/bare")
}

// publicSignals leaves out of a signal mask those that C libraries keep for themselves (signal(7): 32 and 33): what they do with
// them is not inherited from anybody's unit.
func publicSignals(t *testing.T, mask string) string {
	t.Helper()
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		t.Fatalf("signal mask %q: %v", mask, err)
	}
	return strconv.FormatUint(bits&^(1<<31|1<<32), 16)
}

package systemd_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// hostile are settings that an administrator or a distribution may put on the unit, and that must not reach a container.
// The watchdog is short, so that a stuck agent is soon seen.
const hostile = `[Service]
WatchdogSec=4s
RestartSec=100ms
NoNewPrivileges=yes
LimitNOFILE=777
Nice=5
UMask=0077
OOMScoreAdjust=500
PrivateTmp=yes
SystemCallFilter=~@swap
CapabilityBoundingSet=~CAP_SYS_BOOT
`

// TestUnit goes through the days of the agent as a service, on one host: it takes seconds to boot.
func TestUnit(t *testing.T) {
	t.Parallel()
	h := raise(t, rig.SystemdOptions{N: 4})
	for _, name := range h.Names() {
		h.byHand(name)
	}
	before := map[string]person{}
	for _, name := range h.Names() {
		h.WaitHTTP(name, patience)
		before[name] = h.look(name)
	}
	for _, test := range []struct {
		name string
		f    func(h tower)
	}{
		{"systemd has nothing to say against it", verified},
		{"active means that every engine was listed; a tool that hangs is an alert", hangingTool},
		{"an agent that does not turn is started again", watchdog},
		{"a systemd that hangs keeps no customer down", hangingSystemd},
		{"what it starts inherits nothing", func(h tower) { inheritsNothing(h, before) }},
		{"its end cuts no start in the middle", endsDuringStart},
		{"killed between the stop and the start of a restart", killedBetween},
		{"reload", reload},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.f(h.with(t)) }) {
			return
		}
	}
}

func verified(h tower) {
	r := h.Exec("systemd-analyze", "verify", "/lib/systemd/system/atalaya.service")
	if r.Exit != 0 || r.Stderr != "" || r.Stdout != "" { // an unknown key is exit 0, and said on stderr
		h.t.Errorf("systemd-analyze verify: %+v", r)
	}
	out := strings.TrimSpace(h.MustExec("systemd-analyze", "security", "--no-pager", "atalaya.service"))
	h.t.Logf("systemd-analyze security: %s", out[strings.LastIndex(out, "\n")+1:])
}

// hangingTool stops the monitor of a container: every lxc-ls hangs now, and lxc-info of this one container.
func hangingTool(h tower) {
	h.Write("/etc/systemd/system/atalaya.service.d/hostile.conf", hostile)
	h.MustExec("systemctl", "daemon-reload")
	init, _ := h.GuestInit("web4")
	monitor := parent(h.t, init)
	signal(h.t, monitor, syscall.SIGSTOP)
	h.t.Cleanup(func() { _ = syscall.Kill(monitor, syscall.SIGCONT) })
	began := time.Now()
	h.MustExec("systemctl", "start", "atalaya")
	if took := time.Since(began); took < 2*time.Second {
		h.t.Errorf("it was ready after %v, although the first list cannot have ended", took)
	}
	if state := h.property("ActiveState"); state != "active" {
		h.t.Errorf("it is %q", state)
	}
	h.awaitUp("web1", "web2", "web3")
	h.until("an alert says that the list hangs", func() bool { return len(notices(h.alerts(), "asked one by one")) == 1 })
	h.Kill9("web2")
	h.WaitHTTP("web2", patience)
	h.awaitUp("web2")
	// Several periods of the watchdog.
	pid := h.agentPID()
	time.Sleep(9 * time.Second)
	if now := h.agentPID(); now != pid || h.property("NRestarts") != "0" {
		h.t.Errorf("the agent was restarted: pid %d, then %d", pid, now)
	}
	signal(h.t, monitor, syscall.SIGCONT)
	h.until("an alert says that the list works again", func() bool { return len(notices(h.alerts(), "can be listed again")) == 1 })
	h.awaitUp("web4")
	if n := h.hooks("pre-start", "web4"); n != 1 {
		h.t.Errorf("the container whose monitor hung was started %d times", n)
	}
}

func watchdog(h tower) {
	inits := h.inits()
	pid := h.agentPID()
	signal(h.t, h.MachinePID(pid), syscall.SIGSTOP)
	h.until("systemd has started it again", func() bool {
		return h.property("NRestarts") == "1" && h.property("ActiveState") == "active"
	})
	if log := h.journal(); !strings.Contains(log, "SIGABRT") || !strings.Contains(log, "goroutine ") {
		h.t.Error("the journal has no stacks of the agent that hung")
	}
	h.awaitUp(h.Names()...)
	h.sameInits(inits)
}

// hangingSystemd stops PID 1, which the agent asks to start containers for it, and asks about shutdowns.
func hangingSystemd(h tower) {
	inits := h.inits()
	delete(inits, "web2")
	delete(inits, "web3")
	signal(h.t, h.InitPID(), syscall.SIGSTOP)
	resume := sync.OnceFunc(func() { _ = syscall.Kill(h.InitPID(), syscall.SIGCONT) })
	h.t.Cleanup(resume)
	for _, name := range []string{"web2", "web3"} {
		h.Kill9(name)
		at := h.WaitHTTP(name, patience)
		h.t.Logf("%s served again at %s", name, at.Format("15:04:05.000"))
	}
	h.awaitUp(h.Names()...) // the loop turns
	starts := h.hooks("pre-start", "web2")
	resume()
	h.until("systemd answers", func() bool { return h.Exec("systemctl", "is-active", "atalaya").Stdout == "active\n" })
	h.awaitUp(h.Names()...)
	h.sameInits(inits)
	if n := h.hooks("pre-start", "web2"); n != starts {
		h.t.Errorf("web2 was started %d more times when systemd came back", n-starts)
	}
}

// endsDuringStart ends the agent in each way while a start of its own hangs in the container's hook.
func endsDuringStart(h tower) {
	for i, how := range [][]string{
		{"systemctl", "stop", "atalaya"},
		{"systemctl", "restart", "atalaya"},
		{"systemctl", "kill", "--signal=KILL", "atalaya"}, // all processes of its cgroup
	} {
		inits := h.inits()
		delete(inits, "web2")
		starts := h.hooks("pre-start", "web2")
		release := h.hold("pre-start", "web2")
		h.Kill9("web2")
		h.awaitHook("pre-start", "web2", starts+1)
		pid := h.agentPID()
		h.MustExec(how...)
		h.until("the agent has ended", func() bool { return h.Exec("kill", "-0", strconv.Itoa(pid)).Exit != 0 })
		if i > 0 {
			h.until("its successor is there", func() bool { return h.property("ActiveState") == "active" && h.succeeded(pid) })
		}
		if r := h.Exec("pgrep", "-f", "^lxc-start .*--name=web2"); r.Exit != 0 {
			h.t.Errorf("%v ended the command in flight", how)
		}
		release()
		h.WaitHTTP("web2", patience)
		if i == 0 {
			h.MustExec("systemctl", "start", "atalaya")
		}
		h.awaitUp(h.Names()...)
		if n := h.hooks("pre-start", "web2") - starts; n != 1 {
			h.t.Errorf("%v: web2 was started %d times", how, n)
		}
		h.sameInits(inits)
	}
}

// killedBetween kills the agent while the stop of a restart is under way.
func killedBetween(h tower) {
	inits := h.inits()
	delete(inits, "web3")
	starts, stops := h.hooks("pre-start", "web3"), h.hooks("post-stop", "web3")
	release := h.hold("post-stop", "web3")
	_, init := h.GuestInit("web3")
	h.MustExec("pkill", "-STOP", "-P", strconv.Itoa(init), "httpd")
	h.awaitHook("post-stop", "web3", stops+1)
	pid := h.agentPID()
	h.MustExec("systemctl", "kill", "--signal=KILL", "atalaya")
	h.until("its successor is there", func() bool { return h.property("ActiveState") == "active" && h.succeeded(pid) })
	if n := h.hooks("pre-start", "web3"); n != starts {
		h.t.Fatalf("it was started before it had stopped")
	}
	release()
	h.WaitHTTP("web3", patience)
	h.awaitUp(h.Names()...)
	if n := h.hooks("pre-start", "web3") - starts; n != 1 {
		h.t.Errorf("web3 was started %d times", n)
	}
	h.sameInits(inits)
}

func reload(h tower) {
	pid := h.agentPID()
	change := func(text, said string) {
		h.t.Helper()
		n := strings.Count(h.journal(), said)
		h.Write("/etc/atalaya/atalaya.yaml", text)
		h.MustExec("systemctl", "reload", "atalaya")
		h.until(fmt.Sprintf("the journal says %q", said), func() bool { return strings.Count(h.journal(), said) > n })
		h.until("the reload is over", func() bool { return h.property("ActiveState") == "active" })
	}
	change(strings.Replace(configuration, "mode: heal", "mode: alert", 1), "the configuration was reloaded")
	starts := h.hooks("pre-start", "web1")
	h.Kill9("web1")
	h.until("it is alerted", func() bool { return h.phase("web1") == health.Alerted })
	change("mode: heel\n", "the last good one stays")
	if v, ok := h.view(); !ok || v.Mode != health.ModeAlert || h.hooks("pre-start", "web1") != starts {
		h.t.Errorf("the broken configuration was taken: mode %q", v.Mode)
	}
	if status := h.property("StatusText"); !strings.Contains(status, "not valid") {
		h.t.Errorf("the status is %q", status)
	}
	change(configuration, "the configuration was reloaded")
	h.WaitHTTP("web1", patience)
	h.awaitUp("web1")
	if now := h.agentPID(); now != pid || h.property("StatusText") != "watching" {
		h.t.Errorf("pid %d, then %d; status %q", pid, now, h.property("StatusText"))
	}
}

// inits are the containers' init processes.
func (h tower) inits() map[string]int {
	h.t.Helper()
	pids := map[string]int{}
	for _, name := range h.Names() {
		pids[name], _ = h.GuestInit(name)
	}
	return pids
}

func (h tower) sameInits(before map[string]int) {
	h.t.Helper()
	now := h.inits()
	for name, pid := range before {
		if now[name] != pid {
			h.t.Errorf("%s was restarted: init %d, then %d", name, pid, now[name])
		}
	}
}

func signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %d: %v", pid, err)
	}
}

var ppid = regexp.MustCompile(`(?m)^PPid:\s*(\d+)$`)

func parent(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(ppid.FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

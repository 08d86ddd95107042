package systemd_test

import (
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// TestHost has the engine's service and the host itself go down and come up under the agent. LXC's own service starts the
// containers at boot and stops them at shutdown, as Debian ships it.
func TestHost(t *testing.T) {
	t.Parallel()
	h := raise(t, rig.SystemdOptions{N: 2, LXCService: true})
	h.MustExec("systemctl", "restart", "lxc.service") // at the first boot no container had its hooks yet
	h.MustExec("systemctl", "enable", "--now", "atalaya")
	h.awaitUp("web1", "web2")
	for _, test := range []struct {
		name string
		f    func(h tower)
	}{
		{"systemctl restart lxc.service", engineRestarts},
		{"a scheduled shutdown", scheduled},
		{"systemctl poweroff", goesDown},
		{"boot", comesUp},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.f(h.with(t)) }) {
			return
		}
	}
}

// engineRestarts: the service stops both containers and starts them again; the agent only watches.
func engineRestarts(h tower) {
	before := len(h.alerts())
	starts := map[string]int{}
	for _, name := range h.Names() {
		starts[name] = h.hooks("pre-start", name)
		h.Write("/var/lib/lab/slow-pre-start-"+name, "") // long enough for anybody who would be hasty
	}
	h.MustExec("systemctl", "restart", "lxc.service")
	for _, name := range h.Names() {
		h.MustExec("rm", "/var/lib/lab/slow-pre-start-"+name)
		h.WaitHTTP(name, patience)
	}
	h.awaitUp(h.Names()...)
	for _, name := range h.Names() {
		if n := h.hooks("pre-start", name) - starts[name]; n != 1 {
			h.t.Errorf("%s was started %d times", name, n)
		}
	}
	h.nothingOpened(before)
	if said := notices(h.alerts()[before:], "nothing is started until that is over"); len(said) != 1 || !strings.Contains(said[0].Summary, "lxc.service is being restarted") {
		h.t.Errorf("said: %s", sentences(said))
	}
	if units := h.startUnits(); units != "" {
		h.t.Errorf("the agent ordered starts:\n%s", units)
	}
}

func scheduled(h tower) {
	h.MustExec("systemctl", "unmask", "systemd-logind.service")
	h.MustExec("systemctl", "start", "systemd-logind.service")
	before := len(h.alerts())
	h.MustExec("shutdown", "--poweroff", "--no-wall", "+3")
	h.until("the agent holds back", func() bool { v, _ := h.view(); return strings.Contains(v.Closed, "scheduled") })
	h.Kill9("web1")
	h.until("it is deferred", func() bool { return h.phase("web1") == health.Deferred })
	starts := h.hooks("pre-start", "web1")
	h.MustExec("shutdown", "-c", "--no-wall")
	h.WaitHTTP("web1", patience)
	h.awaitUp("web1")
	if n := h.hooks("pre-start", "web1") - starts; n != 1 {
		h.t.Errorf("after the shutdown was called off, web1 was started %d times", n)
	}
	h.until("its incident is told", func() bool {
		all := h.alerts()[before:]
		return len(opened(all)) == 1 && all[len(all)-1].Kind == health.AlertResolved
	})
	if said := notices(h.alerts()[before:], "scheduled"); len(said) != 1 {
		h.t.Errorf("said: %s", sentences(said))
	}
}

// goesDown: the agent lives until LXC's service has stopped the containers, which takes a while, and starts nothing.
func goesDown(h tower) {
	before := len(h.alerts())
	starts := map[string]int{}
	for _, name := range h.Names() {
		starts[name] = h.hooks("pre-start", name)
	}
	h.Write("/var/lib/lab/slow-post-stop-web1", "")
	h.Poweroff()
	for _, name := range h.Names() {
		if n := h.hooks("pre-start", name) - starts[name]; n != 0 {
			h.t.Errorf("%s was started %d times during the shutdown", name, n)
		}
		if h.hooks("post-stop", name) == 0 {
			h.t.Errorf("%s was not stopped", name)
		}
	}
	h.nothingOpened(before)
	if said := notices(h.alerts()[before:], "nothing is started until that is over"); len(said) != 1 || !strings.Contains(said[0].Summary, "shutting down") {
		h.t.Errorf("said: %s", sentences(said))
	}
}

// comesUp: LXC's service cannot start one container and is slow with the other. The agent waits for it, then heals.
func comesUp(h tower) {
	before := len(h.alerts())
	starts := h.hooks("pre-start", "web1")
	h.MustRemove("/var/lib/lab/slow-post-stop-web1")
	h.Write("/var/lib/lab/fail-pre-start-web1", "")
	h.Write("/var/lib/lab/slow-pre-start-web2", "")
	h.Boot()
	h.MustRemove("/var/lib/lab/slow-pre-start-web2")
	h.WaitHTTP("web2", patience)
	h.WaitHTTP("web1", patience)
	h.awaitUp("web1", "web2")
	if n := h.hooks("pre-start", "web1") - starts; n != 2 {
		h.t.Errorf("web1 was started %d times, want once by LXC's service and once by the agent", n)
	}
	h.t.Logf("hooks: %s", h.read("/var/log/hooks"))
	ours, autostart := h.began(), h.stamp("lxc.service", "ActiveEnterTimestampMonotonic")
	if len(ours) != 1 || ours[0] < autostart {
		h.t.Errorf("the agent ordered starts at %v, LXC's service was ready at %v", ours, autostart)
	}
	if agent, engine := h.stamp("atalaya", "ActiveEnterTimestampMonotonic"), h.stamp("lxc.service", "InactiveExitTimestampMonotonic"); agent > engine {
		h.t.Errorf("the agent was ready %v after boot, LXC's service began at %v", agent, engine)
	}
	all := h.alerts()[before:]
	if said := notices(all, "still starting its containers"); len(said) != 1 {
		h.t.Errorf("said: %s", sentences(said))
	}
	for _, a := range opened(all) {
		if a.Container.Name != "web1" {
			h.t.Errorf("an incident was opened: %s", a.Summary)
		}
	}
	h.t.Logf("alerts since boot:\n%s", sentences(all))
}

func (h tower) nothingOpened(since int) {
	h.t.Helper()
	if all := opened(h.alerts()[since:]); len(all) > 0 {
		h.t.Errorf("incidents were opened:\n%s", sentences(all))
	}
}

func sentences(all []health.Alert) string {
	var lines []string
	for _, a := range all {
		lines = append(lines, a.At.Format("15:04:05.000 ")+string(a.Kind)+": "+a.Summary)
	}
	return strings.Join(lines, "\n")
}

// startUnits are what systemd has said, in this boot, of the units in which the agent starts containers.
func (h tower) startUnits(more ...string) string {
	h.t.Helper()
	r := h.Exec(append([]string{"journalctl", "-b", "-q", "-u", "atalaya-start-*", "--no-pager"}, more...)...)
	if r.Exit != 0 && !strings.Contains(r.Stderr, "Failed to add filter for units: No data available") { // there were none
		h.t.Fatalf("read the journal: %+v", r)
	}
	return r.Stdout
}

// stamp is a moment in the life of a unit, after the machine's boot.
func (h tower) stamp(unit, property string) time.Duration {
	h.t.Helper()
	d, err := time.ParseDuration(strings.TrimSpace(h.MustExec("systemctl", "show", "-P", property, unit)) + "us")
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// began gives when systemd began to start each of those units.
func (h tower) began() (at []time.Duration) {
	h.t.Helper()
	for line := range strings.Lines(h.startUnits("-o", "short-monotonic")) {
		stamp, text, ok := strings.Cut(strings.TrimPrefix(line, "["), "]")
		d, err := time.ParseDuration(strings.TrimSpace(stamp) + "s")
		if ok && err == nil && strings.Contains(text, ": Starting ") {
			at = append(at, d)
		}
	}
	return at
}

package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// untouched fails the test if anything was ever started, stopped or opened as an incident.
func (r *running) untouched(ref string) {
	r.t.Helper()
	if in := r.incidents(ref); len(in) != 0 {
		r.t.Errorf("incidents of %s: %+v", ref, in)
	}
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "container="+ref+" ") && strings.Contains(line, "attempt 1: ") {
			r.t.Errorf("it was touched: %s", line)
		}
	}
}

// What is frozen answers no probe. It is somebody's affair, and not restarted.
func TestAFrozenContainerIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Web = true
	r := p.start(t)
	r.up("lxc/web1")
	was := l.InitPID("web1")
	l.Freeze("web1")
	c := r.phase("lxc/web1", health.Deferred)
	if c.State != health.Paused || c.Why != "paused (FROZEN)" {
		t.Errorf("%s, %q", c.State, c.Why)
	}
	r.always("it is left alone", 2*time.Second, func(v health.View) bool { return of(v, "lxc/web1").Phase == health.Deferred })
	l.Thaw("web1")
	r.up("lxc/web1")
	if is := l.InitPID("web1"); is != was {
		t.Errorf("its init was %d and is %d", was, is)
	}
	r.untouched("lxc/web1")
}

// What somebody stops stays stopped, and one notice says who it was.
func TestStoppedOnPurpose(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	r := planFor(t, l).start(t)
	script := filepath.Join(t.TempDir(), "backup")
	replace(t, script, "#!/bin/sh\nlxc-stop -P "+l.Path()+" --name=web2 --timeout 3\n")
	for ref, argv := range map[string][]string{
		"lxc/web1": {"lxc-stop", "-k", "-P", l.Path(), "web1"},
		"lxc/web2": {script},
	} {
		r.up(ref)
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
		c := r.phase(ref, health.Off)
		if !strings.HasPrefix(c.Why, "stopped on purpose by 'lxc-stop ") || !strings.Contains(c.Why, ", uid 0") {
			t.Errorf("why: %q", c.Why)
		}
		all := r.alerted(ref, health.AlertNotice)
		if a := all[0].Alert; a.Severity != "info" || a.Reason != c.Why || a.Incident != "" {
			t.Errorf("notice: %+v", a)
		}
		r.lists()
		r.phase(ref, health.Off)
		r.untouched(ref)
	}
	l.Start("web1")
	r.up("lxc/web1")
	r.alerted("lxc/web1", health.AlertNotice)
}

// Somebody who has a shell in a container when it dies has not stopped it.
func TestAnOpenShellIsNoStop(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	shell := exec.Command("lxc-attach", "-P", l.Path(), "-n", "web1", "--", "sleep", "1000")
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	l.Exec("web1", "true") // by now the first one is in, or about to be
	kill9(t, l, "web1")
	r.resolved("lxc/web1", 1)
	r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved)
}

// A guest that reboots is back by itself: no incident, no alert, and the budget is as it was.
func TestAGuestReboots(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	p.Web = true
	r := p.start(t)
	for range 3 {
		r.up("lxc/web1")
		was := of(r.view(), "lxc/web1").Init
		l.Exec("web1", "reboot", "-f")
		r.until("a new init", func(v health.View) bool {
			c := of(v, "lxc/web1")
			return c.Init.PID != 0 && c.Init != was
		})
		r.up("lxc/web1")
	}
	if c := of(r.view(), "lxc/web1"); c.Attempts != 0 {
		t.Errorf("the budget is less by %d", c.Attempts)
	}
	if in := r.incidents("lxc/web1"); len(in) != 0 {
		t.Errorf("incidents: %+v", in)
	}
	r.alerted("lxc/web1")
}

// Neither mode below heal touches anything: observe records, alert also tells.
func TestModesBelowHealTouchNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []health.Mode{health.ModeObserve, health.ModeAlert} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			l := newRig(t, rig.LXCOptions{N: 2})
			p := planFor(t, l)
			p.Web = true
			p.Policy.Mode = mode
			r := p.start(t)
			r.up("lxc/web1", "lxc/web2")
			hung := l.InitPID("web2")
			kill9(t, l, "web1")
			l.Hang("web2")
			for _, ref := range []string{"lxc/web1", "lxc/web2"} {
				if c := r.phase(ref, health.Alerted); !strings.Contains(c.Why, "only watched") {
					t.Errorf("why: %q", c.Why)
				}
			}
			r.lists()
			if l.State("web1") != "STOPPED" || l.InitPID("web2") != hung {
				t.Error("it was touched")
			}
			told := []health.AlertKind{health.AlertOpen}
			if mode == health.ModeObserve {
				told = nil
			}
			for _, ref := range []string{"lxc/web1", "lxc/web2"} {
				r.alerted(ref, told...)
				if in := r.incidents(ref); len(in) != 1 || in[0].Attempts != 0 {
					t.Errorf("incidents of %s: %+v", ref, in)
				}
			}
			l.Resume("web2")
			l.Start("web1")
			for _, ref := range []string{"lxc/web1", "lxc/web2"} {
				if in := r.resolved(ref, 1)[0]; !strings.HasPrefix(in.How, "recovered by itself after ") {
					t.Errorf("%s: %q", ref, in.How)
				}
			}
		})
	}
}

// What was merely seen running is not wanted by anybody we know: its death is told, not undone.
func TestWithoutAutostartThereIsAnAlertOnly(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 1, NoAutostart: true})
	r := planFor(t, l).start(t)
	r.up("lxc/web1")
	kill9(t, l, "web1")
	c := r.phase("lxc/web1", health.Alerted)
	if c.Why != "nothing says that it should be running: its engine does not start it at boot" {
		t.Errorf("why: %q", c.Why)
	}
	r.lists()
	r.alerted("lxc/web1", health.AlertOpen)
	if s := l.State("web1"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
	r.order("web1", health.Order{Kind: health.OrderWant})
	r.resolved("lxc/web1", 1)
}

// A container whose configuration cannot be read any more vanishes from lxc-ls and serves on. A restart would be its end.
func TestAConfigThatBreaksWhileItRuns(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	p.Web = true
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	was := l.InitPID("web1")
	good, err := os.ReadFile(l.ConfigFile("web1"))
	if err != nil {
		t.Fatal(err)
	}
	l.SetConfig("web1", string(good)+"lxc.nosuch.key = 1\n")
	c := r.phase("lxc/web1", health.Alerted)
	if !strings.HasPrefix(c.Why, "nothing can be done from here: the engine cannot read its configuration: ") || !strings.Contains(c.Why, "lxc.nosuch.key") {
		t.Errorf("why: %q", c.Why)
	}
	r.alerted("lxc/web1", health.AlertOpen)
	r.lists()
	if err := syscall.Kill(was, 0); err != nil {
		t.Errorf("its init %d: %v", was, err)
	}
	kill9(t, l, "web2") // the other is healed as ever
	r.resolved("lxc/web2", 1)
	l.SetConfig("web1", string(good))
	if in := r.resolved("lxc/web1", 1)[0]; in.Attempts != 0 {
		t.Errorf("incident: %+v", in)
	}
	if is := l.InitPID("web1"); is != was {
		t.Errorf("its init was %d and is %d", was, is)
	}
}

// What is not to be watched is not.
func TestAnIgnoredContainer(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	p.Edit = func(s health.Sighting, set *agent.Setup) { set.Ignore = s.Ref.ID == "web2" }
	r := p.start(t)
	r.up("lxc/web1")
	kill9(t, l, "web2")
	r.lists()
	if v := r.view(); len(v.Containers) != 1 {
		t.Errorf("watched: %+v", v.Containers)
	}
	if s := l.State("web2"); s != "STOPPED" {
		t.Errorf("it is %s", s)
	}
}

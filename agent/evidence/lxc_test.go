package evidence

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// initOf is the container's init, and its cgroups, as the agent holds them while it lives.
func initOf(t testing.TB, l *rig.LXC, name string) (health.Process, string) {
	t.Helper()
	p := health.Process{PID: l.InitPID(name)}
	st, err := statOf(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	p.Start = st.start
	return p, CgroupOf(p)
}

// The kernel's own words about a real container: while it runs, while its server hangs, and at its death.
func TestBuiltinOnRealContainers(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	l := rig.NewLXC(t, rig.LXCOptions{N: 1})
	name := l.Name(0)
	l.WaitHTTP(name, 10*time.Second)
	p, cgroup := initOf(t, l, name)
	r := newRecorder(t)

	t.Run("hung server", func(t *testing.T) {
		l.Hang(name)
		defer l.Resume(name)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, l.URL(name), nil)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			t.Fatal("the server does not hang")
		}
		s, m := capture(t, r, Builtin(p, cgroup)...)
		has(t, s, "before/processes.txt", "by its cgroup", " T ", "httpd", "What the container's init hangs from", "lxc")
		has(t, s, "before/sockets.txt", "LISTEN", ":80")
		has(t, s, "before/network-container.txt", "eth0", l.Addr(name).String())
		has(t, s, "before/network-host.txt", l.Bridge(), " on "+l.Bridge(), l.Gateway().String())
		has(t, s, "before/cgroup-counters.txt", "pids.current: ")
		v1, v2 := []string{"memory.usage_in_bytes: ", "freezer.state: THAWED"}, []string{"memory.current: ", "cgroup.events: "}
		has(t, s, "before/cgroup-counters.txt", hierarchy(t, v1, v2)...)
		has(t, s, "before/kernel.log", "seconds since boot")
		if len(m.Missing) > 0 {
			t.Errorf("missing: %+v", m.Missing)
		}
	})
	t.Run("at the death", func(t *testing.T) {
		l.Kill9(name)
		for deadline := time.Now().Add(10 * time.Second); lives(p) && time.Now().Before(deadline); {
			time.Sleep(200 * time.Microsecond) // the pidfd's notice, which the agent has, comes about here
		}
		s, m := capture(t, r, Builtin(p, cgroup)...)
		has(t, s, "before/cgroup-counters.txt", "/lxc.payload."+name, hierarchy(t, []string{"memory.failcnt: "}, []string{"memory.events: "})[0]) // the others vanish meanwhile
		if why := m.missing("sockets.txt"); !strings.Contains(why, "had ended") {
			t.Errorf("sockets of a dead container: %q", why)
		}
		l.WaitState(name, "STOPPED", 10*time.Second)
		_, m = capture(t, r, Counters(cgroup)...)
		if why := m.missing("cgroup-counters.txt"); !strings.Contains(why, "gone already") {
			t.Errorf("counters after the cgroup is gone: %q", why)
		}
	})
}

// hierarchy gives what this host's cgroups have: those of version 1 with its controllers, or those of 2 alone.
func hierarchy(t *testing.T, v1, v2 []string) []string {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return v2
	}
	return v1
}

func has(t *testing.T, s Sealed, file string, parts ...string) {
	t.Helper()
	text := string(content(t, s.Path, file))
	if os.Getenv("SHOW") != "" {
		t.Logf("%s:\n%s", file, text[:min(len(text), 6000)])
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s does not hold %q:\n%s", file, p, text[:min(len(text), 3000)])
		}
	}
}

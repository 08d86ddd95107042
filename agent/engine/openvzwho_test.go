package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *vzTest) causes() {
	v.must(health.VerbKill)
	for reply, want := range map[string]string{
		"start-disabled":  "Container start disabled (exit 105: its start is disabled (DISABLED=yes))",
		"start-noconfig":  "Container config file does not exist (exit 14: it has no configuration)",
		"start-noprivate": "Container private area /vz/private/101 does not exist (exit 43: its private area is missing)",
		"start-template":  "Unable to start init, probably incorrect template (exit 47: bad template: no init or no shell in it)",
		"start-script":    "Error executing premount script /etc/vz/conf/101.premount (exit 79: an action script failed)",
		"start-network":   "Error: /etc/inittab not found: No such file or directory (exit 31: it is not running)",
		"bad-kernel":      "exit 5: the host does not run an OpenVZ kernel",
		"resources":       "exit 6: not enough resources",
	} {
		v.Fault(scripted.Fault{On: "vzctl start 101", Do: scripted.Answer, Reply: reply})
		if a := v.do(health.VerbStart); a.Err == "" || a.Already || a.Cause != want {
			v.Errorf("%s: %+v, want the cause %q", reply, a, want)
		}
	}
	v.Heal()
	if a := v.do(health.VerbStop); a.Err != "" {
		v.Errorf("stop of what does not run exits 0: %+v", a)
	}
	if out := v.i.Exec(context.Background(), "101", []string{"true"}, time.Minute); out.Exit != 31 {
		v.Errorf("exec in what does not run: %+v", out)
	}
	if v.i.Limit(health.VerbStop) <= 2*time.Minute {
		v.Errorf("a stop waits for 120 s inside, and is given %v", v.i.Limit(health.VerbStop))
	}
}

// locks: who holds it, what for, since when; and that it ends.
func (v *vzTest) locks() {
	pid, end := sleeper(v.T)
	held := fmt.Sprintf("%d\n\n", pid)
	v.WriteFile("/vz/lock/101.lck", held)
	v.both("held", func(s health.Sighting) bool {
		l := s.Lock
		return l != nil && !l.Dead && l.Holder.PID == pid && l.Holder.Start != 0 && l.Operation == "/bin/sleep 300" && time.Since(l.Since) < time.Minute
	})
	if a := v.do(health.VerbKill); a.Transcript.Exit != 9 || a.Cause != fmt.Sprintf("Locked by: pid %d, cmdline /bin/sleep 300 (exit 9: an operation holds its lock)", pid) {
		v.Errorf("kill of a locked one: %+v", a)
	}
	v.WriteFile("/vz/lock/101.lck", fmt.Sprintf("%d\nbackup\n", pid))
	v.both("with an action", func(s health.Sighting) bool { return s.Lock != nil && !s.Lock.Dead && s.Lock.Operation == "backup" })
	end()
	v.RemoveFile("/vz/lock/101.lck")
	v.both("ended", func(s health.Sighting) bool { return s.Lock == nil && s.State == health.Running })
}

// staleLocks: the holder is gone, or another process has its number, or there is no number in it.
func (v *vzTest) staleLocks() {
	pid, _ := sleeper(v.T)
	v.WriteFile("/vz/lock/101.lck", fmt.Sprintf("%d\nbackup\n", pid))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(v.File("/vz/lock/101.lck"), old, old); err != nil {
		v.Fatal(err)
	}
	v.both("a pid younger than its lock", func(s health.Sighting) bool {
		return s.Lock != nil && s.Lock.Dead && s.Lock.Operation == "backup" && s.Lock.Since.Before(time.Now().Add(-59*time.Minute))
	})
	v.WriteFile("/vz/lock/101.lck", "4194305\nbackup\n") // beyond the highest pid there is
	v.both("a dead holder", func(s health.Sighting) bool { return s.Lock != nil && s.Lock.Dead && s.Lock.Operation == "backup" })
	v.Kill9("101")
	v.must(health.VerbStart) // vzctl removes a stale lock by itself
	v.both("removed", func(s health.Sighting) bool { return s.Lock == nil && s.State == health.Running })
	for _, garbage := range []string{"", "garbage", "-5\n\n", "\x00\n"} {
		v.WriteFile("/vz/lock/101.lck", garbage)
		v.both(fmt.Sprintf("%q", garbage), func(s health.Sighting) bool { return s.Lock == nil })
	}
}

// ownLock: the lock that a command of ours holds is no other's operation; a person's is.
func (v *vzTest) ownLock() {
	v.must(health.VerbKill)
	v.Update("101", func(c *scripted.Container) { c.Keys["slow"] = "1s" })
	locked := func() bool {
		b, err := os.ReadFile(v.File("/vz/lock/101.lck"))
		return err == nil && len(b) > 0
	}
	done := make(chan engine.Answer, 1)
	go func() { done <- v.do(health.VerbStart) }()
	eventually(v.T, "our start holds the lock", locked)
	if s := find(v.T, list(v.T, v.i), "101"); s.Lock != nil && locked() {
		v.Errorf("our own: %+v", s.Lock)
	}
	if a := <-done; a.Err != "" {
		v.Fatalf("%+v", a)
	}
	v.must(health.VerbKill)
	person := exec.Command(filepath.Join(v.Bin(), "vzctl"), "start", "101")
	if err := person.Start(); err != nil {
		v.Fatal(err)
	}
	defer func() { _ = person.Wait() }()
	eventually(v.T, "a person's lock is seen", func() bool {
		l := v.see().Lock
		return l != nil && !l.Dead && l.Holder.PID == person.Process.Pid && strings.HasSuffix(l.Operation, "vzctl start 101")
	})
}

func (v *vzTest) whoStopped() {
	person(v.T, v.Host, "vzctl", "stop", "101")
	if s := v.see(); s.State != health.Stopped || !strings.Contains(s.OnPurpose, "Stopping container") {
		v.Errorf("a person stopped it: %+v", s)
	}
	log, err := os.ReadFile(v.File("/var/log/vzctl.log"))
	if err != nil {
		v.Fatal(err)
	}
	v.WriteFile("/var/log/vzctl.log", regexp.MustCompile(`(?m)^\d{4}`).ReplaceAllString(string(log), "2001"))
	if s := v.see(); s.OnPurpose != "" { // the host's shutdown stops them all
		v.Errorf("stopped before the host booted: %+v", s)
	}
	v.WriteFile("/var/log/vzctl.log", string(log))
	person(v.T, v.Host, "vzctl", "start", "101")
	v.Kill9("101")
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" || !strings.HasPrefix(s.Detail, "mounted") {
		v.Errorf("it died: %+v", s)
	}
	v.must(health.VerbStart)
	v.must(health.VerbStop)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("we stopped it: %+v", s)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["fails"] = "start-template" })
	v.do(health.VerbStart)
	if s := v.see(); s.OnPurpose != "" {
		v.Errorf("its start failed: %+v", s)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["fails"], c.Keys["disabled"] = "", "true" })
	if s := v.see(); s.Autostart != health.No || !strings.Contains(s.OnPurpose, "DISABLED") {
		v.Errorf("disabled: %+v", s)
	}
	v.Update("101", func(c *scripted.Container) { c.Keys["onboot"] = "null" })
	if s := find(v.T, list(v.T, v.i), "101"); s.Autostart != health.No {
		v.Errorf("disabled, onboot unset: %+v", s)
	}
}

func (v *vzTest) addressKinds() {
	for _, want := range [][]string{{"10.0.0.1"}, {"2001:db8::1"}, {"10.0.0.1", "10.0.0.2", "2001:db8::1"}, {}} {
		v.Update("101", func(c *scripted.Container) { c.Addrs = want })
		v.both(fmt.Sprint(want), func(s health.Sighting) bool {
			got := []string{}
			for _, a := range s.Addrs {
				got = append(got, a.Prefix.Addr().String())
			}
			return slices.Equal(got, want)
		})
	}
}

// poweroff: a guest that halts itself leaves no word in the log; vzeventd unmounts it. Nobody stopped it, as far as is known.
func (v *vzTest) poweroff() {
	v.see()
	v.Update("101", func(c *scripted.Container) { v.End(c); c.State = "stopped" })
	v.both("powered off", func(s health.Sighting) bool { return s.State == health.Stopped && s.OnPurpose == "" && s.Detail == "" })
	if !slices.ContainsFunc(v.i.Blind(), func(s string) bool { return strings.Contains(s, "powers itself off") }) {
		v.Errorf("it is not said: %q", v.i.Blind())
	}
}

// takesOver: another agent has stopped one, and was gone while others died and were stopped.
func (v *vzTest) takesOver() {
	dir := v.TempDir()
	first := openIn(v.T, engine.Spec{Engine: "openvz", Bin: v.Bin(), Root: v.Root()}, dir)
	for _, name := range []string{"paused", "died", "byhand", "ours"} {
		v.Make(name, made{autostart: true})
		v.Run(name)
	}
	list(v.T, first)
	if a := first.Do(context.Background(), health.VerbStop, v.ID("ours"), 0); a.Err != "" {
		v.Fatalf("%+v", a)
	}
	v.Freeze("paused")
	v.Die("died")
	person(v.T, v.Host, "vzctl", "stop", v.ID("byhand"))
	v.i = openIn(v.T, engine.Spec{Engine: "openvz", Bin: v.Bin(), Root: v.Root()}, dir)
	for name, want := range map[string]struct {
		state   health.RunState
		purpose bool
	}{"web1": {health.Running, false}, "paused": {health.Paused, false}, "died": {health.Stopped, false}, "byhand": {health.Stopped, true}, "ours": {health.Stopped, false}} {
		v.id = v.ID(name)
		v.both(name, func(s health.Sighting) bool { return s.State == want.state && (s.OnPurpose != "") == want.purpose })
	}
}

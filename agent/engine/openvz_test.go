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
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/scripted"
)

// vzTest is one container, 101, that runs, on a scripted OpenVZ of its own.
type vzTest struct {
	*testing.T
	*openvzYard
	i *engine.Instance
}

func scriptedOpenVZ(t *testing.T) {
	for name, run := range map[string]func(*vzTest){
		"neither start nor stop nor restart": (*vzTest).seed, "causes": (*vzTest).causes, "broken host": (*vzTest).brokenHost,
		"invalid JSON": (*vzTest).invalidJSON, "private area gone": (*vzTest).vanishes, "died or stopped": (*vzTest).whoStopped,
		"locks": (*vzTest).locks, "beancounters": (*vzTest).beancounters, "faults": (*vzTest).faults, "starts that lie": (*vzTest).lies,
		"one process": (*vzTest).oneProcess, "strange words": (*vzTest).strangeWords, "attribution": (*vzTest).attribution,
		"guest reboot": (*vzTest).reboots, "dead": (*vzTest).lookAtDead, "other starts": (*vzTest).otherStarts, "evidence": (*vzTest).keeps,
		"over ssh": (*vzTest).farAway, "our own lock": (*vzTest).ownLock, "exec": (*vzTest).execs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newOpenVZYard(t).(*openvzYard)
			y.Make("web1", made{autostart: true})
			y.Run("web1")
			run(&vzTest{t, y, y.Open(t)})
		})
	}
}

// person runs a command of vzctl as somebody at the keyboard would.
func (v *vzTest) person(argv ...string) string {
	v.Helper()
	out, err := exec.Command(filepath.Join(v.Bin(), argv[0]), argv[1:]...).CombinedOutput()
	if err != nil {
		v.Fatalf("%q: %v: %s", argv, err, out)
	}
	return string(out)
}

func (v *vzTest) do(verb health.Verb) engine.Answer {
	return v.i.Do(context.Background(), verb, "101", 0)
}

func (v *vzTest) must(verb health.Verb) {
	v.Helper()
	if a := v.do(verb); a.Err != "" || a.Already {
		v.Fatalf("%s: %+v", verb, a)
	}
}

func (v *vzTest) see() health.Sighting { v.Helper(); return look(v.T, v.i, "101") }

// seed is the story that the project was born from, as samples/vzctl-cannot-stop-or-restart.txt has it: a container that
// can neither be started nor stopped nor restarted, while its status says that it runs.
func (v *vzTest) seed() {
	v.Kill9("101")
	v.Update("101", func(c *scripted.Container) { c.Says, c.Keys["stuck"] = "running", "1" })
	if s := v.see(); s.State != health.Unknown || !strings.Contains(s.Detail, "just ending") {
		v.Errorf("at first: %+v", s)
	}
	if a := v.do(health.VerbStart); !a.Already || a.Err != "" || a.Transcript.Exit != 32 {
		v.Errorf("start: %+v", a)
	}
	const cause = "Failed to wait for CT tasks to die (exit 33: it cannot be stopped)"
	if a := v.do(health.VerbKill); a.Transcript.Exit != 33 || a.Cause != cause {
		v.Errorf("kill: %+v", a)
	}
	if a := v.do(health.VerbRestart); a.Transcript.Exit != 33 || a.Cause != cause {
		v.Errorf("restart: %+v", a)
	}
	for _, s := range []health.Sighting{v.see(), find(v.T, list(v.T, v.i), "101")} {
		if s.State != health.Broken || s.Init.PID != 0 || !strings.Contains(s.Detail, "can be neither started nor stopped") {
			v.Errorf("nothing helps: %+v", s)
		}
	}
	v.Update("101", func(c *scripted.Container) { c.Says, c.Keys["stuck"] = "", "" }) // the obstacle is gone
	if s := v.see(); s.State != health.Stopped || !strings.HasPrefix(s.Detail, "mounted") || s.OnPurpose != "" {
		v.Errorf("afterwards: %+v", s)
	}
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Running || s.Init.PID != v.InitPID("web1") {
		v.Errorf("healed: %+v", s)
	}
}

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

func (v *vzTest) brokenHost() {
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-broken-host"})
	_, err := v.i.List(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "printed nothing") || !strings.Contains(err.Error(), "/proc/vz/veinfo") {
		v.Errorf("list: %v", err)
	}
	if s, err := v.i.Look(context.Background(), "101", health.Process{}); err == nil {
		v.Errorf("look: %+v", s)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-none"})
	if l, err := v.i.List(context.Background(), nil); err == nil {
		v.Errorf("no containers, and a configuration: %+v", l)
	}
	v.Heal()
	v.DestroyVZ("101")
	if l := list(v.T, v.i); len(l.Containers) != 0 {
		v.Errorf("%+v", l)
	}
}

// invalidJSON is samples/vzlist-unescaped-quote.INVALID.json: vzlist does not escape what it prints.
func (v *vzTest) invalidJSON() {
	for id, c := range map[string]scripted.Container{
		"102": {Name: `19" rack`, Keys: map[string]string{"onboot": "true"}}, "103": {State: "suspended"},
		"104": {State: "mounted", Keys: map[string]string{"onboot": "false", "disabled": "true"}},
	} {
		c.ID = id
		v.AddVZ(c)
	}
	l := list(v.T, v.i)
	if web1 := find(v.T, l, "101"); web1.State != health.Running || web1.Name != "web1" || len(web1.Addrs) != 2 || web1.Autostart != health.Yes || web1.Mark == "" {
		v.Errorf("%+v", web1)
	}
	if s := find(v.T, l, "102"); s.State != health.Stopped || s.Name != `19" rack` || s.Autostart != health.Yes {
		v.Errorf("%+v", s)
	}
	if s := find(v.T, l, "103"); s.State != health.Paused || s.Detail != "suspended" || s.Autostart != health.Maybe {
		v.Errorf("%+v", s)
	}
	if s := find(v.T, l, "104"); s.State != health.Stopped || s.Autostart != health.No || !strings.Contains(s.OnPurpose, "DISABLED") {
		v.Errorf("%+v", s)
	}
	if len(l.Notes) != 1 || len(list(v.T, v.i).Notes) != 0 {
		v.Errorf("notes %q, and again %q", l.Notes, list(v.T, v.i).Notes)
	}
	if s := look(v.T, v.i, "102"); s.State != health.Stopped || s.Name != `19" rack` {
		v.Errorf("look: %+v", s)
	}
}

func (v *vzTest) vanishes() {
	v.Make("web2", made{})
	v.RemoveFile(scripted.VZPrivate("102"))
	if s := peek(list(v.T, v.i), "102"); s != nil || !v.i.Defined("102") {
		v.Errorf("%+v, defined %v", s, v.i.Defined("102"))
	}
	if s := look(v.T, v.i, "102"); s.State != health.Missing || !strings.Contains(s.Detail, "private area") {
		v.Errorf("%+v", s)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "102", 0); a.Transcript.Exit != 43 || !strings.Contains(a.Cause, "/vz/private/102 does not exist") {
		v.Errorf("%+v", a)
	}
	v.RemoveFile(scripted.VZPrivate("101"))
	if s := v.see(); s.State != health.Running { // a running one is shown
		v.Errorf("%+v", s)
	}
	v.DestroyVZ("102")
	if s := look(v.T, v.i, "102"); s.State != health.Removed || v.i.Defined("102") {
		v.Errorf("destroyed: %+v", s)
	}
}

func (v *vzTest) whoStopped() {
	v.person("vzctl", "stop", "101")
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
	v.person("vzctl", "start", "101")
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

func (v *vzTest) locks() {
	lock := func(text string) *health.Lock {
		v.WriteFile("/vz/lock/101.lck", text)
		s := v.see()
		if l := find(v.T, list(v.T, v.i), "101").Lock; (l == nil) != (s.Lock == nil) {
			v.Errorf("list %+v, look %+v", l, s.Lock)
		}
		return s.Lock
	}
	holder := exec.Command("/bin/sleep", "300")
	if err := holder.Start(); err != nil {
		v.Fatal(err)
	}
	defer func() { _, _ = holder.Process.Kill(), holder.Wait() }()
	pid := holder.Process.Pid
	l := lock(fmt.Sprintf("%d\n\n", pid))
	if l == nil || l.Dead || l.Holder.PID != pid || l.Holder.Start == 0 || l.Operation != "/bin/sleep 300" || time.Since(l.Since) > time.Minute {
		v.Errorf("held: %+v", l)
	}
	if a := v.do(health.VerbKill); a.Transcript.Exit != 9 || a.Cause != fmt.Sprintf("Locked by: pid %d, cmdline /bin/sleep 300 (exit 9: an operation holds its lock)", pid) {
		v.Errorf("kill of a locked one: %+v", a)
	}
	if l := lock(fmt.Sprintf("%d\nbackup\n", pid)); l == nil || l.Dead || l.Operation != "backup" {
		v.Errorf("with an action: %+v", l)
	}
	// Another process has got the number since: the lock is older than it.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(v.File("/vz/lock/101.lck"), old, old); err != nil {
		v.Fatal(err)
	}
	if l := v.see().Lock; l == nil || !l.Dead {
		v.Errorf("reused pid: %+v", l)
	}
	if l := lock("4194305\nbackup\n"); l == nil || !l.Dead || l.Operation != "backup" { // beyond the highest pid there is
		v.Errorf("dead holder: %+v", l)
	}
	v.Kill9("101")
	v.must(health.VerbStart) // vzctl removes a stale lock by itself
	for _, garbage := range []string{"", "garbage", "-5\n\n", "\x00\n"} {
		if l := lock(garbage); l != nil {
			v.Errorf("%q: %+v", garbage, l)
		}
	}
}

// ubc is /proc/user_beancounters as FACTS §1 describes it.
const ubc = "Version: 2.5\n       uid  resource  held  maxheld  barrier  limit  failcnt\n" +
	"      101:  kmemsize  2752512  3145728  14372700  14790164  0\n            privvmpages  40000  65536  65536  69632  %d\n" +
	"            dummy  0  0  0  0  0\n        0:  kmemsize  1  1  1  9223372036854775807  77\n"

func (v *vzTest) beancounters() {
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 17))
	if s := v.see(); s.State != health.Running || s.Detail != "" {
		v.Errorf("at first: %+v", s)
	}
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 23))
	if s := v.see(); s.State != health.Running || s.Detail != "its beancounters refused since it was first seen: privvmpages 6 times" {
		v.Errorf("refused: %+v", s)
	}
	v.must(health.VerbRestart)
	if s := v.see(); s.Detail != "" {
		v.Errorf("a new life: %+v", s)
	}
}

func (v *vzTest) faults() {
	i := open(v.T, engine.Spec{Engine: "openvz", Bin: v.Bin(), Root: v.Root(), Timeout: 200 * time.Millisecond})
	for _, f := range []scripted.Fault{{Do: scripted.Hang}, {Do: scripted.Garble}, {Do: scripted.Flood}, {Do: scripted.Empty}, {Do: scripted.Answer, Reply: "list-notfound"}} {
		f.On = "vzlist"
		v.Fault(f)
		use := v.i
		if f.Do == scripted.Hang {
			use = i
		}
		if l, err := use.List(context.Background(), nil); err == nil {
			v.Errorf("%s: %+v", f.Do, l)
		}
		v.Heal()
	}
	if l := list(v.T, v.i); len(l.Containers) != 1 {
		v.Errorf("healed: %+v", l)
	}
}

func (v *vzTest) lies() {
	v.must(health.VerbKill)
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Answer, Reply: "start"})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped {
		v.Errorf("vzctl start lied: %+v", s)
	}
	v.Fault(scripted.Fault{On: "vzctl start", Do: scripted.Die})
	v.must(health.VerbStart)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("its init died at once: %+v", s)
	}
}

func (v *vzTest) oneProcess() {
	for n := range 50 {
		v.AddVZ(scripted.Container{ID: fmt.Sprint(200 + n)})
	}
	before := len(v.Calls())
	l := list(v.T, v.i)
	if calls := v.Calls()[before:]; len(l.Containers) != 51 || len(calls) != 1 || calls[0][0] != "vzlist" {
		v.Errorf("%d containers, %q", len(l.Containers), calls)
	}
	if strings.Contains(strings.Join(v.Calls()[before], " "), "description") {
		v.Error("the description is asked for")
	}
}

func (v *vzTest) strangeWords() {
	v.Update("101", func(c *scripted.Container) { c.Says = "hibernating" })
	l := list(v.T, v.i)
	if s := find(v.T, l, "101"); s.State != health.Unknown || !strings.Contains(s.Detail, "hibernating") || len(l.Notes) != 1 {
		v.Errorf("%+v, notes %q", s, l.Notes)
	}
	if l := list(v.T, v.i); len(l.Notes) != 0 {
		v.Errorf("told again: %q", l.Notes)
	}
}

func (v *vzTest) attribution() {
	for line, want := range map[string]string{
		"vzctl stop 101": "101 stop", "vzctl stop 101 --fast": "101 kill", "/usr/sbin/vzctl --skiplock stop web1 --fast": "101 kill",
		"vzctl restart 101": "101 restart", "vzctl destroy 101": "101 remove", "vzctl chkpnt 101 --suspend": "101 stop",
		"vzctl snapshot 101 --skip-suspend": "101 snapshot", "vzmigrate --online host2 101": "101 move", "vzdump --suspend 101": "101 snapshot",
		"vzctl exec 101 halt": "", "vzctl enter 101": "", "vzctl status 101": "", "vzlist 101": "", "vzctl stop nosuch": "", "vzctl stop ../101": "", "vzctl": "",
	} {
		id, verb, ok := v.i.Meaning(strings.Fields(line))
		if got := strings.TrimSpace(id + " " + string(verb)); ok != (want != "") || ok && got != want {
			v.Errorf("%s: %q %v, want %q", line, got, ok, want)
		}
	}
	if !slices.Contains(v.i.Files(), "/usr/sbin/vzctl") {
		v.Errorf("%q", v.i.Files())
	}
}

func (v *vzTest) reboots() {
	before := v.see().Init
	v.Update("101", func(c *scripted.Container) { v.End(c) })
	v.StartVZ("101")
	if s := v.see(); s.State != health.Running || s.Init == before || s.Init.PID != v.InitPID("web1") {
		v.Errorf("%+v after %+v", s, before)
	}
}

func (v *vzTest) lookAtDead() {
	s := find(v.T, list(v.T, v.i), "101")
	v.Kill9("101")
	before := len(v.Calls())
	dead, err := v.i.Look(context.Background(), "101", s.Init)
	if err != nil || dead.State != health.Stopped || dead.Mark != s.Mark || dead.Config != s.Config || dead.Autostart != health.Yes || dead.Name != "web1" {
		v.Errorf("%+v, %v; before: %+v", dead, err, s)
	}
	if calls := v.Calls()[before:]; len(calls) != 0 {
		v.Errorf("processes were started on the way to the healing: %q", calls)
	}
	v.WriteFile("/vz/dump/Dump.101", "") // a suspend puts a container away like that
	v.Update("101", func(c *scripted.Container) { c.Says = "suspended" })
	if s, err := v.i.Look(context.Background(), "101", s.Init); err != nil || s.State != health.Paused {
		v.Errorf("suspended: %+v, %v", s, err)
	}
}

func (v *vzTest) otherStarts() {
	for id, state := range map[string]string{"105": "mounted", "106": "suspended"} {
		v.AddVZ(scripted.Container{ID: id, State: state, Keys: map[string]string{"private": "/srv/p/" + id}})
		if s := look(v.T, v.i, id); s.Mark == "" {
			v.Errorf("its private area is elsewhere, and not looked at: %+v", s)
		}
		if a := v.i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" || a.Already {
			v.Errorf("start of what is %s: %+v", state, a)
		}
		awaitState(v.T, v.i, id, health.Running)
	}
}

func (v *vzTest) keeps() {
	v.WriteFile("/proc/user_beancounters", fmt.Sprintf(ubc, 0))
	v.WriteFile("/vz/lock/101.lck", "1\nbackup\n")
	var names []string
	for _, s := range v.i.Evidence("101", health.Sighting{}) {
		names = append(names, s.Name)
		if s.Path != "" && !strings.HasPrefix(s.Path, v.Root()) {
			v.Errorf("%+v is outside of the root", s)
		}
	}
	if want := "vzlist.json vz-lock.txt user_beancounters.txt vz-container.conf vzctl.log vz.conf"; strings.Join(names, " ") != want {
		v.Errorf("%q", names)
	}
	if v.i.Place() == "" || len(v.i.Blind()) == 0 || len(v.i.Version()) == 0 {
		v.Error("place, blind spots or version are missing")
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

func (v *vzTest) execs() {
	for _, argv := range [][]string{{"echo", "it's", "$HOME"}, {"printf", "%s|", "a b", "", "--x"}} {
		out := v.i.Exec(context.Background(), "101", argv, time.Minute)
		want, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil || string(out.Stdout) != string(want) || out.Exit != 0 {
			v.Errorf("%q: %q, exit %d, want %q (%v)", argv, out.Stdout, out.Exit, want, err)
		}
	}
}

// elsewhere is a Runner to another host, the scripted one: paths on its command lines are that host's.
type elsewhere struct {
	engine.Runner
	root string
}

func (e elsewhere) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	c.Argv = slices.Clone(c.Argv)
	for n, a := range c.Argv {
		if n > 0 && (strings.HasPrefix(a, "/vz/") || strings.HasPrefix(a, "/var/log/")) {
			c.Argv[n] = filepath.Join(e.root, a)
		}
	}
	return e.Runner.Read(ctx, c)
}

func openElsewhere(t *testing.T, h *scripted.Host, name string) *engine.Instance {
	t.Helper()
	r := elsewhere{hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect}), h.Root()}
	i, err := engine.Open(engine.Spec{Engine: name, SSH: "root@old", Bin: h.Bin(), RunDir: t.TempDir()}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// farAway is where most of OpenVZ is: on a host whose kernel is too old for the agent.
func (v *vzTest) farAway() {
	v.i = openElsewhere(v.T, v.Host, "openvz")
	v.Make("web2", made{})
	l := list(v.T, v.i)
	if s := find(v.T, l, "101"); s.State != health.Running || s.Name != "web1" || s.Autostart != health.Yes || s.Init.PID != 0 || len(s.Addrs) != 2 {
		v.Errorf("%+v", s)
	}
	v.RemoveFile(scripted.VZPrivate("102"))
	if s := look(v.T, v.i, "102"); s.State != health.Missing {
		v.Errorf("vanished: %+v", s)
	}
	if s := look(v.T, v.i, "999"); s.State != health.Missing {
		v.Errorf("nobody: %+v", s)
	}
	v.Kill9("101")
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	v.must(health.VerbStop)
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("we stopped it: %+v", s)
	}
	v.must(health.VerbStart)
	v.see()
	v.person("vzctl", "stop", "101")
	if s := v.see(); !strings.Contains(s.OnPurpose, "Stopping container") {
		v.Errorf("a person stopped it: %+v", s)
	}
	v.WriteFile("/vz/lock/101.lck", fmt.Sprintf("%d\nbackup\n", os.Getpid()))
	if l := v.see().Lock; l == nil || l.Dead || l.Operation != "backup" {
		v.Errorf("locked: %+v", l)
	}
	v.WriteFile("/vz/lock/101.lck", "4194305\n\n")
	if l := v.see().Lock; l == nil || !l.Dead {
		v.Errorf("stale: %+v", l)
	}
	for _, s := range v.i.Evidence("101", health.Sighting{}) {
		if s.Path != "" || strings.Contains(strings.Join(s.Argv, " "), "another-host") {
			v.Errorf("%+v", s)
		}
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-broken-host"})
	if l, err := v.i.List(context.Background(), nil); err == nil {
		v.Errorf("broken: %+v", l)
	}
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Answer, Reply: "list-none"})
	if l := list(v.T, v.i); len(l.Containers) != 0 {
		v.Errorf("none: %+v", l)
	}
}

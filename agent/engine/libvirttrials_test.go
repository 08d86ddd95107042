package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What both drivers of libvirt are tried with alike, on a libvirtd of their own: web1 and web2 run, and a trial leaves them so.
// Of the VMs only web1 has a system, since each boot takes seconds under TCG; all else is done to such as hold firmware alone.

const (
	virtNoTemplates = "libvirt has no templates, and a definition is there as a whole or not at all."
	virtNoStale     = "Its locks live in its daemon, and end with it."
)

type virtTrial = func(*testing.T, *rig.Libvirt)

func virtBy(tests ...virtTrial) stand[*rig.Libvirt] {
	var s stand[*rig.Libvirt]
	for _, run := range tests {
		s.by = append(s.by, func(r *rig.Libvirt, t *testing.T) { run(t, r.With(t)) })
	}
	return s
}

// virtCheap is a domain that costs little, and does nothing.
func virtCheap(r *rig.Libvirt) rig.LibvirtOptions {
	return rig.LibvirtOptions{Firmware: true, NoNetwork: r.Driver() == "qemu"}
}

// virtRun makes and starts such ones, and removes them when the test is over.
func virtRun(t *testing.T, r *rig.Libvirt, names ...string) {
	t.Helper()
	for _, name := range names {
		virtDefine(t, r, name, virtCheap(r))
		r.Start(name)
	}
}

func virtDefine(t *testing.T, r *rig.Libvirt, name string, o rig.LibvirtOptions) {
	t.Helper()
	r.Make(name, o)
	t.Cleanup(func() { r.Remove(name) })
}

// Both connections of a host are found by one process; the LXC driver, which comes with libvirt, only where it has a
// container, and nothing where no daemon has a socket, or none answers.
func virtFound(want string) virtTrial {
	return func(t *testing.T, r *rig.Libvirt) {
		w := &watched{Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})}
		found := func(root string) (names string) {
			uri := func(driver string) string {
				return driver + "+unix:///system?socket=" + filepath.Join(root, "run/libvirt/libvirt-sock")
			}
			for _, s := range engine.DiscoverLibvirtBelow(t.Context(), w, root, []engine.Spec{{Engine: "libvirt", URI: uri("nosuch")}, {Engine: "libvirt", URI: uri("qemu")}, {Engine: "libvirt", Instance: "lxc", URI: uri("lxc")}}) {
				names += " " + s.URI[:strings.Index(s.URI, "+")]
			}
			return names
		}
		if got := found(r.Root()); got != want || w.reads.Load() != 1 {
			t.Errorf("found%s by %d processes, want%s", got, w.reads.Load(), want)
		}
		dead := t.TempDir()
		if got := found(dead); got != "" {
			t.Errorf("found%s where no daemon has a socket", got)
		}
		if err := os.MkdirAll(filepath.Join(dead, "run/libvirt"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dead, "run/libvirt/libvirt-sock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := found(dead); got != "" {
			t.Errorf("found%s where no daemon answers", got)
		}
	}
}

// A daemon that cannot read a definition when it starts does not know the domain any more.
func virtMissing(t *testing.T, r *rig.Libvirt) {
	virtDefine(t, r, "gone", virtCheap(r))
	i, _ := libvirtOpen(t, r, 0)
	was := list(t, i)
	find(t, was, "gone")
	r.KillDaemon()
	if err := os.WriteFile(r.Definition("gone"), []byte("<domain"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	l := list(t, i)
	if s := peek(l, "gone"); s != nil || !i.Defined("gone") {
		t.Errorf("%+v, defined %v", s, i.Defined("gone"))
	}
	if s := look(t, i, "gone"); s.State != health.Missing || !strings.Contains(s.Detail, "could not read it") {
		t.Errorf("%+v", s)
	}
	if find(t, l, "web1").Init != find(t, was, "web1").Init {
		t.Error("web1 is another")
	}
	if err := os.Remove(r.Definition("gone")); err != nil {
		t.Fatal(err)
	}
	if s := look(t, i, "gone"); s.State != health.Removed || i.Defined("gone") {
		t.Errorf("its definition is gone too: %+v", s)
	}
}

// A definition that was garbled under a running domain: it runs on, also when the daemon starts anew, and is nobody else's.
// When it dies it is missing, and a start is refused.
func virtBreaks(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "web3")
	whole, err := os.ReadFile(r.Definition("web3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Definition("web3"), whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if s := find(t, list(t, i), "web3"); s.State != health.Running || s.Init != was.Init {
		t.Errorf("with a broken definition: %+v", s)
	}
	r.KillDaemon()
	r.StartDaemon()
	if s := find(t, list(t, i), "web3"); s.State != health.Running || s.Init != was.Init || s.Supervisor != "" || !strings.Contains(s.Detail, "cannot be started again") {
		t.Errorf("after a restart of the daemon: %+v", s)
	}
	r.Kill9("web3")
	awaitState(t, i, "web3", health.Missing)
	if a := i.Do(context.Background(), health.VerbStart, "web3", 0); a.Err == "" || !strings.Contains(a.Cause, "web3") {
		t.Errorf("a start into the void: %+v", a)
	}
}

func virtDaemonStopped(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	was := list(t, i)
	r.KillDaemon()
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "failed to connect") {
		t.Errorf("a daemon that is gone: %+v, %v", l, err)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("a look without a daemon: %+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err == "" || a.Already || !strings.Contains(a.Cause, "Failed to connect socket") {
		t.Errorf("a start without a daemon: %+v", a)
	}
	r.StartDaemon()
	virtAsBefore(t, was, list(t, i))
}

// virtAsBefore holds that all run that ran, by the same init.
func virtAsBefore(t *testing.T, was, is engine.Listing) {
	t.Helper()
	for _, s := range was.Containers {
		if now := find(t, is, s.Ref.ID); now.State != s.State || now.Init != s.Init {
			t.Errorf("before %+v\nnow %+v", s, now)
		}
	}
}

func virtDaemonHung(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, time.Second)
	was := list(t, i)
	r.HangDaemon()
	began := time.Now()
	if l, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is stopped: continue it") {
		t.Errorf("a daemon that hangs: %+v, %v", l, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s, and the limit is a second", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s, err := i.Look(ctx, "web1", health.Process{}); err == nil {
		t.Errorf("a look at a daemon that hangs: %+v", s)
	}
	r.ResumeDaemon()
	virtAsBefore(t, was, list(t, i))
}

func virtDaemonAnew(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	was := list(t, i)
	gone := make(chan error, 1)
	go func() { gone <- i.Events(context.Background(), func(string) {}) }()
	r.KillDaemon()
	select {
	case err := <-gone:
		if err == nil {
			t.Error("the stream ended well, and its daemon was killed")
		}
	case <-time.After(20 * time.Second):
		t.Error("the stream outlives its daemon")
	}
	r.StartDaemon()
	virtAsBefore(t, was, list(t, i))
	virtHears(t, r, i)
	slow, _ := libvirtOpen(t, r, 0)
	virtAsBefore(t, was, list(t, slow))
}

// virtHears holds that the events of what is known and of what is not known are followed.
func virtHears(t *testing.T, r *rig.Libvirt, i *engine.Instance) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var got []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = i.Events(ctx, func(id string) { mu.Lock(); got = append(got, id); mu.Unlock() })
	}()
	heard := func(id string) bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(got, id) }
	eventually(t, "an event of what was done to web2", func() bool {
		_, _ = r.Try("suspend", "web2")
		_, _ = r.Try("resume", "web2")
		return heard("web2")
	})
	r.Make("new", virtCheap(r))
	eventually(t, "an event of what is not known yet", func() bool { return heard("") })
	r.Remove("new")
	cancel()
	<-ended
}

// A hook that hangs holds its domain, and every list with it. The others are listed, also by an agent that has never seen
// them, and looked at; the culprit is named, and asked again when libvirt tells of it.
func virtHookHangs(t *testing.T, r *rig.Libvirt) {
	i, w := libvirtOpen(t, r, 2*time.Second)
	gate := filepath.Join(t.TempDir(), "gate")
	virtDefine(t, r, "slow", virtCheap(r))
	list(t, i)
	r.Hook(fmt.Sprintf("[ \"$1 $2\" = 'slow prepare' ] || exit 0\n: >%s.in\nuntil [ -e %s ]; do sleep 0.05; done\n", gate, gate))
	defer r.Hook("")
	limit := time.Minute
	if r.Driver() == "lxc" {
		limit = time.Second // and the ten of its slack: its success is late, and must be none the less
	}
	done := make(chan engine.Answer, 1)
	go func() { done <- i.Do(context.Background(), health.VerbStart, "slow", limit) }()
	defer func() { _ = os.WriteFile(gate, nil, 0o600) }()
	eventually(t, "it is being started", func() bool { _, err := os.Stat(gate + ".in"); return err == nil })
	began := time.Now()
	virtOthersSeen(t, list(t, i))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the list took %s", took)
	}
	if s := look(t, i, "web2"); s.State != health.Running {
		t.Errorf("%+v", s)
	}
	before := w.reads.Load()
	if virtOthersSeen(t, list(t, i)); w.reads.Load()-before != 1 {
		t.Errorf("with the culprit known, a list took %d processes", w.reads.Load()-before)
	}
	other, _ := libvirtOpen(t, r, time.Second)
	virtOthersSeen(t, list(t, other))

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = i.Events(ctx, func(string) {}) }()
	defer func() { cancel(); <-ended }()
	if limit == time.Second {
		if a := <-done; !a.Transcript.TimedOut || !strings.Contains(a.Cause, "gives no answer") {
			t.Errorf("a start that hangs: %+v", a)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if limit == time.Minute {
		if a := <-done; a.Err != "" {
			t.Errorf("%+v", a)
		}
	}
	eventually(t, "it is listed as the others", func() bool {
		l, err := i.List(context.Background(), nil)
		s := peek(l, "slow")
		return err == nil && l.Degraded == "" && s != nil && s.State == health.Running
	})
}

func virtOthersSeen(t *testing.T, l engine.Listing) {
	t.Helper()
	if find(t, l, "web1").State != health.Running || find(t, l, "web2").State != health.Running {
		t.Errorf("the others are no longer seen: %+v", l.Containers)
	}
	if s := find(t, l, "slow"); s.State != health.Unknown || !strings.Contains(l.Degraded, `"slow"`) || !strings.Contains(s.Detail, "no answer about it") {
		t.Errorf("%q, %+v", l.Degraded, s)
	}
}

// A stopped controller, or a stopped qemu, hangs nothing and is named.
func virtFrozen(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 5*time.Second)
	pid := r.InitPID("web2")
	if r.Driver() == "lxc" {
		pid = r.ControllerPID("web2")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{})
	go func() { // keeps the domain's job, as whoever asks its monitor does
		defer close(waits)
		_, _ = r.Try("qemu-monitor-command", "web2", "--hmp", "info status")
	}()
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT); <-waits }()
	for range 2 {
		l := list(t, i)
		if s := find(t, l, "web2"); s.State != health.Running || !strings.Contains(s.Detail, fmt.Sprintf("kill -CONT %d", pid)) || find(t, l, "web1").State != health.Running {
			t.Errorf("%+v", l.Containers)
		}
		if s := look(t, i, "web2"); s.State != health.Running {
			t.Errorf("%+v", s)
		}
	}
}

// Those that another looks after say so: by the metadata that a cloud writes, or because nobody but its creator could make a
// transient domain again.
func virtOthers(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	o := virtCheap(r)
	o.Raw = `<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>x</nova:name></nova:instance></metadata>`
	virtDefine(t, r, "cloud", o)
	virtRun(t, r, "passing")
	r.Virsh("undefine", "passing")
	l := list(t, i)
	if s := find(t, l, "cloud"); s.Supervisor != "OpenStack Nova" || !s.Elsewhere {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "passing"); s.State != health.Running || !strings.Contains(s.Supervisor, "transient domain") || s.Autostart != health.Maybe {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "web2"); s.Supervisor != "" {
		t.Errorf("%+v", s)
	}
	r.Virsh("destroy", "passing")
	if s := look(t, i, "passing"); s.State != health.Removed {
		t.Errorf("%+v", s)
	}
}

// virtLiar is an instance whose virsh is the real one, with its words put through sed.
func virtLiar(t *testing.T, r *rig.Libvirt) (i *engine.Instance, lie func(rules string)) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.sed")
	lie = func(text string) {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lie("")
	if err := os.WriteFile(filepath.Join(dir, "virsh"), []byte("#!/bin/sh\n/usr/bin/virsh \"$@\" | sed -f "+rules+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return open(t, engine.Spec{Engine: "libvirt", URI: r.URI(), Root: r.Root(), Bin: dir}), lie
}

// Words and fields that this version does not know, keys that stand there twice, numbers that are none: survived, and told
// once.
func virtStrange(t *testing.T, r *rig.Libvirt) {
	virtDefine(t, r, "off", virtCheap(r))
	i, lie := virtLiar(t, r)
	list(t, i)
	lie(`s/running (.*)/levitating (high)/
s/  running$/  levitating/
s/^  state.state=1$/  state.state=99/
/^  state.state=/p
s/^  state.reason=.*/  state.reason="5"/
/^  state.reason=/a\
  state.colour=red
/^Name:/a\
Shape:          round
/^Autostart:/p
`)
	for n := range 2 {
		l := list(t, i)
		if s := find(t, l, "web2"); s.State != health.Unknown {
			t.Errorf("%+v", s)
		}
		if s := find(t, l, "off"); s.State != health.Stopped || s.Autostart != health.No {
			t.Errorf("%+v", s)
		}
		if told := slices.ContainsFunc(l.Notes, func(n string) bool { return strings.Contains(n, "levitating") }); told != (n == 0) || len(l.Notes) > 1 {
			t.Errorf("list %d told %q", n, l.Notes)
		}
		if s := look(t, i, "web2"); s.State != health.Unknown || !strings.Contains(s.Detail, "levitating") {
			t.Errorf("%+v", s)
		}
	}
	lie("s/running (.*)/running (by magic)/\n")
	if s := look(t, i, "web2"); s.State != health.Running {
		t.Errorf("running, with a new reason: %+v", s)
	}
	lie("s/^@atalaya 3$/@atalaya 4/\n")
	if l, err := i.List(context.Background(), nil); err == nil {
		t.Errorf("garbled, and believed: %+v", l)
	}
	lie("")
	if s := find(t, list(t, i), "web2"); s.State != health.Running {
		t.Errorf("%+v", s)
	}
}

func virtCosts(t *testing.T, r *rig.Libvirt) {
	virtBooted(r) // so that addresses are known, and are not asked for again
	virtRun(t, r, "web3")
	if r.Driver() == "lxc" {
		r.WaitHTTP("web2", time.Minute)
		r.WaitHTTP("web3", time.Minute)
	}
	i, w := libvirtOpen(t, r, 0)
	processes := func() int64 {
		before := w.reads.Load()
		list(t, i)
		return w.reads.Load() - before
	}
	if n := processes(); n != 2 {
		t.Errorf("the first list took %d processes, want 2: one for all, one for the new", n)
	}
	if n := processes(); n != 1 {
		t.Errorf("a steady list took %d processes, want 1", n)
	}
	r.Virsh("destroy", "web3")
	if n := processes(); n != 2 {
		t.Errorf("a list after a change took %d processes, want 2", n)
	}
}

// An agent that begins finds what runs, what is paused, what died and what a person stopped while there was none.
func virtTakesOver(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "dies", "waits", "off")
	dead := r.Kill9("dies")
	r.Freeze("waits")
	r.Virsh("destroy", "off")
	i, _ := libvirtOpen(t, r, 0)
	eventually(t, "its end is seen", func() bool { return find(t, list(t, i), "dies").State == health.Stopped })
	l := list(t, i)
	for name, want := range map[string]health.RunState{"web1": health.Running, "web2": health.Running, "dies": health.Stopped, "waits": health.Paused, "off": health.Stopped} {
		s := find(t, l, name)
		if g := look(t, i, name); s.State != want || g.State != want || g.OnPurpose != s.OnPurpose || s.Init.PID == dead {
			t.Errorf("%s: %+v, then %+v", name, s, g)
		}
		if (s.OnPurpose != "") != (name == "off") {
			t.Errorf("%s: on purpose %q", name, s.OnPurpose)
		}
	}
}

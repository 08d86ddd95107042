package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

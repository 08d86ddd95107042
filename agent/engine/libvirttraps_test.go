package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What only libvirt does, on containers of a real one.
func TestLibvirtContainers(t *testing.T) {
	t.Parallel()
	r := libvirtRig(t, "lxc")
	for _, name := range []string{"web1", "web2"} {
		r.Make(name, rig.LibvirtOptions{})
		r.Start(name)
	}
	t.Run("one process a list", func(t *testing.T) { virtCosts(t, r.With(t)) })
	t.Run("who stopped it", func(t *testing.T) { virtIntents(t, r.With(t)) })
	t.Run("how it is asked to end", func(t *testing.T) { virtStops(t, r.With(t)) })
	t.Run("names", func(t *testing.T) { virtNames(t, r.With(t)) })
	t.Run("events", func(t *testing.T) { virtEvents(t, r.With(t)) })
	t.Run("what an event tells of", func(t *testing.T) { virtDirt(t, r.With(t)) })
	t.Run("a changed definition", func(t *testing.T) { virtChanges(t, r.With(t)) })
	t.Run("a killed controller", func(t *testing.T) { virtOrphans(t, r.With(t)) })
	t.Run("the daemon", func(t *testing.T) { virtDaemon(t, r.With(t)) })
}

// virtSpeak has the host speak to both, so that their addresses are known and are not asked for again.
func virtSpeak(r *rig.Libvirt) {
	r.WaitHTTP("web1", 20*time.Second)
	r.WaitHTTP("web2", 20*time.Second)
}

func virtCosts(t *testing.T, r *rig.Libvirt) {
	virtSpeak(r)
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
	r.Virsh("destroy", "web2")
	if n := processes(); n != 2 {
		t.Errorf("a list after a change took %d processes, want 2", n)
	}
	r.Start("web2")
}

func virtIntents(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	list(t, i)
	r.Virsh("destroy", "web2")
	if s := find(t, list(t, i), "web2"); s.State != health.Stopped || s.OnPurpose == "" || !strings.Contains(s.Detail, "destroyed") {
		t.Errorf("destroyed by a person: %+v", s)
	}
	r.Start("web2")
	awaitState(t, i, "web2", health.Running)
	if a := i.Do(context.Background(), health.VerbKill, "web2", 0); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, "web2"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("destroyed by us: %+v", s)
	}
	r.Start("web2")
	awaitState(t, i, "web2", health.Running)
	r.Virsh("destroy", "web2")
	if s := look(t, i, "web2"); s.OnPurpose == "" {
		t.Errorf("a person destroyed the life after the one that we ended: %+v", s)
	}
	r.Start("web2")
	if a := i.Do(context.Background(), health.VerbStop, "web2", 20*time.Second); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, "web2"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("stopped by us: %+v", s)
	}
	r.Start("web2")
	r.Kill9("web2")
	eventually(t, "web2 is off", func() bool { s := look(t, i, "web2"); return s.State == health.Stopped && s.OnPurpose == "" })
	r.Start("web2")
}

// An init that takes SIGTERM for a reboot is asked by the signal that it takes for a poweroff, and one that takes none is
// awaited and then told of.
func virtStops(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	r.Make("busybox", rig.LibvirtOptions{Init: "/sbin/init"})
	r.Make("deaf", rig.LibvirtOptions{Init: "/bin/httpd", Args: []string{"-f", "-p", "80"}})
	for name, heard := range map[string]bool{"busybox": true, "deaf": false} {
		r.Start(name)
		list(t, i)
		eventually(t, name+" serves", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root/proc/1", r.InitPID(name)))
			return err == nil
		})
		a := i.Do(context.Background(), health.VerbStop, name, map[bool]time.Duration{true: 30 * time.Second, false: time.Second}[heard])
		if (a.Err == "") != heard || heard != (look(t, i, name).State == health.Stopped) {
			t.Errorf("stop of %s: %+v; now %+v", name, a, look(t, i, name))
		}
		r.Remove(name)
	}
}

// A name may hold anything but a slash, and one that is a number is another's id to virsh.
func virtNames(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	number := fmt.Sprint(r.ControllerPID("web1")) // libvirt's id of a container
	odd := []string{"a b'c  running", "running", number, "shut off", `"; destroy web1; "`, "ünı"}
	for _, name := range odd {
		r.Make(name, rig.LibvirtOptions{})
	}
	l := list(t, i)
	for _, name := range odd {
		if s := find(t, l, name); s.State != health.Stopped {
			t.Errorf("%q: %+v", name, s)
		}
		if a := i.Do(context.Background(), health.VerbStart, name, 0); a.Err != "" || a.Already {
			t.Errorf("start of %q: %+v", name, a)
		}
		if s := look(t, i, name); s.State != health.Running {
			t.Errorf("%q was started: %+v", name, s)
		}
		if a := i.Do(context.Background(), health.VerbKill, name, 0); a.Err != "" {
			t.Errorf("kill of %q: %+v", name, a)
		}
		r.Virsh("undefine", find(t, l, name).Mark)
	}
	if s := look(t, i, "web1"); s.State != health.Running {
		t.Errorf("web1 was meant by none of them: %+v", s)
	}
}

func virtEvents(t *testing.T, r *rig.Libvirt) {
	virtSpeak(r)
	i, w := libvirtOpen(t, r, 0)
	list(t, i)
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
	r.Make("new", rig.LibvirtOptions{})
	eventually(t, "an event of what is not known yet", func() bool { return heard("") })
	r.Remove("new")
	list(t, i)
	cancel()
	<-ended
	steady := w.reads.Load()
	if list(t, i); w.reads.Load()-steady != 1 {
		t.Error("the list is not steady")
	}
}

// A container that was suspended and resumed between two lists runs in both of them; only an event tells that it is to be
// asked about.
func virtDirt(t *testing.T, r *rig.Libvirt) {
	virtSpeak(r)
	i, w := libvirtOpen(t, r, 0)
	list(t, i)
	ctx, cancel := context.WithCancel(context.Background())
	var once sync.Once
	heard, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = i.Events(ctx, func(string) { once.Do(func() { close(heard) }) })
	}()
	eventually(t, "an event", func() bool {
		_, _ = r.Try("suspend", "web2")
		_, _ = r.Try("resume", "web2")
		select {
		case <-heard:
			return true
		default:
			return false
		}
	})
	before := w.reads.Load()
	if list(t, i); w.reads.Load()-before != 2 {
		t.Error("what an event told of was not asked for")
	}
	cancel()
	<-ended
}

func virtChanges(t *testing.T, r *rig.Libvirt) {
	virtSpeak(r)
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "web2")
	r.Virsh("autostart", "web2")
	r.Virsh("setmaxmem", "web2", "65536", "--config")
	is := find(t, list(t, i), "web2")
	if was.Autostart != health.No || is.Autostart != health.Yes || was.Config == "" || was.Config == is.Config || was.Mark != is.Mark {
		t.Errorf("%+v, then %+v", was, is)
	}
}

// Where libvirt_lxc is killed while the daemon is away, the daemon calls a container off whose init lives, and would start a
// second one beside it.
func virtOrphans(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	init := find(t, list(t, i), "web2").Init
	r.KillDaemon()
	r.KillController("web2")
	r.StartDaemon()
	eventually(t, "libvirt calls it off", func() bool { return strings.HasPrefix(r.Virsh("domstate", "web2"), "shut off") })
	other, _ := libvirtOpen(t, r, 0) // never saw it run
	for who, s := range map[string]health.Sighting{"list": find(t, list(t, i), "web2"), "look": look(t, i, "web2"), "a new agent's look": look(t, other, "web2")} {
		if s.State != health.Unknown || !strings.Contains(s.Detail, fmt.Sprint(init.PID)) {
			t.Errorf("%s: %+v", who, s)
		}
	}
	if err := syscall.Kill(init.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitState(t, i, "web2", health.Stopped)
	r.Start("web2")
}

func virtDaemon(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, time.Second)
	list(t, i)
	r.HangDaemon()
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is stopped: continue it") {
		t.Errorf("a daemon that hangs: %v", err)
	}
	r.ResumeDaemon()
	list(t, i)
	gone := make(chan error, 1)
	go func() { gone <- i.Events(context.Background(), func(string) {}) }()
	r.KillDaemon()
	if _, err := i.List(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "failed to connect") {
		t.Errorf("a daemon that is gone: %v", err)
	}
	if s, err := i.Look(context.Background(), "web1", health.Process{}); err == nil {
		t.Errorf("a look without a daemon: %+v", s)
	}
	select {
	case err := <-gone:
		if err == nil {
			t.Error("the stream ended well, and its daemon was killed")
		}
	case <-time.After(20 * time.Second):
		t.Error("the stream outlives its daemon")
	}
	r.StartDaemon()
	slow, _ := libvirtOpen(t, r, 0)
	if s := find(t, list(t, slow), "web1"); s.State != health.Running || s.Init.PID != r.InitPID("web1") {
		t.Errorf("after a restart of the daemon: %+v", s)
	}
}

// What only VMs do. Each boot takes seconds under TCG, so all is done to two of them.
func TestLibvirtVMs(t *testing.T) {
	t.Parallel()
	r := libvirtRig(t, "qemu")
	i, w := libvirtOpen(t, r, 0)
	r.Make("full", rig.LibvirtOptions{Fill: true})
	r.MakeFull("full")
	r.Make("web1", rig.LibvirtOptions{})
	r.Start("full")
	r.Start("web1")
	r.WaitHTTP("web1", time.Minute)
	if n := w.reads.Load(); n != 0 {
		t.Fatalf("%d processes before anything was asked", n)
	}
	virtScreen(t, r, w)

	eventually(t, "the full disk stops its VM", func() bool { return find(t, list(t, i), "full").State == health.Broken })
	if s := look(t, i, "full"); s.State != health.Broken || !strings.Contains(s.Detail, "I/O error") || !strings.Contains(s.Detail, "vda: no space") || s.Init.PID == 0 {
		t.Errorf("a VM without room: %+v", s)
	}
	r.Virsh("destroy", "full")

	r.Virsh("managedsave", "web1")
	if s := find(t, list(t, i), "web1"); s.State != health.Stopped || s.Lock == nil || s.OnPurpose != "" {
		t.Errorf("saved: %+v, lock %+v", s, s.Lock)
	}
	r.Start("web1")
	r.WaitHTTP("web1", time.Minute)
	if s := look(t, i, "web1"); s.State != health.Running || s.Lock != nil {
		t.Errorf("restored: %+v", s)
	}
	if a := i.Do(context.Background(), health.VerbStop, "web1", time.Minute); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, "web1"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("powered off because we asked: %+v", s)
	}
	r.Start("web1")
	r.WaitHTTP("web1", time.Minute)
	awaitState(t, i, "web1", health.Running) // this life has been seen: its end is not that of the one we stopped
	r.Virsh("shutdown", "web1")
	awaitState(t, i, "web1", health.Stopped)
	if s := find(t, list(t, i), "web1"); s.OnPurpose == "" {
		t.Errorf("powered off: %+v", s)
	}
	r.Start("web1")
	awaitState(t, i, "web1", health.Running)
	if err := syscall.Kill(r.InitPID("web1"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitState(t, i, "web1", health.Stopped)
	if s := find(t, list(t, i), "web1"); s.OnPurpose != "" || !strings.Contains(s.Detail, "from outside, by process") {
		t.Errorf("its process was ended by us: %+v", s)
	}
	virtForgets(t, r)
}

// virtScreen takes the picture of a console as evidence would.
func virtScreen(t *testing.T, r *rig.Libvirt, w *watched) {
	i, _ := libvirtOpen(t, r, 0)
	var names []string
	for _, s := range i.Evidence("web1", find(t, list(t, i), "web1")) {
		names = append(names, s.Name)
		if len(s.Argv) == 0 {
			continue
		}
		out := w.Runner.Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 10 * time.Second, MaxOut: 1 << 20})
		if s.Name == "screenshot.png" && (!bytes.HasPrefix(out.Stdout, []byte("\x89PNG\r\n")) || !bytes.HasSuffix(out.Stdout, []byte("IEND\xaeB`\x82"))) {
			t.Errorf("the picture is %d bytes, %.40q, exit %d %q", len(out.Stdout), out.Stdout, out.Exit, out.Stderr)
		}
		if len(out.Stdout) == 0 {
			t.Errorf("%s is empty: %q", s.Name, out.Stderr)
		}
	}
	if want := []string{"screenshot.png", "libvirt-state.txt", "libvirt-domain.xml", "qemu.log", "console.log"}; !slices.Equal(names, want) {
		t.Errorf("evidence %q, want %q", names, want)
	}
}

// virtForgets: a daemon that restarts forgets why a VM is off; its log does not.
func virtForgets(t *testing.T, r *rig.Libvirt) {
	r.Start("web1")
	r.Virsh("destroy", "web1")
	r.KillDaemon()
	r.StartDaemon()
	if got := r.Virsh("domstate", "--reason", "web1"); got != "shut off (unknown)" {
		t.Logf("libvirt itself remembers: %q", got)
	}
	i, _ := libvirtOpen(t, r, 0)
	if s := find(t, list(t, i), "web1"); s.State != health.Stopped || s.OnPurpose == "" || !strings.Contains(s.Detail, "destroyed") {
		t.Errorf("destroyed before the daemon restarted: %+v", s)
	}
}

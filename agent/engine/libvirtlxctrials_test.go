package engine_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The trials of lxc:/// on a real libvirtd.
func libvirtLXCTrials() stager {
	return stages("libvirt lxc", virtContainers, nil, map[trial]stand[*rig.Libvirt]{
		found:         virtBy(virtFound(" qemu lxc")),
		missing:       virtBy(virtMissing),
		rebooted:      virtBy(virtReboots),
		ignores:       virtBy(virtStops),
		failsToStart:  virtBy(virtFails),
		startLies:     virtBy(virtLies),
		locked:        {never: "libvirt's containers can be neither saved, moved nor copied: nothing holds them."},
		staleLock:     {never: virtNoStale},
		daemonStopped: virtBy(virtDaemonStopped),
		daemonHung:    virtBy(virtDaemonHung),
		daemonAnew:    virtBy(virtDaemonAnew, virtDirt, virtOrphans),
		oneHangs:      virtBy(virtHookHangs, virtFrozen),
		renamed:       {never: "libvirt cannot rename a container."},
		halfMade:      {never: virtNoTemplates},
		breaks:        virtBy(virtBreaks, virtChanges),
		addresses:     virtBy(virtAddresses),
		whoStopped:    virtBy(virtIntents),
		others:        virtBy(virtOthers),
		strange:       virtBy(virtStrange, virtNames),
		oneProcess:    virtBy(virtCosts),
		takesOver:     virtBy(virtTakesOver),
		keeps:         virtBy(virtKeepsOfContainer),
	})
}

func virtContainers(t *testing.T) *rig.Libvirt {
	r := libvirtRig(t, "lxc")
	for _, name := range []string{"web1", "web2"} {
		r.Make(name, rig.LibvirtOptions{})
		r.Start(name)
	}
	return r
}

// A container that reboots has another init, and was never down for libvirt.
func virtReboots(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "web3")
	if out := i.Exec(context.Background(), "web3", []string{"/bin/reboot", "-f"}, 10*time.Second); out.Failure != "" {
		t.Fatalf("%+v", out)
	}
	eventually(t, "it runs again", func() bool {
		s := look(t, i, "web3")
		if s.State == health.Stopped || s.OnPurpose != "" {
			t.Errorf("%+v", s)
		}
		return s.State == health.Running && s.Init.PID != 0 && s.Init != was.Init
	})
	if s := find(t, list(t, i), "web3"); s.State != health.Running || s.Mark != was.Mark {
		t.Errorf("%+v", s)
	}
}

// An init that takes SIGTERM for a reboot is asked by the signal that it takes for a poweroff, also over ssh, and one that
// takes none is awaited and then told of.
func virtStops(t *testing.T, r *rig.Libvirt) {
	rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
	i, _ := libvirtOpen(t, r, 0)
	far, _ := overSSH(t, rig.NewSSHD(t), engine.Spec{Engine: "libvirt", URI: r.URI()})
	busybox := rig.LibvirtOptions{Init: "/sbin/init"}
	var all sync.WaitGroup
	for _, c := range []struct {
		name  string
		o     rig.LibvirtOptions
		by    *engine.Instance
		heard bool
	}{
		{"busybox", busybox, i, true}, {"busybox over ssh", busybox, far, true},
		{"deaf", rig.LibvirtOptions{Init: "/bin/httpd", Args: []string{"-f", "-p", "80"}}, i, false},
	} {
		virtDefine(t, r, c.name, c.o)
		r.Start(c.name)
		list(t, c.by)
		was := look(t, i, c.name).Init
		eventually(t, c.name+" serves", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root/proc/1", r.InitPID(c.name)))
			return err == nil
		})
		all.Go(func() {
			a := c.by.Do(context.Background(), health.VerbStop, c.name, map[bool]time.Duration{true: time.Minute, false: time.Second}[c.heard])
			s, err := i.Look(context.Background(), c.name, health.Process{})
			if err != nil || (a.Err == "") != c.heard || c.heard != (s.State == health.Stopped) || !c.heard && (s.Init != was || a.Cause == "") {
				t.Errorf("stop of %s: %+v; now %+v, %v", c.name, a, s, err)
			}
		})
	}
	all.Wait()
}

func virtIntents(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	virtDestroyed(t, r, i, "web3")
	if a := i.Do(context.Background(), health.VerbStop, "web3", 20*time.Second); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, "web3"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("stopped by us: %+v", s)
	}
	r.Start("web3")
	r.Kill9("web3")
	eventually(t, "web3 is off", func() bool { s := look(t, i, "web3"); return s.State == health.Stopped && s.OnPurpose == "" })
	r.Start("web3")
	awaitState(t, i, "web3", health.Running)
	_ = i.Exec(context.Background(), "web3", []string{"/bin/poweroff", "-f"}, 10*time.Second)
	eventually(t, "web3 has powered off", func() bool {
		s := look(t, i, "web3")
		return s.State == health.Stopped && s.OnPurpose == "" && strings.Contains(s.Detail, "libvirt does not tell which")
	})
}

// virtDestroyed has a domain destroyed by a person, by us, and by a person again. It runs before and afterwards. What we did is
// known to this instance alone.
func virtDestroyed(t *testing.T, r *rig.Libvirt, i *engine.Instance, name string) {
	t.Helper()
	list(t, i)
	r.Virsh("destroy", name)
	if s := find(t, list(t, i), name); s.State != health.Stopped || s.OnPurpose == "" || !strings.Contains(s.Detail, "destroyed") {
		t.Errorf("destroyed by a person: %+v", s)
	}
	r.Start(name)
	awaitState(t, i, name, health.Running)
	if a := i.Do(context.Background(), health.VerbKill, name, 0); a.Err != "" {
		t.Fatal(a.Err)
	}
	if s := look(t, i, name); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("destroyed by us: %+v", s)
	}
	other, _ := libvirtOpen(t, r, 0)
	if s := look(t, other, name); s.OnPurpose == "" {
		t.Errorf("another agent cannot know that it was us: %+v", s)
	}
	r.Start(name)
	awaitState(t, i, name, health.Running)
	r.Virsh("destroy", name)
	if s := look(t, i, name); s.OnPurpose == "" {
		t.Errorf("a person destroyed the life after the one that we ended: %+v", s)
	}
	r.Start(name)
	awaitState(t, i, name, health.Running)
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

// A container that was suspended and resumed between two lists runs in both of them; only an event tells that it is to be
// asked about.
func virtDirt(t *testing.T, r *rig.Libvirt) {
	r.WaitHTTP("web1", time.Minute) // so that addresses are known, and are not asked for again
	r.WaitHTTP("web2", time.Minute)
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
	virtDefine(t, r, "web3", rig.LibvirtOptions{})
	i, _ := libvirtOpen(t, r, 0)
	was := find(t, list(t, i), "web3")
	r.Virsh("autostart", "web3")
	r.Virsh("setmaxmem", "web3", "65536", "--config")
	is := find(t, list(t, i), "web3")
	if was.Autostart != health.No || is.Autostart != health.Yes || was.Config == "" || was.Config == is.Config || was.Mark != is.Mark {
		t.Errorf("%+v, then %+v", was, is)
	}
}

// Where libvirt_lxc is killed while the daemon is away, the daemon calls a container off whose init lives, and would start a
// second one beside it.
func virtOrphans(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	init := find(t, list(t, i), "web3").Init
	r.KillDaemon()
	r.KillController("web3")
	r.StartDaemon()
	eventually(t, "libvirt calls it off", func() bool { return strings.HasPrefix(r.Virsh("domstate", "web3"), "shut off") })
	other, _ := libvirtOpen(t, r, 0) // never saw it run
	for who, s := range map[string]health.Sighting{"list": find(t, list(t, i), "web3"), "look": look(t, i, "web3"), "a new agent's look": look(t, other, "web3")} {
		if s.State != health.Unknown || !strings.Contains(s.Detail, fmt.Sprint(init.PID)) {
			t.Errorf("%s: %+v", who, s)
		}
	}
	if err := syscall.Kill(init.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitState(t, i, "web3", health.Stopped)
}

func virtKeepsOfContainer(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	got, missing := virtBundle(t, i, "web1")
	if len(missing) > 0 {
		t.Errorf("not obtained: %q", missing)
	}
	for name, want := range map[string]string{"libvirt-state.txt": "running (", "libvirt-domain.xml.txt": "<name>web1</name>", "lxc.log": "--name web1"} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s does not hold %q: %.300q", name, want, got[name])
		}
	}
	if len(got) != 3 || len(i.Logs("web1")) != 0 {
		t.Errorf("%q, logs %+v", slices.Sorted(maps.Keys(got)), i.Logs("web1"))
	}
}

package engine_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
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

// What keeps containers from starting, and the innermost words of it.
func virtFails(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	virtRefuses(t, r, i, map[string]virtFailure{
		"init":    {rig.LibvirtOptions{Failing: true}, "cannot find init path '/bin/nosuch' relative to container root: No such file or directory"},
		"bridge":  {rig.LibvirtOptions{NoNetwork: true, Devices: "<interface type='bridge'><source bridge='brNOPE'/></interface>"}, "Unable to add bridge brNOPE port vnet"},
		"network": {rig.LibvirtOptions{Network: "nonet"}, "no network with matching name 'nonet'"},
		"storage": {rig.LibvirtOptions{Devices: "<filesystem type='mount'><source dir='/nosuchdir'/><target dir='/mnt'/></filesystem>"}, "Failed to access '/nosuchdir': No such file or directory"},
		"image":   {rig.LibvirtOptions{Devices: "<filesystem type='file'><source file='/nosuch.img'/><target dir='/mnt'/></filesystem>"}, "Unable to open /nosuch.img: No such file or directory"},
		"device":  {rig.LibvirtOptions{Devices: "<hostdev mode='capabilities' type='misc'><source><char>/dev/nosuch</char></source></hostdev>"}, "Unable to access /dev/nosuch: No such file or directory"},
		"card":    {rig.LibvirtOptions{Devices: "<hostdev mode='capabilities' type='net'><source><interface>nosuch0</interface></source></hostdev>"}, `Cannot find device "nosuch0"`},
		"taken":   {rig.LibvirtOptions{Devices: "<interface type='bridge'><source bridge='" + r.Bridge() + "'/><guest dev='eth0'/></interface>"}, "to 'eth0': File exists"},
		"hook":    {rig.LibvirtOptions{}, "hook says no"},
	})
}

type virtFailure struct {
	o     rig.LibvirtOptions
	cause string
}

// virtRefuses starts what cannot start. The hook refuses what is called "hook".
func virtRefuses(t *testing.T, r *rig.Libvirt, i *engine.Instance, all map[string]virtFailure) {
	r.Hook("[ \"$1 $2\" != 'hook prepare' ] || { echo hook says no >&2; exit 1; }\n")
	defer r.Hook("")
	for name, f := range all {
		virtDefine(t, r, name, f.o)
	}
	list(t, i)
	var starts sync.WaitGroup
	for name, f := range all {
		starts.Go(func() {
			a := i.Do(context.Background(), health.VerbStart, name, 0)
			if a.Err == "" || a.Already || !strings.Contains(a.Cause, f.cause) || strings.Contains(a.Cause, "internal error") {
				t.Errorf("%s: cause %q of %q, want %q", name, a.Cause, a.Err, f.cause)
			}
		})
	}
	starts.Wait()
	for name := range all {
		if s := look(t, i, name); s.State != health.Stopped || s.OnPurpose != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Exit 0 of a start whose init ends soon, and of one whose init cannot be executed: that libvirt notices now and then.
func virtLies(t *testing.T, r *rig.Libvirt) {
	i, _ := libvirtOpen(t, r, 0)
	for name, o := range map[string]rig.LibvirtOptions{"brief": {Init: "/bin/sleep", Args: []string{"1"}}, "notexec": {Init: "/etc/passwd"}} {
		virtDefine(t, r, name, o)
		if a := i.Do(context.Background(), health.VerbStart, name, 0); a.Err != "" && name == "brief" {
			t.Errorf("%s: %+v", name, a)
		}
		awaitState(t, i, name, health.Stopped)
		if s := find(t, list(t, i), name); s.State != health.Stopped || s.OnPurpose != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Several addresses of both families, by this host's neighbour table; a lease of libvirt's own DHCP; none without a network.
// What hangs on a network of libvirt names its bridge.
func virtAddresses(t *testing.T, r *rig.Libvirt) {
	r.MakeNetwork("pool")
	virtDefine(t, r, "many", rig.LibvirtOptions{})
	virtDefine(t, r, "leased", rig.LibvirtOptions{Network: "pool", Init: "/bin/sh", Args: []string{"-c", "ifconfig eth0 up; exec udhcpc -f -t 30 -T 1 -i eth0 -s /bin/true"}})
	virtDefine(t, r, "alone", rig.LibvirtOptions{NoNetwork: true})
	for _, name := range []string{"many", "leased", "alone"} {
		r.Start(name)
	}
	r.WaitHTTP("many", time.Minute)
	v4 := r.Addr("many").As4()
	v4[3] += 100
	second, six := netip.AddrFrom4(v4).String(), "fd00:d5::2"
	virtHost(t, "ip", "-6", "addr", "add", "fd00:d5::1/64", "dev", r.Bridge(), "nodad")
	i, _ := libvirtOpen(t, r, 0)
	list(t, i)
	for _, addr := range []string{second + "/24", six + "/64"} {
		if out := i.Exec(context.Background(), "many", []string{"ip", "addr", "add", addr, "dev", "eth0"}, 10*time.Second); out.Exit != 0 {
			t.Fatalf("%+v %s", out, out.Stderr)
		}
	}
	for _, addr := range []string{second, six} {
		eventually(t, addr+" answers", func() bool {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "80"), time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	other, _ := libvirtOpen(t, r, 0)
	l := list(t, other)
	if got, want := virtAddrs(find(t, l, "many")), []string{second, r.Addr("many").String(), six}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%q, want %q", got, want)
	}
	if s := find(t, l, "alone"); s.State != health.Running || len(s.Addrs) != 0 || len(s.Links) != 0 {
		t.Errorf("%+v", s)
	}
	if s := find(t, l, "many"); !slices.Equal(s.Links, []string{r.Bridge()}) {
		t.Errorf("%+v", s)
	}
	virtLeased(t, r)
}

// virtLeased holds that an agent which begins when "leased" has an address of libvirt's own DHCP tells it with its prefix.
func virtLeased(t *testing.T, r *rig.Libvirt) {
	t.Helper()
	eventually(t, "it has a lease", func() bool { return strings.Contains(r.Virsh("domifaddr", "leased"), " 10.214.") })
	i, _ := libvirtOpen(t, r, 0)
	s := find(t, list(t, i), "leased")
	if len(s.Addrs) != 1 || !strings.HasPrefix(s.Addrs[0].Prefix.String(), "10.214.") || s.Addrs[0].Prefix.Bits() != 24 || !slices.Equal(s.Links, []string{r.NetworkBridge()}) {
		t.Errorf("%+v", s)
	}
}

func virtAddrs(s health.Sighting) (out []string) {
	for _, a := range s.Addrs {
		out = append(out, a.Prefix.Addr().String())
	}
	slices.Sort(out)
	return out
}

// virtHost runs a command of this host, on the rig's own bridge.
func virtHost(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
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

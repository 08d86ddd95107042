package engine_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// How containers of libvirt fail to start, and by which addresses they are found.

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

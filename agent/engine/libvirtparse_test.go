package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

func virtFixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/libvirt", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func virtFixtureItems(t testing.TB, name string, n int) []string {
	t.Helper()
	items, ok := virtItems([]byte(virtFixture(t, name)), n)
	if !ok {
		t.Fatalf("%s does not hold %d answers", name, n)
	}
	return items
}

func TestVirtListOfContainers(t *testing.T) {
	s, err := parseVirtSnapshot(virtFixtureItems(t, "list-lxc.txt", 5), true)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]virtSaid{
		"v1": {"19236", "running", ""}, "bb": {"19261", "paused", ""}, "t1": {"19368", "running", ""}, "--help": {"-", "shut off", ""},
		"5": {"-", "shut off", ""}, "a b'c": {"-", "shut off", ""}, "v2": {"-", "shut off", ""},
	}
	if !maps.Equal(s.said, want) || len(s.names) != 7 {
		t.Errorf("%+v, %d names", s.said, len(s.names))
	}
	if !s.autostart["53d253f9-6a15-4429-8281-9a5f04384bfc"] || len(s.autostart) != 1 || len(s.saved) != 0 || !s.transient["21b557f9-6eba-45d1-b8fd-fbf260999f69"] {
		t.Errorf("%+v", s)
	}
}

func TestVirtListOfVMs(t *testing.T) {
	s, err := parseVirtSnapshot(virtFixtureItems(t, "list-qemu.txt", 5), false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]virtSaid{"io": {"", "shut off", "unknown"}, "m1": {"", "shut off", "saved"}, "cr": {"", "paused", "user"}}
	if !maps.Equal(s.said, want) || !s.saved["311a0344-645c-44d3-a124-0f2be767a4e9"] {
		t.Errorf("%+v", s)
	}
}

// Of names that begin alike, and hold what follows a name, the longest is meant.
func TestVirtTableOfOddNames(t *testing.T) {
	names := []virtNamed{{"1", "a  running"}, {"2", "a"}, {"3", "running"}}
	for range 2 {
		got, err := parseVirtTable(" Id   Name         State\n-------------------------\n 7    a  running   paused\n 8    a            running\n -    running      shut off\n", names)
		want := map[string]virtSaid{"a  running": {"7", "paused", ""}, "a": {"8", "running", ""}, "running": {"-", "shut off", ""}}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		slices.Reverse(names)
	}
	if got, err := parseVirtTable("garbage\n", names); err == nil {
		t.Errorf("%+v", got)
	}
}

// A list that is cut anywhere is no list. What is cut behind the last mark has lost nothing.
func TestVirtListThatIsCut(t *testing.T) {
	whole := strings.TrimRight(virtFixture(t, "list-lxc.txt"), "\n") + "\n"
	for n := range len(whole) - 1 {
		if _, ok := virtItems([]byte(whole[:n]), 5); ok {
			t.Fatalf("believed, cut at %d: %q", n, whole[max(0, n-40):n])
		}
	}
	if _, ok := virtItems([]byte(whole), 5); !ok {
		t.Error("the whole is not believed")
	}
}

func TestVirtDetails(t *testing.T) {
	items := virtFixtureItems(t, "detail-lxc.txt", 9)
	for i, want := range []string{"running (booted)", "shut off (destroyed)", ""} {
		state, reason, ok := parseVirtReason(items[3*i])
		if got := state + " (" + reason + ")"; ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %q, %v", items[3*i], state, reason, ok)
		}
	}
	c, err := parseVirtXML(items[2])
	if err != nil || !slices.Equal(c.links, []string{"brhl"}) || !slices.Equal(c.macs, []string{"52:54:00:8f:09:85"}) || c.mark == "" || c.screen {
		t.Errorf("%+v, %v", c, err)
	}
	vm, err := parseVirtXML(virtFixture(t, "domain-qemu.xml"))
	if err != nil || !vm.screen || !slices.Equal(vm.consoles, []string{"/tmp/h-libvirt-rig/m1.ser"}) || vm.mark == c.mark {
		t.Errorf("%+v, %v", vm, err)
	}
	nova, err := parseVirtXML(`<domain><metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata></domain>`)
	if err != nil || nova.supervisor != "OpenStack Nova" {
		t.Errorf("%+v, %v", nova, err)
	}
}

func TestVirtAddrs(t *testing.T) {
	got := parseVirtAddrs(virtFixture(t, "addrs.txt") + " -          -                    ipv6         2001:db8::3/64\n vnet0 52:54:00:8f:09:85 ipv6 fe80::1/64\n N/A x y\n")
	if len(got) != 3 || got[0].Prefix.String() != "10.81.77.11/32" || got[1].Prefix.String() != "192.168.122.3/24" || got[2].Iface != "testnet0" || got[2].Prefix.String() != "2001:db8::3/64" {
		t.Errorf("%+v", got)
	}
}

// What "ip -o neigh show" prints of those that answered, of one that did not, and of one that is a router.
func TestNeighbours(t *testing.T) {
	got := parseNeighbours([]byte(virtFixture(t, "neigh.txt") + "x dev br0 lladdr 00:16:3e:d5:01:04\n10.0.0.1 dev br0 lladdr\n"))
	if want := "map[00:16:3e:d5:01:03:[10.213.1.3/32 2001:db8::7/128] 02:fc:00:00:00:05:[192.0.2.1/32]]"; fmt.Sprint(prefixesOf(got)) != want {
		t.Errorf("%v, want %s", prefixesOf(got), want)
	}
}

func prefixesOf(by map[string][]health.Addr) map[string][]netip.Prefix {
	out := map[string][]netip.Prefix{}
	for mac, addrs := range by {
		for _, a := range addrs {
			out[mac] = append(out[mac], a.Prefix)
		}
	}
	return out
}

func TestVirtJob(t *testing.T) {
	now := time.Unix(1000, 0)
	got := parseVirtJob(virtFixture(t, "job.txt"), now)
	if got.operation != "save" || !got.since.Equal(now.Add(-333*time.Millisecond)) {
		t.Errorf("%+v", got)
	}
	if later := got.now(virtJob{"save", got.since.Add(time.Second)}); later != got {
		t.Errorf("the same job begins later: %+v", later)
	}
	if other := got.now(virtJob{"backup", got.since}); other.operation != "backup" {
		t.Errorf("%+v", other)
	}
	for _, none := range []string{virtFixture(t, "job-none.txt"), "", "\n"} {
		if got := parseVirtJob(none, now); got != (virtJob{}) {
			t.Errorf("%q: %+v", none, got)
		}
	}
}

// What dominfo says of a VM that runs, of one that is off, saved and started with the host, and of none.
func TestVirtInfo(t *testing.T) {
	for name, want := range map[string]virtInfo{
		"dominfo-qemu.txt": {domid: "2", name: "disk1"},
		"dominfo-lxc.txt":  {domid: "9181", name: "web1"},
		"job-none.txt":     {},
	} {
		if got, ok := parseVirtInfo(virtFixture(t, name)); got != want || ok != (want.name != "") {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	got, _ := parseVirtInfo("Name:           a: b\nPersistent:     no\nAutostart:      enable\nManaged save:   yes\nNew word: 7\n")
	if got != (virtInfo{name: "a: b", autostart: true, saved: true, transient: true}) {
		t.Errorf("%+v", got)
	}
}

// The host's interfaces of a network: of an active one, of one that is only defined, with macvtap, and of none.
func TestVirtNetwork(t *testing.T) {
	for text, want := range map[string]string{
		virtFixture(t, "network-active.xml"):                                                                   "lvxbr7",
		"<network><name>x</name><forward mode='bridge'/><bridge name='br0'/></network>":                        "br0",
		"<network><name>x</name><forward dev='eth0' mode='bridge'><interface dev='eth1'/></forward></network>": "eth1",
		"<network><name>x</name><forward dev='eth0' mode='private'/></network>":                                "eth0",
		"<network><name>x</name></network>":                                                                    "",
		"<network":                                                                                             "",
	} {
		if got := strings.Join(parseVirtNetwork([]byte(text)), " "); got != want {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

func TestVirtInitKind(t *testing.T) {
	for said, want := range map[string]string{
		"/usr/lib/systemd/systemd\nsystemd\n": "systemd", "/bin/busybox\ninit\n": "busybox", "/bin/busybox\nweb\n": "", "/sbin/init\ninit\n/dev/initctl\n": "initctl", "": "",
	} {
		if got := parseVirtInitKind(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

func TestVirtEvents(t *testing.T) {
	var got []string
	for line := range strings.Lines(virtFixture(t, "events.txt")) {
		if name, words, ok := parseVirtEvent([]byte(line)); ok {
			got = append(got, name+"|"+words)
		}
	}
	want := []string{"a b'c|Defined Added", "v2|Started Booted", "bb|Stopped Destroyed", "m1|Shutdown Finished after guest request", "m1|Stopped Saved", "io|Suspended I/O Error"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Every word by number and by name means the same, and nothing that is not known is taken for running or stopped.
func TestVirtStates(t *testing.T) {
	for _, tt := range []struct {
		state, reason int
		want          virtVerdict
	}{
		{1, 1, virtVerdict{state: health.Running}},
		{5, 1, virtVerdict{state: health.Stopped}},
		{5, 3, virtVerdict{state: health.Stopped}},
		{5, 6, virtVerdict{state: health.Stopped}},
		{5, 4, virtVerdict{state: health.Stopped, lock: "migrated to another host"}},
		{5, 5, virtVerdict{state: health.Stopped, lock: "saved"}},
		{3, 1, virtVerdict{state: health.Paused}},
		{3, 2, virtVerdict{state: health.Busy, lock: "migration"}},
		{3, 3, virtVerdict{state: health.Busy, lock: "save"}},
		{4, 1, virtVerdict{state: health.Busy}},
		{2, 0, virtVerdict{state: health.Running}},
		{0, 0, virtVerdict{state: health.Unknown}},
	} {
		said := virtNumbered(map[string]int{"state": tt.state, "reason": tt.reason})
		if got, known := virtJudge(said.state, said.reason); got != tt.want || !known {
			t.Errorf("%d/%d is %q (%q): %+v, known %v", tt.state, tt.reason, said.state, said.reason, got, known)
		}
	}
	for _, words := range [][2]string{{"paused", "I/O error"}, {"paused", "api error"}, {"paused", "crashed"}, {"crashed", "panicked"}} {
		if got, known := virtJudge(words[0], words[1]); got.state != health.Broken || !known || got.why == "" {
			t.Errorf("%q: %+v", words, got)
		}
	}
	if got, _ := virtJudge("shut off", "destroyed"); got.purpose == "" {
		t.Errorf("destroyed: %+v", got)
	}
	for _, odd := range []virtSaid{virtNumbered(map[string]int{"state": 9, "reason": 1}), {state: "läuft", reason: "x"}, {}} {
		if got, known := virtJudge(odd.state, odd.reason); known || got.state != health.Unknown {
			t.Errorf("%+v: %+v", odd, got)
		}
	}
	if got, known := virtJudge("running", "99"); known || got.state != health.Running {
		t.Errorf("a new reason of running: %+v", got)
	}
	for state, words := range virtReasons() {
		for _, w := range words {
			if _, known := virtJudge(state, w); !known {
				t.Errorf("%s (%s) is not known", state, w)
			}
		}
	}
}

// The log of a VM that was destroyed, powered off, killed, and ended by a shell, told at each of its ends.
func TestVirtLog(t *testing.T) {
	lines := strings.SplitAfter(virtFixture(t, "qemu.log"), "\n")
	for n, want := range map[int]virtEnding{3: {reason: "destroyed", by: "libvirtd", pid: "24901"}, 6: {reason: "shutdown", by: "libvirtd", pid: "24901"}, 7: {}, 8: {reason: "crashed"},
		11: {reason: "shutdown", by: "bash", pid: "13925"}} {
		got := parseVirtLog([]byte(strings.Join(lines[:n], "")))
		if (want.reason != "") == got.at.IsZero() {
			t.Errorf("after %d lines, at %s", n, got.at)
		}
		got.at = want.at
		if got != want {
			t.Errorf("after %d lines: %+v, want %+v", n, got, want)
		}
	}
}

func TestVirtCauses(t *testing.T) {
	for name, want := range map[string]string{
		"start-no-init.stderr":   "cannot find init path '/bin/nosuch' relative to container root: No such file or directory",
		"start-no-kernel.stderr": "unable to stat: /tmp/h-libvirt-rig/vmlinuz-nosuch: No such file or directory",
		"start-no-bridge.stderr": "Cannot get interface MTU on 'brNOPE': No such device",
		"start-no-disk.stderr":   "Cannot access storage file '/nosuch.img': No such file or directory",
		"start-no-memory.stderr": "cannot set up guest memory 'pc.ram': Cannot allocate memory",
	} {
		a := readVirtAnswer(hostexec.Transcript{Argv: []string{"virsh"}, Exit: 1, Stdout: []byte("\n"), Stderr: []byte(virtFixture(t, name))}, nil)
		if a.Cause != want || a.Already || !strings.HasPrefix(a.Err, "virsh: Failed to start domain") {
			t.Errorf("%s: %q, %q", name, a.Err, a.Cause)
		}
	}
	a := readVirtAnswer(hostexec.Transcript{Exit: 1, Stderr: []byte(virtFixture(t, "start-already.stderr"))}, nil)
	if !a.Already || a.Err != "" {
		t.Errorf("%+v", a)
	}
}

func TestVirtExecEnd(t *testing.T) {
	got := virtExecEnd(hostexec.Transcript{Exit: 1, Stderr: []byte("oh\nerror: internal error: Child process (26160) unexpected exit status 7\n")})
	if got.Exit != 7 || string(got.Stderr) != "oh" {
		t.Errorf("%d %q", got.Exit, got.Stderr)
	}
	for _, other := range []string{"error: failed to get domain 'x'\n", ""} {
		if got := virtExecEnd(hostexec.Transcript{Exit: 1, Stderr: []byte(other)}); got.Exit != 1 || string(got.Stderr) != other {
			t.Errorf("%q: %d %q", other, got.Exit, got.Stderr)
		}
	}
}

func TestVirtMeaning(t *testing.T) {
	qemu := virtOf(t, "qemu:///system")
	for line, want := range map[string]string{
		"virsh destroy web1":                                 "web1 kill",
		"/usr/bin/virsh -c qemu:///system shutdown web1":     "web1 stop",
		"virsh -cqemu:///system --quiet reset web1":          "web1 restart",
		"virsh --connect=qemu:///system managedsave web1":    "web1 stop",
		"virsh -q --connect qemu:///system undefine web1":    "web1 remove",
		"virsh migrate --live web1 qemu+ssh://other/system":  "web1 move",
		"virsh destroy --domain web1":                        "web1 kill",
		"virsh destroy --graceful web1":                      "web1 kill",
		"virsh snapshot-create-as web1 before":               "web1 snapshot",
		"virsh destroy 311a0344-645c-44d3-a124-0f2be767a4e9": "web1 kill",
		"virsh list;|shutdown|'web1';|list":                  "web1 stop",
		"virsh -c lxc:/// destroy web1":                      "",
		"virsh dumpxml web1":                                 "",
		"virsh console web1":                                 "",
		"virsh -c qemu:///system event --domain web1 --loop": "",
		"virsh":                                "",
		"virsh -c":                             "",
		"virsh destroy":                        "",
		"virsh destroy a/b":                    "",
		"vi destroy web1":                      "",
		"virsh send-process-signal web1 1 rt4": "web1 stop",
		"virsh -k 5 -K 3 -e ^] -d 0 -l /tmp/log shutdown web1":    "web1 stop",
		"virsh --keepalive-interval 5 shutdown web1 --mode=agent": "web1 stop",
	} {
		argv := strings.Fields(line)
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], "|", " ")
		}
		id, verb, ok := qemu.meaning(argv)
		if got := strings.TrimSpace(id + " " + string(verb)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
	lxc := virtOf(t, "lxc:///")
	for line, want := range map[string]bool{"virsh -c lxc:///system destroy web1": true, "virsh -c lxc:/// destroy web1": true, "virsh destroy web1": false} {
		if _, _, ok := lxc.meaning(strings.Fields(line)); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
}

func virtOf(t testing.TB, uri string) *libvirt {
	t.Helper()
	driver, local, err := parseVirtURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	return &libvirt{base: base{spec: Spec{Root: t.TempDir()}}, uri: uri, driver: driver, local: local, known: map[string]*virtDomain{
		"311a0344-645c-44d3-a124-0f2be767a4e9": {uuid: "311a0344-645c-44d3-a124-0f2be767a4e9", name: "web1"},
	}}
}

// A name that virsh would take for something else is never handed to it.
func TestVirtNames(t *testing.T) {
	l := virtOf(t, "lxc:///")
	if got, err := l.domain("web1"); err != nil || got != "311a0344-645c-44d3-a124-0f2be767a4e9" {
		t.Errorf("%q, %v", got, err)
	}
	for _, odd := range []string{"5", "-5", "--help", "311a0344-645c-44d3-a124-0f2be767a4e8", "311a0344645c44d3a1240f2be767a4e8", "a/b", ""} {
		if got, err := l.domain(odd); err == nil {
			t.Errorf("%q became %q", odd, got)
		}
	}
	if got, err := l.domain("a b"); err != nil || got != "a b" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestVirtURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"qemu:///system": "qemu here", "lxc:///": "lxc here", "qemu+unix:///system?socket=/run/x": "qemu here", "qemu:///session": "qemu", "qemu+ssh://root@old/system": "qemu",
		"xen:///system": "xen", "test:///default": "test", "qemu+ssh:///system": "qemu",
	} {
		driver, local, err := parseVirtURI(uri)
		if got := strings.TrimSpace(driver + map[bool]string{true: " here"}[local]); got != want || err != nil {
			t.Errorf("%q: %q, %v", uri, got, err)
		}
	}
	for _, bad := range []string{"-c", "", "/run/libvirt", "qemu:///system; destroy web1", "qemu:///a b"} {
		if _, _, err := parseVirtURI(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzVirtLists(f *testing.F) {
	for _, name := range []string{"list-lxc.txt", "list-qemu.txt"} {
		f.Add([]byte(virtFixture(f, name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, ok := virtItems(b, 5)
		if !ok {
			return
		}
		for _, tables := range []bool{false, true} {
			s, err := parseVirtSnapshot(items, tables)
			for _, n := range s.names {
				if err == nil && (!vzUUIDRE.MatchString(n.uuid) || n.name == "") {
					t.Errorf("%+v", n)
				}
			}
		}
	})
}

func FuzzVirtAnswers(f *testing.F) {
	for _, name := range []string{"dominfo-qemu.txt", "network-active.xml", "detail-lxc.txt", "domain-qemu.xml", "addrs.txt", "neigh.txt", "job.txt", "events.txt", "qemu.log", "start-no-init.stderr", "start-no-memory.stderr"} {
		f.Add([]byte(virtFixture(f, name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := string(b)
		if items, ok := virtItems(b, 9); ok {
			text = items[2]
		}
		_, _ = parseVirtXML(text)
		for _, a := range parseVirtAddrs(text) {
			if !a.Prefix.IsValid() {
				t.Errorf("%+v", a)
			}
		}
		if state, reason, ok := parseVirtReason(text); ok && (state == "" || strings.Contains(state+reason, "\n")) {
			t.Errorf("%q %q", state, reason)
		}
		parseNeighbours(b)
		parseVirtJob(text, time.Time{})
		parseVirtInfo(text)
		parseVirtNetwork(b)
		parseVirtInitKind(text)
		parseVirtLog(b)
		if name, _, ok := parseVirtEvent(b); ok && name == "" {
			t.Error("an event of nobody")
		}
		for _, words := range append(virtErrors(b), virtCause(b)) {
			if len(words) > maxWords+len("…") || strings.ContainsAny(words, "\n\x1b") {
				t.Errorf("%q", words)
			}
		}
		virtExecEnd(hostexec.Transcript{Exit: 1, Stderr: b})
	})
}

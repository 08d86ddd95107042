package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

func fixture(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLXCInfo(t *testing.T) {
	i := parseLXCInfo(fixture(t, "lxc/info-running.txt"), nil)
	if i.state != "RUNNING" || i.pid != 22853 || len(i.addrs) != 1 || i.addrs[0].Prefix.String() != "10.77.1.11/32" {
		t.Errorf("running: %+v", i)
	}
	i = parseLXCInfo(fixture(t, "lxc/info-stopped.txt"), nil)
	if i.state != "STOPPED" || i.pid != 0 || i.gone || i.fault != "" {
		t.Errorf("stopped: %+v", i)
	}
	if i = parseLXCInfo(nil, fixture(t, "lxc/info-missing.stderr")); !i.gone {
		t.Errorf("missing: %+v", i)
	}
	i = parseLXCInfo(nil, fixture(t, "lxc/info-broken.stderr"))
	want := `Success - Invalid ipv4 address "10.91.1.2.3/16": Failed to parse config file "/var/tmp/eng/lxc/brk/config" at line "lxc.net.0.ipv4.address = 10.91.1.2.3/16"`
	if i.fault != want || i.gone {
		t.Errorf("broken: %q\nwant     %q", i.fault, want)
	}
}

func TestLXCNamesAndBroken(t *testing.T) {
	names := parseLXCNames(fixture(t, "lxc/ls-names.txt"))
	if want := []string{"c1", "c10", "c2", "c3", "c4", "c6", "c7", "c8"}; !slices.Equal(names, want) {
		t.Errorf("names = %q, want %q", names, want)
	}
	if got := parseLXCBroken(fixture(t, "lxc/ls-names.stderr")); !slices.Equal(got, []string{"c5"}) {
		t.Errorf("broken = %q, want c5", got)
	}
}

func TestLXCTable(t *testing.T) {
	rows, err := parseLXCTable(fixture(t, "lxc/table.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if r := rows["ct001"]; r.state != "RUNNING" || r.pid != 14671 || len(r.addrs) != 1 {
		t.Errorf("ct001: %+v", r)
	}
	if r := rows["ct002"]; r.state != "FROZEN" || r.pid != 14678 {
		t.Errorf("ct002: %+v", r)
	}
	if r := rows["ct004"]; r.state != "STOPPED" || r.pid != 0 || r.addrs != nil {
		t.Errorf("ct004: %+v", r)
	}
	for _, bad := range []string{"NAME STATE\nct001 RUNNING\n", "STATE   PID   IPV4 IPV6 NAME \nRUNNING\n"} {
		if _, err := parseLXCTable([]byte(bad)); err == nil {
			t.Errorf("%q was read as a table", bad)
		}
	}
	if rows, err := parseLXCTable(nil); err != nil || len(rows) != 0 {
		t.Errorf("nothing printed: %v, %v", rows, err)
	}
}

// A failing start prints the same two lines whatever the cause; the log knows better.
func TestLXCCause(t *testing.T) {
	for file, want := range map[string]string{
		"start-no-bridge.log":          `No such file or directory - Failed to attach "ve-c3" to bridge "brNOPE", bridge interface doesn't exist`,
		"start-no-rootfs.log":          `No such file or directory - Failed to open "/var/lib/lxc/c4/rootfs"`,
		"start-no-init.log":            `No such file or directory - Failed to exec "/sbin/init"`,
		"start-no-init-info-level.log": `No such file or directory - Failed to exec "/sbin/init"`,
		"start-broken-config.stderr":   `Invalid argument - Unsupported config key "lxc.nosuch.key"`,
		"start-already.stderr":         `Container is already running`,
	} {
		if got := lxcCause(fixture(t, "lxc/"+file)); got != want {
			t.Errorf("%s: %q\nwant %q", file, got, want)
		}
	}
}

// Two processes write the log, so the outer words may come first.
func TestLXCCauseInAnyOrder(t *testing.T) {
	lines := slices.Collect(strings.Lines(string(fixture(t, "lxc/start-no-bridge.log"))))
	slices.Reverse(lines)
	if got := lxcCause([]byte(strings.Join(lines, ""))); !strings.HasPrefix(got, "Failed to create the network") {
		t.Errorf("%q", got)
	}
	if got := lxcCause([]byte(lines[0] + lines[1])); got == "" {
		t.Error("outer words are better than none")
	}
}

func TestLXCAnswer(t *testing.T) {
	// rc 0, and nothing was done
	a := readLXCAnswer(hostexec.Transcript{Stderr: fixture(t, "lxc/start-already.stderr")}, nil)
	if !a.Already || a.Err != "" {
		t.Errorf("already running: %+v", a)
	}
	a = readLXCAnswer(hostexec.Transcript{Argv: []string{"lxc-start"}, Exit: 1}, fixture(t, "lxc/start-no-init.log"))
	if a.Already || a.Err == "" || a.Cause != `No such file or directory - Failed to exec "/sbin/init"` {
		t.Errorf("failed: %+v", a)
	}
	a = readLXCAnswer(hostexec.Transcript{Argv: []string{"lxc-start"}, Exit: 1, Stderr: fixture(t, "lxc/start-broken-config.stderr")}, nil)
	if a.Cause != `Invalid argument - Unsupported config key "lxc.nosuch.key"` {
		t.Errorf("without a log, the cause is taken from stderr: %+v", a)
	}
}

// All the container's words that are quoted are bounded and hold no control characters.
func TestTidy(t *testing.T) {
	got := tidy("a\x1b[31mb\x00\xff\n" + strings.Repeat("x", 10000))
	if strings.ContainsAny(got, "\x1b\x00\n") || len(got) > maxWords+10 || !strings.HasPrefix(got, "a [31mb ?") {
		t.Errorf("%.60q, %d bytes", got, len(got))
	}
}

func TestLXCSockets(t *testing.T) {
	// lines of /proc/net/unix: the ones without an inode are clients that wait for a hung monitor
	in := `Num       RefCount Protocol Flags    Type St Inode Path
00000000e9637616: 00000002 00000000 00010000 0001 01 22715 @/var/lib/lxc/ct001/command
0000000081f57143: 00000002 00000000 00000000 0001 02     0 @/var/lib/lxc/ct003/command
00000000dc28848a: 00000002 00000000 00010000 0001 01 22352 @/var/lib/lxc/a b/command
00000000dc28848b: 00000002 00000000 00010000 0001 01 22353 @/srv/lxc/other/command
00000000dc28848c: 00000002 00000000 00010000 0001 01 22354 @/var/lib/lxc/ct009/monitor
`
	got := sortedKeys(parseLXCSockets([]byte(in), "/var/lib/lxc"))
	if want := []string{"a b", "ct001", "ct003"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLXCConf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	common := write("common.conf", "lxc.start.auto = 1\nlxc.net.1.type=veth\nlxc.net.1.link = br1\n")
	write("inc/a.conf", "lxc.log.file = \"/var/log/x.log\"\n")
	write("inc/ignored.txt", "lxc.start.auto = 0\n")
	config := write("web1/config", strings.Join([]string{
		"# comment", "lxc.include = " + common, "lxc.include = " + dir + "/inc", "",
		"lxc.net.0.type = veth", "lxc.net.0.link = br0", "lxc.net.2.type = phys", "lxc.net.2.link = eth9",
		"lxc.net.3.type = veth", "lxc.net.3.link = br3", "lxc.net.3 =", "lxc.net.0.hwaddr = 00:16:3e:00:00:01",
	}, "\n"))
	c := readLXCConf(config)
	if c.autostart != health.Yes || !slices.Equal(c.links, []string{"br0", "br1"}) || c.logFile != "/var/log/x.log" {
		t.Errorf("%+v", c)
	}
	if again := readLXCConf(config); again.mark != c.mark {
		t.Error("the mark changed without a change")
	}
	write("common.conf", "lxc.start.auto = 1\nlxc.start.auto = 0\n\n")
	if c2 := readLXCConf(config); c2.mark == c.mark || c2.autostart != health.No {
		t.Errorf("an included file changed: mark %s -> %s, autostart %q, want another mark and no", c.mark, c2.mark, c2.autostart)
	}
	write("loop.conf", "lxc.include = "+dir+"/loop.conf\n")
	if c := readLXCConf(filepath.Join(dir, "loop.conf")); c.autostart != health.Maybe {
		t.Errorf("a loop of includes: autostart %q, want not known", c.autostart)
	}
	if c := readLXCConf("/dev/zero"); c.autostart != health.Maybe {
		t.Errorf("a device as configuration: %+v", c)
	}
}

func FuzzLXCInfo(f *testing.F) {
	for _, n := range []string{"info-running.txt", "info-stopped.txt", "info-broken.stderr"} {
		f.Add(fixture(f, "lxc/"+n), fixture(f, "lxc/info-broken.stderr"))
	}
	f.Fuzz(func(t *testing.T, out, errs []byte) {
		i := parseLXCInfo(out, errs)
		if len(i.fault) > 2*maxWords+20 || strings.ContainsAny(i.fault, "\x00\x1b\n") {
			t.Errorf("fault %q", i.fault)
		}
	})
}

func FuzzLXCLists(f *testing.F) {
	f.Add(fixture(f, "lxc/table.txt"))
	f.Add(fixture(f, "lxc/ls-names.txt"))
	f.Add(fixture(f, "lxc/ls-names.stderr"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseLXCTable(b)
		for _, n := range slices.Concat(parseLXCNames(b), parseLXCBroken(b)) {
			if n == "" || strings.Contains(n, "\n") {
				t.Errorf("name %q", n)
			}
		}
		_ = parseLXCSockets(b, "/var/lib/lxc")
	})
}

func FuzzLXCFar(f *testing.F) {
	f.Add(fixture(f, "lxc/far-table.txt"))
	f.Add(fixture(f, "lxc/table.txt"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := parseLXCFar(b)
		for name, r := range rows {
			if name == "" || strings.Contains(name, "\n") || r.pid != 0 {
				t.Errorf("%q: %+v, %v", name, r, err)
			}
		}
	})
}

func TestLXCFarTable(t *testing.T) {
	rows, err := parseLXCFar(fixture(t, "lxc/far-table.txt"))
	if err != nil || len(rows) != 4 {
		t.Fatalf("%+v, %v", rows, err)
	}
	web1, blank := rows["web1"], rows["a b"]
	if web1.state != "RUNNING" || web1.autostart != health.Yes || len(web1.addrs) != 1 || blank.state != "STOPPED" || blank.autostart != health.No || len(blank.addrs) != 0 {
		t.Errorf("%+v, %+v", web1, blank)
	}
	if rows, err := parseLXCFar(nil); err != nil || len(rows) != 0 {
		t.Errorf("nothing: %+v, %v", rows, err)
	}
	for _, bad := range []string{"no such option\n", "STATE NAME\nRUNNING web1\n", "STATE   AUTOSTART PID IPV4 IPV6 NAME\nRUN\n"} {
		if rows, err := parseLXCFar([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, rows)
		}
	}
}

func FuzzLXCLog(f *testing.F) {
	for _, n := range []string{"start-no-bridge.log", "start-no-init.log", "start-no-init-info-level.log", "start-broken-config.stderr"} {
		f.Add(fixture(f, "lxc/"+n))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := lxcCause(b); len(c) > maxWords+10 || strings.ContainsAny(c, "\x00\x1b\n") {
			t.Errorf("cause %q", c)
		}
	})
}

func FuzzLXCConf(f *testing.F) {
	f.Add([]byte("lxc.start.auto = 1\nlxc.net.0.type = veth\nlxc.net.0.link = \"br0\"\nlxc.net =\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := lxcReader{keys: map[string]string{}, whole: true}
		for line := range bytes.Lines(b) {
			if k, _, _ := lxcLine(string(line)); k != "lxc.include" {
				r.line(string(line))
			}
		}
		_ = lxcLinks(r.keys)
	})
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("1234 (a) b) S 1 1234 1234 0 -1 4194560 1 1 0 0 0 0 0 0 20 0 1 0 987654 1000 1\n"))
	f.Add([]byte("9:name=systemd:/lxc.payload.ct001\n3:cpu,cpuacct:/lxc.payload.ct001\n0::/lxc.payload.ct001\n"))
	f.Add([]byte("35 24 0:30 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseStat(b)
		_ = joinCgroups(parseCgroup(b), parseCgroupMounts(b))
	})
}

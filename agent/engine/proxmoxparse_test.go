package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"atalaya/agent/hostexec"
)

func TestProxmoxResources(t *testing.T) {
	rows, err := parsePVEResources(fixture(t, "proxmox/resources.json"))
	if err != nil || len(rows) != 4 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if r := rows[0]; r.VMID != "100" || r.Type != "qemu" || r.Node != "pve-node1" || r.word() != "running" || r.ha() != "started" || bool(r.Template) {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.Lock != "backup" || r.word() != "stopped" || r.ha() != "" {
		t.Errorf("%+v", r)
	}
	if r := rows[3]; !bool(r.Template) {
		t.Errorf("%+v", r)
	}
	// Numbers as strings and strings as numbers, new fields, a field twice, and rows that are no guest, are survived.
	rows, err = parsePVEResources([]byte(`[{"vmid":"100","type":"lxc","node":"p","status":"running","template":"1","name":7,"new":{"a":[1]},"name":"x"},{"type":"storage","id":"storage/p/local"}]`))
	if err != nil || len(rows) != 1 || rows[0].VMID != "100" || rows[0].Name != "x" || !bool(rows[0].Template) {
		t.Errorf("%+v, %v", rows, err)
	}
	for _, bad := range []string{"", "null", "{}", "[", `[{"type":"lxc","node":"p","status":"running"}]`, `[{"type":"lxc","vmid":100,"status":"running"}]`,
		`[{"type":"lxc","vmid":100,"node":"p"}]`, `[{"type":"lxc","vmid":"../1","node":"p","status":"running"}]`} {
		if rows, err := parsePVEResources([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, rows)
		}
	}
	if rows, err := parsePVEResources([]byte("[]")); err != nil || len(rows) != 0 {
		t.Errorf("a host without guests: %+v, %v", rows, err)
	}
}

func TestProxmoxStatus(t *testing.T) {
	r, err := parsePVEStatus(fixture(t, "proxmox/status-500.json"))
	if err != nil || r.word() != "running" || r.PID != 3056761 || r.Name != "homecloud" || r.ha() != "" {
		t.Errorf("%+v, %v", r, err)
	}
	for text, want := range map[string][2]string{
		`{"status":"running","qmpstatus":"paused","pid":"7","ha":{"managed":1,"state":"error"}}`: {"paused", "error"},
		`{"status":"stopped","qmpstatus":"stopped","ha":{"managed":1}}`:                          {"stopped", "managed"},
		`{"status":"running","ha":{"managed":"1","state":"ignored"}}`:                            {"running", ""},
	} {
		r, err := parsePVEStatus([]byte(text))
		if err != nil || r.word() != want[0] || r.ha() != want[1] {
			t.Errorf("%s: %q %q %v", text, r.word(), r.ha(), err)
		}
	}
	for _, bad := range []string{"", "null", "[]", "{}", `{"status":null}`} {
		if r, err := parsePVEStatus([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestProxmoxConf(t *testing.T) {
	c := parsePVEConf(fixture(t, "proxmox/lxc.conf"), false)
	if c.name != "mail" || c.lock != "" || !c.onboot || c.template || c.mark != "BC:24:11:0A:0B:0C" || !c.dynamic || fmt.Sprint(c.links, c.tags) != "[vmbr0 vmbr1] [mail prod]" {
		t.Errorf("%+v", c)
	}
	if len(c.addrs) != 2 || c.addrs[0].Prefix.String() != "192.0.2.5/24" || c.addrs[0].Iface != "eth0" || c.addrs[1].Prefix.String() != "2001:db8::5/64" {
		t.Errorf("%v", c.addrs)
	}
	c = parsePVEConf(fixture(t, "proxmox/qemu.conf"), true)
	if c.name != "db" || c.lock != "suspended" || c.onboot || !c.agent || c.mark != "cd4a6c3c-1f0e-4b6e-9d39-0f4c7a1c2d3e" || c.dynamic {
		t.Errorf("%+v", c)
	}
	if len(c.addrs) != 1 || c.addrs[0].MAC != "BC:24:11:01:02:03" {
		t.Errorf("%v", c.addrs)
	}
	if other := parsePVEConf([]byte("onboot: 1\n"), true); other.digest == c.digest || other.agent || !parsePVEConf([]byte("agent: 1"), true).agent {
		t.Errorf("%+v", other)
	}
}

func TestProxmoxListOfGuests(t *testing.T) {
	ids, err := parsePVEList(fixture(t, "proxmox/vmlist.json"))
	if err != nil || len(ids) != 2 || ids["101"] != (pveGuest{Node: "pve2", Type: "lxc"}) {
		t.Errorf("%v, %v", ids, err)
	}
	if ids, err := parsePVEList([]byte("{\n\"version\": 0\n}\n")); err != nil || len(ids) != 0 {
		t.Errorf("a cluster without guests: %v, %v", ids, err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"ids":{}}`} {
		if ids, err := parsePVEList([]byte(bad)); err == nil {
			t.Errorf("%q was read as %v", bad, ids)
		}
	}
	ha := parsePVEHA(fixture(t, "proxmox/resources.cfg"))
	if fmt.Sprint(ha) != "map[ct:101:ignored ct:102:started vm:100:started]" {
		t.Errorf("%v", ha)
	}
}

func TestProxmoxTasks(t *testing.T) {
	index := parsePVEIndex(fixture(t, "proxmox/index.txt"))
	if len(index) != 4 {
		t.Fatalf("%+v", index)
	}
	if x := index[0]; x.kind != "vzstop" || x.id != "101" || x.user != "root@pam!test2" || x.started.Unix() != 0x692EE327 || x.ended.Unix() != 0x692EE329 || !x.ok() || x.proc.PID != 135753 || x.proc.Start != 2987270 {
		t.Errorf("%+v", x)
	}
	if x := index[2]; x.ok() || x.status != "startup for container '101' failed" {
		t.Errorf("%+v", x)
	}
	if x := index[3]; !x.ok() || x.id != "" || x.proc.Start != 0x1002D9601 {
		t.Errorf("%+v", x)
	}
	active := parsePVEActive(fixture(t, "proxmox/active.txt"))
	if len(active) != 3 || !active[0].ended.IsZero() || active[1].ok() || active[1].ended.IsZero() {
		t.Errorf("%+v", active)
	}
	if cut := parsePVEIndex([]byte("UPID:pve:00021249:002D9506:692EE327:vzstop:101:root@pam: 692EE329 OK")); len(cut) != 0 {
		t.Errorf("a line that is being written was read: %+v", cut)
	}
	h := newPVEHistory(true, index, active)
	if got, ok := h.stop("101", time.Time{}, func(pveTask) bool { return false }); ok {
		t.Errorf("it was started after that, and the start failed: %+v", got)
	}
	if got := pveTaskLog(index[0].upid); got != "/var/log/pve/tasks/7/"+index[0].upid || pveTaskLog("x") != "" {
		t.Errorf("%q", got)
	}
	for log, want := range map[string]string{"a\nTASK OK\n": "OK", "TASK ERROR: x y\n": "x y", "TASK WARNINGS: 3": "WARNINGS: 3", "INFO: 50%\n": "", "": ""} {
		if got, ok := parsePVEResult([]byte(log)); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", log, got, ok)
		}
	}
}

func TestProxmoxCause(t *testing.T) {
	for file, want := range map[string]string{
		"start-hook.txt":   "Script exited with status 2, of a hook: 'pct start ID --debug' shows what it printed",
		"start-bridge.txt": "no physical interface on bridge 'vmbr2'",
	} {
		if got := pveCause(fixture(t, "proxmox/"+file)); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	for said, want := range map[string]string{
		"startup for container '1' failed\n": "startup for container '1' failed",
		"":                                   "",
		"generating cloud-init ISO\nkvm: -netdev type=user,id=net0: Invalid parameter 'queues'\nstart failed: QEMU exited with code 1": "kvm: -netdev type=user,id=net0: Invalid parameter 'queues'",
		"lxc_setup: 77 no such device\nlxc_init: 1 Failed to initialize container \"1\"":                                               "no such device",
	} {
		if got := pveCause([]byte(said)); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

func TestProxmoxInterfaces(t *testing.T) {
	for text, want := range map[string]string{
		`[{"hwaddr":"00:00:00:00:00:00","inet":"127.0.0.1/8","inet6":"::1/128","name":"lo"},{"hwaddr":"bc:24:11:89:67:07","inet":"192.168.1.100/24","inet6":"fe80::1/64","name":"eth0"}]`: "192.168.1.100/24",
		`{"result":[{"name":"eth0","ip-addresses":[{"ip-address":"192.0.2.10","prefix":"24"},{"ip-address":"fe80::1","prefix":64}]}]}`:                                                    "192.0.2.10/24",
		`[{"name":"eth0","inet":"10.0.0.1/8","ip-addresses":[{"ip-address":"10.0.0.1","prefix":8}]}]`:                                                                                     "10.0.0.1/8",
		`null`: "",
	} {
		addrs, err := parsePVEInterfaces([]byte(text))
		var got []string
		for _, a := range addrs {
			got = append(got, a.Prefix.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := parsePVEInterfaces([]byte("nothing")); err == nil {
		t.Error("words are no addresses")
	}
}

func TestProxmoxMeaning(t *testing.T) {
	i, err := Open(Spec{Engine: "proxmox"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"pct stop 100": "100 kill",
		"/usr/bin/perl -T /usr/sbin/pct shutdown 100 --timeout 60":   "100 stop",
		"/usr/bin/perl /usr/sbin/qm shutdown --timeout 60 100":       "100 stop",
		"qm stop --skiplock 100":                                     "100 kill",
		"qm reset 100":                                               "100 restart",
		"pct reboot 100 --timeout=5":                                 "100 restart",
		"pct migrate 100 pve2 --restart":                             "100 move",
		"qm destroy 100 --purge":                                     "100 remove",
		"qm snapshot 100 before":                                     "100 snapshot",
		"vzdump 100 --mode stop":                                     "100 snapshot",
		"vzdump --mode stop 100 101":                                 "100 snapshot",
		"ha-manager migrate vm:100 pve2":                             "100 move",
		"ha-manager crm-command stop ct:100 30":                      "100 stop",
		"ha-manager set ct:100 --state stopped":                      "100 stop",
		"pvesh create /nodes/pve1/lxc/100/status/stop":               "100 kill",
		"pvesh --nooutput create nodes/pve1/qemu/100/status/reset":   "100 restart",
		"pvesh create /nodes/pve1/qemu/100/migrate --target pve2":    "100 move",
		"pvesh delete /nodes/pve1/lxc/100":                           "100 remove",
		"task UPID:pve:00021249:002D9506:692EE327:vzstop:100:a@pam:": "100 kill",
		"task UPID:pve:00021249:002D9506:692EE327:vzdump:100:a@pam:": "100 snapshot",
		"pct start 100":                                              "",
		"pct exec 100 -- stop 101":                                   "",
		"pct status 100":                                             "",
		"pct list":                                                   "",
		"pct":                                                        "",
		"pct stop --help":                                            "",
		"pct stop ../100":                                            "",
		"vi pct stop 100":                                            "",
		"vzdump --all 1 --mode stop":                                 "",
		"ha-manager set ct:100 --state started":                      "",
		"ha-manager status":                                          "",
		"pvesh get /nodes/pve1/lxc/100/status/current":               "",
		"pvesh create /nodes/pve1/stopall":                           "",
		"task UPID:pve:00021249:002D9506:692EE327:vzdump::a@pam:":    "",
		"task UPID:pve:00021249:002D9506:692EE327:vncproxy:100:a:":   "",
		"perl": "",
	} {
		argv := strings.Fields(line)
		if strings.HasPrefix(line, "task ") {
			argv = []string{line}
		}
		id, verb, ok := i.Meaning(argv)
		if got := strings.TrimSpace(id + " " + string(verb)); ok && got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", line, got, ok, want)
		}
	}
}

// said answers every command alike.
type said struct {
	Runner
	out  string
	exit int
}

func (s said) Read(_ context.Context, c hostexec.Command) hostexec.Transcript {
	return hostexec.Transcript{Argv: c.Argv, Stdout: []byte(s.out), StdoutSize: int64(len(s.out)), Exit: s.exit}
}

// A container that two engines would show is found through the higher one only.
func TestDiscoverCovers(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	finds := func(specs ...Spec) func(context.Context, Runner) []Spec {
		return func(context.Context, Runner) []Spec { return specs }
	}
	low := kind{name: "lxc", discover: finds(Spec{Engine: "lxc", Path: link}, Spec{Engine: "lxc", Instance: "own", Path: "/srv/lxc"})}
	for _, tt := range []struct {
		high kind
		want string
	}{
		{kind{name: "high", discover: finds(Spec{Engine: "high"}), covers: []Spec{{Engine: "lxc", Path: dir}}}, "own high"},
		{kind{name: "high", discover: finds(Spec{Engine: "high"}), covers: []Spec{{Engine: "lxc"}}}, "high"},
		{kind{name: "high", discover: finds(), covers: []Spec{{Engine: "lxc", Path: dir}}}, " own"},
		{kind{name: "high", discover: finds(Spec{Engine: "high"})}, " own high"},
	} {
		var got []string
		for _, s := range discover(context.Background(), nil, []kind{low, tt.high}) {
			name := s.Instance
			if s.Engine == "high" {
				name = "high"
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("found %q, want %q", got, tt.want)
		}
	}
	covered := false
	for _, k := range kinds() {
		for _, c := range k.covers {
			covered = covered || k.name == "proxmox" && c.Engine == "lxc" && c.Path == "/var/lib/lxc"
		}
	}
	if !covered {
		t.Error("proxmox does not cover the default path of lxc, where its CTs lie")
	}
}

func TestProxmoxNumbers(t *testing.T) {
	for id, want := range map[string]bool{"100": true, "999999999": true, "99": false, "1000000000": false, "012": false, "-100": false, "10a": false, "": false, "1/2": false} {
		if (checkVMID(id) == nil) != want {
			t.Errorf("%q: %v", id, checkVMID(id))
		}
	}
	if pveMonitorOf([]string{"/usr/bin/lxc-start", "-F", "-n", "100"}) != "100" || pveMonitorOf([]string{"[lxc monitor] /var/lib/lxc 100"}) != "100" {
		t.Error("a monitor is not known")
	}
	if pveMonitorOf([]string{"[lxc monitor] /srv/lxc 100"}) != "" || pveMonitorOf([]string{"lxc-start", "-n", "100"}) != "" || pveMonitorOf(nil) != "" {
		t.Error("what is no monitor of Proxmox counts as one")
	}
	pidfile := filepath.Join(t.TempDir(), "100.pid")
	if err := os.WriteFile(pidfile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if proc, ok := pveVM(pidfile, "100"); ok {
		t.Errorf("a pid that another process has now counts as the VM: %+v", proc)
	}
}

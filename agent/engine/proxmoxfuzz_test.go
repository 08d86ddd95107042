package engine

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
)

// A process in a pid namespace below ours is a guest's own, whatever it calls itself.
func TestProxmoxNested(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a pid namespace needs root")
	}
	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if !isNested(cmd.Process.Pid) || isNested(os.Getpid()) || !isNested(1<<22+1) {
		t.Errorf("in a namespace %v, we ourselves %v, nobody %v", isNested(cmd.Process.Pid), isNested(os.Getpid()), isNested(1<<22+1))
	}
}

func TestProxmoxBackupLog(t *testing.T) {
	for log, want := range map[string]struct {
		begun string
		b     Backup
		ended bool
	}{
		"2025-08-24 00:05:02 INFO: Starting Backup of VM 104 (lxc)\n2025-08-24 00:05:02 INFO: creating vzdump archive '/mnt/a.tar.zst'\n2025-08-24 00:05:09 INFO: Finished Backup of VM 104 (00:00:07)\n": {
			"2025-08-24 00:05:02", Backup{OK: true, Said: "/mnt/a.tar.zst"}, true},
		"2025-08-24 00:05:02 INFO: Starting Backup of VM 104 (qemu)\n2025-08-24 00:05:03 INFO: creating Proxmox Backup Server archive 'vm/104/2025-08-23T22:05:02Z'\n2025-08-24 00:05:03 ERROR: VM 104 qmp command 'backup' failed - got timeout\n2025-08-24 00:05:04 ERROR: Backup of VM 104 failed - VM 104 qmp command 'backup' failed - got timeout\n": {
			"2025-08-24 00:05:02", Backup{Said: "VM 104 qmp command 'backup' failed - got timeout"}, true},
		"2025-08-24 00:05:02 INFO: Starting Backup of VM 104 (lxc)\n2025-08-24 00:05:02 INFO: status = running": {"2025-08-24 00:05:02", Backup{}, false},
		"INFO: Finished Backup of VM 1": {"", Backup{OK: true}, true},
		"":                              {"", Backup{}, false},
	} {
		if begun, b, ended := parseVzdumpLog([]byte(log)); begun != want.begun || b != want.b || ended != want.ended {
			t.Errorf("%q: %q %+v %v", log, begun, b, ended)
		}
	}
}

func TestProxmoxClock(t *testing.T) {
	boot, now, err := pveClock([]byte("btime 1763965000\n"), []byte("21957.53 40000.11\n"))
	if err != nil || boot.Unix() != 1763965000 || now.Sub(boot) != 21957530*time.Millisecond {
		t.Errorf("%v %v %v", boot, now, err)
	}
	for _, bad := range [][2]string{{"", "1 2"}, {"btime x", "1 2"}, {"btime 1", ""}} {
		if _, _, err := pveClock([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	task := pveTask{started: boot, ended: now}
	if task.shift(-time.Hour); boot.Sub(task.started) != time.Hour || now.Sub(task.ended) != time.Hour {
		t.Errorf("%+v", task)
	}
}

func FuzzProxmoxJSON(f *testing.F) {
	for _, name := range []string{"resources.json", "status-500.json", "vmlist.json"} {
		f.Add(fixture(f, "proxmox/"+name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := parsePVEResources(b)
		for _, r := range rows {
			if checkVMID(string(r.VMID)) != nil {
				t.Errorf("%q is a guest", r.VMID)
			}
			_, _, _ = r.word(), r.ha(), r.PID
		}
		_, _ = parsePVEStatus(b)
		_, _ = parsePVEList(b)
		_, _ = parsePVEInterfaces(b)
	})
}

func FuzzProxmoxFiles(f *testing.F) {
	for _, name := range []string{"lxc.conf", "qemu.conf", "resources.cfg", "index.txt", "active.txt", "start-hook.txt", "start-bridge.txt"} {
		f.Add(fixture(f, "proxmox/"+name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, vm := range []bool{false, true} {
			if c := parsePVEConf(b, vm); len(c.name) > maxWords+8 {
				t.Errorf("a name of %d bytes", len(c.name))
			}
		}
		h := newPVEHistory(true, parsePVEIndex(b), parsePVEActive(b))
		for id := range h.byGuest {
			h.stop(id, time.Now(), func(pveTask) bool { return false })
			h.operation(id)
		}
		_ = parsePVEHA(b)
		_, _ = parsePVEResult(b)
		_ = pveCause(b)
		_, _, _ = parseVzdumpLog(b)
		_, _, _ = pveClock(b, b)
	})
}

func FuzzProxmoxMeaning(f *testing.F) {
	f.Add("pct\x00stop\x00100")
	f.Add("task UPID:pve:00021249:002D9506:692EE327:vzstop:100:a@pam:")
	f.Add("/usr/bin/perl\x00-T\x00/usr/sbin/pvesh\x00create\x00/nodes/p/lxc/100/status/stop")
	i, err := Open(Spec{Engine: "proxmox"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		id, verb, ok := i.Meaning(strings.Split(line, "\x00"))
		if ok && (checkVMID(id) != nil || verb == "" || verb == health.VerbStart) {
			t.Errorf("%q means %s of %q", line, verb, id)
		}
	})
}

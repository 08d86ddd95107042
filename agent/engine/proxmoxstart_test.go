package engine_test

import (
	"context"
	"os"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// causes: a failed start tells its true cause, not that it failed, nor what is said in any case.
func (y *proxmoxYard) causes() {
	const debug = ", of a hook: 'pct start ID --debug' shows what it printed"
	causes := map[string]map[string]string{
		"lxc": {
			"start-hook":       "Script exited with status 2" + debug,
			"start-nesting":    "Script exited with status 11" + debug,
			"start-hookscript": "room: the zone's spot pool is full (hookscript error for #ID on pre-start: command '/var/lib/vz/snippets/hook #ID pre-start' failed: exit code 1)",
			"lock-timeout":     "can't lock file '/run/lock/lxc/pve-config-#ID.lock' - got timeout",
			"start-storage":    "storage 'nas1' does not exist",
			"start-volume":     "no such logical volume pve/vm-#ID-disk-0",
			"start-init":       `Exec format error - Failed to exec "/sbin/init"`,
			"start-network":    "Success - Failed to create network device",
			"start-device":     `No such file or directory - Failed to mount "/dev/ttyACM0" onto "/usr/lib/x86_64-linux-gnu/lxc/rootfs/dev/ttyACM0"`,
			"start-apparmor":   `Failed to run apparmor_parser on "/var/lib/lxc/#ID/apparmor/lxc-#ID_<-var-lib-lxc>": apparmor_parser: Unable to replace "lxc-#ID_</var/lib/lxc>".  Profile does not conform to protocol`,
		},
		"qemu": {
			"start-bridge":     "no physical interface on bridge 'vmbr2'",
			"start-nobridge":   "bridge 'vmbr1' does not exist",
			"start-hookscript": "room: the zone's spot pool is full (hookscript error for #ID on pre-start: command '/var/lib/vz/snippets/hook #ID pre-start' failed: exit code 1)",
			"start-storage":    "storage 'nas1' does not exist",
			"start-volume":     "no such logical volume pve/vm-#ID-disk-0",
			"start-gone":       "volume 'local:#ID/vm-#ID-disk-1.raw' does not exist",
			"start-memory":     "kvm: cannot set up guest memory 'pc.ram': Cannot allocate memory",
			"start-ide":        "kvm: -device ide-cd,bus=ide.0,unit=1,drive=drive-ide1,id=ide1,bootindex=103: Can't create IDE unit 1, bus supports only 1 units",
			"start-nokvm":      "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS.",
		},
	}
	y.Make("web1", made{})
	id, i := y.ID("web1"), y.Open(y.t)
	for fails, cause := range causes[y.kind] {
		y.h.Update(id, func(k *scripted.Container) { k.Keys["fails"] = fails })
		a := i.Do(context.Background(), health.VerbStart, id, 0)
		if want := strings.ReplaceAll(cause, "#ID", id); a.Err == "" || a.Cause != want || a.Already || a.Transcript.Exit != 255 {
			y.t.Errorf("%s: exit %d, cause %q, want %q", fails, a.Transcript.Exit, a.Cause, want)
		}
	}
	if s := look(y.t, i, id); s.State != health.Stopped {
		y.t.Errorf("%+v", s)
	}
}

// slowStart: one that takes longer than it was given is waited for a little, and a late success is no failure.
func (y *proxmoxYard) slowStart() {
	y.Make("web1", made{})
	id, i := y.ID("web1"), y.Open(y.t)
	tool := map[string]string{"lxc": "pct", "qemu": "qm"}[y.kind]
	y.h.Fault(scripted.Fault{On: tool + " start", Do: scripted.Hang, For: 2 * time.Second})
	if a := i.Do(context.Background(), health.VerbStart, id, time.Second); a.Err != "" || a.Transcript.TimedOut {
		y.t.Errorf("%+v", a)
	}
	awaitState(y.t, i, id, health.Running)
	y.Die("web1")
	awaitState(y.t, i, id, health.Stopped)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if a := i.Do(ctx, health.VerbStart, id, 0); !a.Transcript.Abandoned || a.Err == "" {
		y.t.Errorf("nobody waits for it any more: %+v", a)
	}
	awaitState(y.t, i, id, health.Running)
}

// lies: exit 0 proves nothing, of a start as of a stop.
func (y *proxmoxYard) lies() {
	i := y.up("web1")
	id, tool := y.ID("web1"), map[string]string{"lxc": "pct", "qemu": "qm"}[y.kind]
	y.h.Fault(scripted.Fault{On: tool + " stop", Do: scripted.Answer, Reply: "stop"})
	if a := i.Do(context.Background(), health.VerbKill, id, 0); a.Err != "" || look(y.t, i, id).State != health.Running {
		y.t.Errorf("a stop that lies: %+v", a)
	}
	y.h.Heal()
	y.Die("web1")
	awaitState(y.t, i, id, health.Stopped)
	y.h.Fault(scripted.Fault{On: tool + " start", Do: scripted.Answer, Reply: "start"})
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" || look(y.t, i, id).State != health.Stopped {
		y.t.Errorf("a start that lies: %+v", a)
	}
	y.h.Heal()
	y.h.Fault(scripted.Fault{On: tool + " start", Do: scripted.Die})
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		y.t.Errorf("a start that does not last: %+v", a)
	}
	awaitState(y.t, i, id, health.Stopped)
}

// deaf: a guest that does not heed a shutdown is not killed, and the answer says why it stays.
func (y *proxmoxYard) deaf() {
	cause := map[string]string{
		"lxc": "command 'lxc-stop -n ID --nokill --timeout 1' failed: got timeout", "qemu": "VM quit/powerdown failed - got timeout",
	}[y.kind]
	i := y.up("web1")
	id := y.ID("web1")
	y.h.Update(id, func(k *scripted.Container) { k.Keys["deaf"] = "1" })
	before := look(y.t, i, id).Init
	a := i.Do(context.Background(), health.VerbStop, id, time.Second)
	if s := look(y.t, i, id); a.Err == "" || a.Cause != strings.ReplaceAll(cause, "ID", id) || a.Transcript.Exit != 255 || s.State != health.Running || s.Init != before {
		y.t.Errorf("%+v, %+v", a, s)
	}
	y.Die("web1")
	awaitState(y.t, i, id, health.Stopped)
	a = i.Do(context.Background(), health.VerbKill, id, 0)
	if y.kind == "lxc" && (a.Cause != "CT "+id+" not running" || a.Transcript.Exit != 255) {
		y.t.Errorf("kill of what does not run: %+v", a)
	}
}

// reboots: a guest that reboots is started again by Proxmox, which leaves itself a file, until it is taken or old.
func (y *proxmoxYard) reboots() {
	i := y.up("web1")
	id := y.ID("web1")
	file := strings.ReplaceAll(map[string]string{"lxc": "/var/lib/lxc/ID/reboot", "qemu": "/var/run/qemu-server/ID.reboot"}[y.kind], "ID", id)
	y.h.WriteFile(file, "")
	before := look(y.t, i, id).Init
	y.Die("web1")
	y.reached(i, id, before, health.Busy)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(y.h.File(file), old, old); err != nil {
		y.t.Fatal(err)
	}
	y.reached(i, id, before, health.Stopped)
	y.h.PVERunning(y.task("reboot"), id, "bob@pam", time.Now(), os.Getpid(), "")
	y.reached(i, id, before, health.Busy)
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	y.h.RemoveFile(file)
	y.Run("web1")
	first := look(y.t, i, id).Init
	y.tool("reboot", "web1")
	if s := find(y.t, list(y.t, i), id); s.State != health.Running || s.Init == first || s.Init.PID == 0 || s.OnPurpose != "" {
		y.t.Errorf("it was rebooted: %+v, was %v", s, first)
	}
}

package scripted

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PVENode is what the scripted Proxmox calls its host.
const PVENode = "pve1"

// proxmox plays pvesh, pct and qm of Proxmox VE 8. A CT has a real monitor: a process "lxc-start -F -n ID" that listens on
// the abstract socket by which Proxmox itself tells who runs, with an init in a pid namespace of its own; a VM is a
// process "kvm -id ID" in its pid file. Both need root. Container.Type is "lxc" or "qemu"; Keys: node, onboot, template,
// hastate, net, mac, uuid, agent, fails (the reply of its starts and backups), deaf (it does not heed a shutdown), unlisted
// (/cluster/resources does not have it), vanished (status/current does not).
func proxmox() player {
	return player{
		tools: map[string]func(*Call) int{
			"pvesh": pvesh, "pct": pveGuest, "qm": pveGuest, "vzdump": pveDump, "lxc-start": pveMonitor, "kvm": pveMachine,
			"pveversion": func(c *Call) int { return c.Reply("pveversion", View{}) },
		},
		prepare: func(h *Host) error {
			h.WriteFile("/var/log/pve/tasks/active", "")
			h.WriteFile("/proc/sys/kernel/hostname", PVENode+".example.com\n")
			h.WriteFile("/etc/pve/nodes/"+PVENode+"/lxc/.keep", "")
			h.PVEWrite()
			return os.Symlink("nodes/"+PVENode, h.File("/etc/pve/local"))
		},
	}
}

// pvesh answers "get PATH".
func pvesh(c *Call) int {
	if _, err := os.Stat(c.File("/etc/pve/.vmlist")); err != nil || len(c.Args) < 2 || c.Args[0] != "get" {
		return c.Reply("no-cluster", View{})
	}
	if c.Args[1] == "/cluster/resources" {
		var all []Container
		hung := slices.ContainsFunc(c.All(), Container.pveHangs)
		for _, k := range c.All() {
			if k.State = pveWord(k); hung {
				k.State = "silent" // pvestatd hangs there, and tells nothing of any
			}
			if k.Says != "" {
				k.State = k.Says
			}
			if k.Key("unlisted") == "" {
				all = append(all, k)
			}
		}
		return c.Reply("resources", View{All: all})
	}
	f := strings.Split(strings.Trim(c.Args[1], "/"), "/")
	if len(f) < 5 {
		return c.Reply("no-cluster", View{})
	}
	k := c.Get(f[3])
	if k == nil || k.Key("node") != f[1] || k.Type != f[2] || k.Key("vanished") != "" {
		return c.Reply("nosuch", View{ID: f[3], Vars: map[string]string{"node": f[1], "folder": f[2]}})
	}
	switch strings.Join(f[4:], "/") {
	case "interfaces":
		return c.Reply("interfaces", View{Container: k})
	case "agent/network-get-interfaces":
		if len(k.Addrs) == 0 {
			return c.Reply("agent-silent", View{Container: k})
		}
		return c.Reply("agent-interfaces", View{Container: k})
	}
	for k.pveHangs() {
		time.Sleep(50 * time.Millisecond)
	}
	if k.State = pveWord(*k); k.State == "stopped" {
		k.PID = 0
	}
	return c.Reply("current-"+k.Type, View{Container: k})
}

// pveHangs tells a CT whose monitor does not answer: "lxc-info -p" waits for it without a limit (PVE::LXC::find_lxc_pid).
func (c Container) pveHangs() bool {
	pid, _ := strconv.Atoi(c.Key("monitor"))
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && c.Type == "lxc" && strings.Contains(string(b), ") T ")
}

// pveWord is the true state.
func pveWord(k Container) string {
	if !k.Alive() {
		return "stopped"
	}
	return k.State
}

// pveGuest is pct and qm: VERB ID.
func pveGuest(c *Call) int {
	if len(c.Args) < 2 {
		return c.Reply("no-cluster", View{})
	}
	k := c.Get(c.Args[1])
	if k == nil || (k.Type == "qemu") != (c.Tool == "qm") {
		return c.Reply("nosuch", View{ID: c.Args[1], Vars: map[string]string{"node": PVENode, "folder": c.Tool}})
	}
	switch c.Args[0] {
	case "start":
		return c.pveStart(k)
	case "stop", "shutdown":
		return c.pveStop(k)
	case "reboot":
		c.pveEnd(k)
		c.pveBegin(k)
		return c.Reply("start", View{Container: k})
	case "unlock":
		k.Lock = ""
		c.PVEPut(*k)
		return c.Reply("unlock", View{Container: k})
	case "exec":
		return c.pveExec()
	}
	return c.Reply("no-cluster", View{})
}

func (c *Call) pveStart(k *Container) int {
	kind := map[string]string{"pct": "vz", "qm": "qm"}[c.Tool] + "start"
	fail := func(reply, text string) int {
		c.PVETask(kind, k.ID, "root@pam", time.Now(), time.Now(), text)
		return c.Reply(reply, View{Container: k})
	}
	switch {
	case k.Alive():
		return c.Reply("start-already-"+k.Type, View{Container: k})
	case k.Lock != "":
		return fail("start-locked", "CT is locked ("+k.Lock+")")
	case k.Key("fails") != "":
		return fail(k.Key("fails"), "start failed")
	}
	began := time.Now()
	c.pveBegin(k)
	c.PVETask(kind, k.ID, "root@pam", began, time.Now(), "OK")
	return c.Reply("start", View{Container: k})
}

// pveBegin starts a guest's process and waits until it runs.
func (c *Call) pveBegin(k *Container) {
	tool := []string{"lxc-start", "-F", "-n", k.ID}
	if k.Type == "qemu" {
		tool = []string{"kvm", "-id", k.ID, "-name", k.Name + ",debug-threads=on", "-daemonize"}
	}
	cmd := exec.Command(filepath.Join(c.Bin(), tool[0]), tool[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.must(cmd.Start())
	came := func() bool { // it may have died again already, by a fault
		now := c.Get(k.ID)
		return now != nil && now.PID != 0 && (now.PID != k.PID || now.Start != k.Start)
	}
	if !Wait(20*time.Second, came) {
		c.must(fmt.Errorf("%s does not come up", k.ID))
	}
}

func (c *Call) pveStop(k *Container) int {
	kind := map[string]string{"pct": "vz", "qm": "qm"}[c.Tool] + c.Args[0]
	began := time.Now()
	switch {
	case !k.Alive() && c.Tool == "pct":
		return c.Reply("stop-not-running", View{Container: k})
	case c.Args[0] == "shutdown" && k.Key("deaf") != "":
		seconds, _ := strconv.Atoi(c.Args[slices.Index(c.Args, "--timeout")+1])
		time.Sleep(time.Duration(seconds) * time.Second)
		c.PVETask(kind, k.ID, "root@pam", began, time.Now(), "got timeout")
		return c.Reply("shutdown-timeout-"+k.Type, View{Container: k, Vars: map[string]string{"timeout": strconv.Itoa(seconds)}})
	}
	c.pveEnd(k)
	c.PVETask(kind, k.ID, "root@pam", began, time.Now(), "OK")
	return c.Reply(c.Args[0], View{Container: k})
}

// pveEnd kills the init and waits for the monitor, as vm_stop of src/PVE/LXC.pm waits for the command socket to close.
func (h *Host) pveEnd(k *Container) {
	kill(k.PID, k.Start)
	pid, _ := strconv.Atoi(k.Key("monitor"))
	start, _ := strconv.ParseUint(k.Key("monitor-start"), 10, 64)
	Wait(5*time.Second, func() bool { now, ok := startOf(pid); return !ok || now != start })
}

// pveExec runs what stands behind "--", here and not inside: there is no inside.
func (c *Call) pveExec() int {
	i := slices.Index(c.Args, "--")
	if i < 0 || i+1 >= len(c.Args) {
		return 255
	}
	cmd := exec.Command(c.Args[i+1], c.Args[i+2:]...)
	cmd.Stdout, cmd.Stderr = &c.out, &c.err
	if err := cmd.Run(); cmd.ProcessState == nil {
		c.must(err)
	}
	return cmd.ProcessState.ExitCode()
}

// pveMonitor is lxc-start -F -n ID, as pve-container@.service runs it.
func pveMonitor(c *Call) int {
	id := c.Args[2]
	var l net.Listener
	var err error
	Wait(5*time.Second, func() bool { // the monitor of the life before may only just be ending
		l, err = net.Listen("unix", "@/var/lib/lxc/"+id+"/command")
		return err == nil
	})
	c.must(err)
	defer l.Close()
	init := exec.Command("/bin/sleep", "1800")
	init.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID}
	init.Dir = "/"
	c.must(init.Start())
	c.pveRuns(id, init.Process.Pid)
	go func() {
		c.outlive()
		_ = init.Process.Kill()
	}()
	_ = init.Wait()
	return 0
}

// pveMachine is kvm -id ID …, whose pid file is kept as QEMU would.
func pveMachine(c *Call) int {
	id := c.Args[1]
	c.WriteFile("/var/run/qemu-server/"+id+".pid", strconv.Itoa(os.Getpid())+"\n")
	c.pveRuns(id, os.Getpid())
	c.outlive()
	return 0
}

// pveRuns notes the process of a guest, and ours.
func (c *Call) pveRuns(id string, pid int) {
	own, _ := startOf(os.Getpid())
	start, _ := startOf(pid)
	c.record(os.Getpid(), own)
	c.record(pid, start)
	c.Update(id, func(k *Container) {
		k.PID, k.Start, k.State = pid, start, "running"
		if k.Keys == nil {
			k.Keys = map[string]string{}
		}
		k.Keys["monitor"], k.Keys["monitor-start"] = strconv.Itoa(os.Getpid()), strconv.FormatUint(own, 10)
	})
}

package scripted

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files of a scripted Proxmox: definitions, the list of guests, HA, and the tasks.

// PVEPut adds or replaces a guest and its definition.
func (h *Host) PVEPut(k Container) {
	h.RemoveFile(h.pveConf(k))
	h.Put(k)
	h.PVEWrite()
}

// PVEDelete removes a guest and its definition.
func (h *Host) PVEDelete(id string) {
	if k := h.Get(id); k != nil {
		h.RemoveFile(h.pveConf(*k))
		h.Delete(id)
		h.PVEWrite()
	}
}

func (h *Host) pveConf(k Container) string {
	folder := "lxc"
	if k.Type == "qemu" {
		folder = "qemu-server"
	}
	return filepath.Join("/etc/pve/nodes", k.Key("node"), folder, k.ID+".conf")
}

// PVEWrite writes the files that pmxcfs would show: .vmlist as cfs_create_vmlist_msg of proxmox/pve-cluster,
// src/pmxcfs/status.c prints it, and the definitions.
func (h *Host) PVEWrite() {
	var ids []string
	ha := ""
	for _, k := range h.All() {
		ids = append(ids, fmt.Sprintf("\"%s\": { \"node\": \"%s\", \"type\": \"%s\", \"version\": 1 }", k.ID, k.Key("node"), k.Type))
		h.WriteFile(h.pveConf(k), pveDefinition(k))
		if state := k.Key("hastate"); state != "" {
			ha += fmt.Sprintf("%s: %s\n\tstate %s\n\n", map[string]string{"lxc": "ct", "qemu": "vm"}[k.Type], k.ID, state)
		}
	}
	text := "{\n\"version\": 5\n}\n"
	if len(ids) > 0 {
		text = "{\n\"version\": 5,\n\"ids\": {\n" + strings.Join(ids, ",\n") + "}\n}\n"
	}
	h.WriteFile("/etc/pve/.vmlist", text)
	h.WriteFile("/etc/pve/ha/resources.cfg", ha)
}

// pveDefinition is the file of a guest, as the manual pages pct.conf(5) and qm.conf(5) have it.
func pveDefinition(k Container) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	b.WriteString("# made by hand\n")
	if k.Type == "lxc" {
		line("arch", "amd64")
		line("hostname", k.Name)
		line("net0", "name=eth0,bridge=vmbr0,hwaddr="+k.Key("mac")+","+k.Key("net")+",type=veth")
		line("ostype", "debian")
	} else {
		line("name", k.Name)
		line("agent", k.Key("agent"))
		line("ipconfig0", k.Key("net"))
		line("net0", "virtio="+k.Key("mac")+",bridge=vmbr0,firewall=1")
		line("smbios1", "uuid="+k.Key("uuid"))
	}
	line("onboot", k.Key("onboot"))
	line("lock", k.Lock)
	line("tags", k.Key("tags"))
	line("template", k.Key("template"))
	b.WriteString("\n[before-upgrade]\nonboot: 1\nlock: snapshot\nsnaptime: 1700000000\n")
	return b.String()
}

// PVETask writes down a task that is over, as active_workers of proxmox/pve-common, src/PVE/RESTEnvironment.pm does: in the
// index, and among the active ones, which keep the last 25.
func (h *Host) PVETask(kind, id, user string, began, ended time.Time, status string) {
	upid := h.pveUPID(kind, id, user, began, os.Getpid())
	h.pveAppend("/var/log/pve/tasks/index", fmt.Sprintf("%s %08X %s\n", upid, ended.Unix(), status))
	h.pveAppend("/var/log/pve/tasks/active", fmt.Sprintf("%s 1 %08X %s\n", upid, ended.Unix(), status))
	h.pveLog(upid, status)
}

// PVERunning writes down a task that is at work, by the process pid. With a status, it is one that has just ended, which
// only its log tells.
func (h *Host) PVERunning(kind, id, user string, began time.Time, pid int, status string) {
	upid := h.pveUPID(kind, id, user, began, pid)
	h.pveAppend("/var/log/pve/tasks/active", upid+" 0\n")
	if status != "" {
		h.pveLog(upid, status)
	}
}

func (h *Host) pveUPID(kind, id, user string, began time.Time, pid int) string {
	start, _ := startOf(pid)
	return fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", PVENode, pid, start, began.Unix(), kind, id, user)
}

func (h *Host) pveLog(upid, status string) {
	last := "TASK ERROR: " + status
	if status == "OK" || strings.HasPrefix(status, "WARNINGS: ") {
		last = "TASK " + status
	}
	h.WriteFile("/var/log/pve/tasks/"+strings.Split(upid, ":")[4][7:]+"/"+upid, "some words\n"+last+"\n")
}

func (h *Host) pveAppend(path, line string) {
	f, err := os.OpenFile(h.File(path), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	h.must(err)
	defer f.Close()
	_, err = f.WriteString(line)
	h.must(err)
}

// pveDump is vzdump ID …: a file that stands for the archive, and the guest's own log with the times that debugmsg of
// proxmox/pve-guest-common, src/PVE/VZDump/Plugin.pm puts before what is printed.
func pveDump(c *Call) int {
	k := c.Get(c.Args[0])
	if k == nil || !c.Has("--remove") {
		return c.Reply("nosuch", View{ID: c.Args[0], Vars: map[string]string{"node": PVENode, "folder": "lxc"}})
	}
	began := time.Now()
	archive := "/var/lib/vz/dump/vzdump-" + k.Type + "-" + k.ID + began.Format("-2006_01_02-15_04_05") + ".tar.zst"
	status, reply := "OK", "vzdump"
	if why := k.Key("fails"); strings.HasPrefix(why, "vzdump") {
		status, reply = "job errors", why
	} else {
		c.WriteFile(archive, "an archive\n")
	}
	code := c.Reply(reply, View{Container: k, Vars: map[string]string{"archive": archive, "began": began.Format(time.DateTime)}})
	log := ""
	for line := range strings.Lines(c.out.String()) {
		if !strings.Contains(line, "backup job") && !strings.Contains(line, "Backup started at") {
			log += began.Format(time.DateTime) + " " + line
		}
	}
	c.WriteFile("/var/log/vzdump/"+k.Type+"-"+k.ID+".log", log)
	c.PVETask("vzdump", k.ID, "root@pam", began, time.Now(), status)
	return code
}

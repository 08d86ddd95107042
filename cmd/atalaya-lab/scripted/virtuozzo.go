package scripted

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// virtuozzo plays prlctl, prlsrvctl monitor, vzctl 7 and its vzlist. Its host files are where FACTS §2 says; a container's
// are named by its EnvID, which is its UUID unless it is older than Virtuozzo 7.
//
// Keys of a container: "envid", "ha" (yes or no), "autostart" (off, on or auto; of a VM), "fails" (the reply that a start
// answers with), "ignores" (how long a stop waits in vain), "backup" (the reply that a backup answers with), "slow" (how long
// a backup takes), "template" (yes), "event" (one that the monitor tells when it changes), and those of openvz for the files.
func virtuozzo() player {
	return player{tools: map[string]func(*Call) int{
		"prlctl": prlctl, "prlsrvctl": prlsrvctl, "vzlist": vz7list, "vzctl": vz7ctl,
	}, prepare: func(h *Host) error {
		if err := os.MkdirAll(h.File("/var/run/ve"), 0o755); err != nil {
			return err
		}
		return prepareOpenVZ(h)
	}}
}

// AddVZ7 defines a container or VM.
func (h *Host) AddVZ7(c Container) {
	if c.Keys == nil {
		c.Keys = map[string]string{}
	}
	for key, value := range map[string]string{"envid": c.ID, "ha": "no", "autostart": "off"} {
		if c.Keys[key] == "" {
			c.Keys[key] = value
		}
	}
	if c.Type == "" {
		c.Type = "CT"
	}
	if c.State == "" {
		c.State = "stopped"
	}
	if c.Type == "VM" {
		h.must(os.MkdirAll(h.File("/vz/vmprivate/"+c.ID), 0o755))
		h.Put(c)
		return
	}
	files := c
	files.ID, files.Name = c.Keys["envid"], ""
	if c.Keys["private"] == "" {
		c.Keys["private"] = VZPrivate(files.ID)
	}
	h.AddVZ(files)
	h.Delete(files.ID) // AddVZ has put it under its EnvID
	c.Keys = files.Keys
	h.Put(c)
}

// DestroyVZ7 is prlctl delete.
func (h *Host) DestroyVZ7(id string) {
	c := h.Get(id)
	if c == nil {
		return
	}
	h.Delete(id)
	h.RemoveFile("/etc/vz/conf/" + c.Keys["envid"] + ".conf")
	h.RemoveFile(VZPrivate(c.Keys["envid"]))
	h.RemoveFile("/vz/vmprivate/" + id)
	h.RemoveFile("/var/run/ve/" + c.Keys["envid"] + ".init.pid")
}

// StartVZ7 makes a container run, as prlctl start does.
func (h *Host) StartVZ7(id string) { h.Update(id, func(c *Container) { h.vz7Begin(c) }) }

// vz7Begin starts the init, and leaves .running behind, as OpenVZ/libvzctl lib/env.c does after a start that succeeded.
func (h *Host) vz7Begin(k *Container) {
	h.Begin(k)
	k.State = "running"
	if k.Type == "VM" {
		return
	}
	h.WriteFile("/var/run/ve/"+k.Key("envid")+".init.pid", strconv.Itoa(k.PID))
	h.WriteFile(k.Key("private")+"/.running", "")
	h.vzlog(k.Key("envid"), "Starting Container ...", "Container is mounted", "Container start in progress...")
}

// vz7End stops it on purpose: .running goes first (FACTS §2).
func (h *Host) vz7End(k *Container, how string) {
	if k.Type != "VM" {
		h.RemoveFile(k.Key("private") + "/.running")
	}
	h.End(k)
	k.State = "stopped"
	if k.Type != "VM" {
		h.vzlog(k.Key("envid"), how, "Container was stopped", "Container is unmounted")
	}
}

func (h *Host) vz7State(k Container) string {
	switch {
	case k.Says != "":
		return k.Says
	case k.State == "running" && !k.Alive():
		return "stopped" // the vendor's ve-stop unmounts what has ended
	}
	return k.State
}

func prlctl(c *Call) int {
	if len(c.Args) == 0 {
		return 255
	}
	if c.Args[0] == "--version" {
		return c.Reply("version", View{})
	}
	if c.Args[0] == "list" {
		return prlList(c)
	}
	if len(c.Args) < 2 || c.Get(c.Args[1]) == nil {
		return c.Reply("list-nosuch", View{})
	}
	k := c.Get(c.Args[1])
	if c.Args[0] == "exec" {
		return vz7Exec(c, *k, c.Args[2:])
	}
	code := 255
	switch c.Args[0] {
	case "start":
		code = c.prlStart(k)
	case "stop":
		code = c.prlStop(k)
	case "restart":
		c.vz7End(k, "Stopping Container ...")
		c.vz7Begin(k)
		code = c.Reply("restart", View{Container: k})
	case "umount":
		code = c.prlUmount(k)
	case "backup":
		return c.prlBackup(*k)
	case "backup-list":
		return c.prlBackups(*k)
	}
	c.Put(*k)
	return code
}

func prlList(c *Call) int {
	one := ""
	for i, a := range c.Args[1:] {
		if !strings.HasPrefix(a, "-") && c.Args[i] != "-o" {
			one = a
		}
	}
	var v View
	known := false
	for _, k := range c.All() {
		if one != "" && k.ID != one {
			continue
		}
		known = true
		if k.Key("template") == "yes" && !c.Has("-i") {
			continue // only -t shows those
		}
		k.State = c.vz7State(k)
		v.All = append(v.All, k)
	}
	if one != "" && !known {
		return c.Reply("list-nosuch", v)
	}
	if c.Has("-i") && one != "" {
		template := "no"
		if v.All[0].Key("template") != "" {
			template = v.All[0].Key("template")
		}
		return c.Reply("vm-info", View{Container: &v.All[0], Vars: map[string]string{"template": template}})
	}
	return c.Reply("list", v)
}

func (c *Call) prlStart(k *Container) int {
	v := View{Container: k}
	if pid, words := c.vz7Locked(*k); pid != "" {
		v.Vars = map[string]string{"pid": pid, "cmdline": words}
		return c.Reply("start-locked", v)
	}
	switch {
	case c.vz7State(*k) == "running":
		return c.Reply("start-running", v)
	case k.Key("fails") != "":
		return c.Reply(k.Key("fails"), v)
	}
	c.vz7Begin(k)
	return c.Reply("start", v)
}

func (c *Call) prlStop(k *Container) int {
	v := View{Container: k}
	switch {
	case !k.Alive():
		return c.Reply("stop-stopped", v)
	case c.Has("--kill"):
		c.vz7End(k, "Killing Container ...")
		return c.Reply("stop-kill", v)
	case k.Key("ignores") != "":
		d, err := time.ParseDuration(k.Key("ignores"))
		c.must(err)
		time.Sleep(d)
		return c.Reply("stop-timeout", v)
	}
	c.vz7End(k, "Stopping Container ...")
	return c.Reply("stop", v)
}

// vz7Locked gives the holder of a container's lock, if it lives.
func (c *Call) vz7Locked(k Container) (pid, words string) {
	b, err := os.ReadFile(c.File("/vz/lock/" + k.Key("envid") + ".lck"))
	if err != nil {
		return "", ""
	}
	pid, _, _ = strings.Cut(string(b), "\n")
	line, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if pid == "" || err != nil {
		return "", ""
	}
	return pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
}

// vz7Exec runs it on this host, with a shell for vzctl, which joins its words.
func vz7Exec(c *Call, k Container, argv []string) int {
	if !k.Alive() {
		return c.Reply("vzctl-exec-stopped", View{Container: &k})
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &c.out, &c.err
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

func vz7list(c *Call) int {
	one := c.Args[len(c.Args)-1]
	if strings.HasPrefix(one, "-") || strings.Contains(one, ",") {
		one = ""
	}
	var v View
	for _, k := range c.All() {
		if k.Type == "VM" || one != "" && k.Key("envid") != one {
			continue
		}
		_ = exists(c.File(k.Key("private"))) // which it asks the file system, and waits for
		k.State = c.vz7State(k)
		v.All = append(v.All, k)
	}
	if one != "" && len(v.All) == 0 {
		return c.Reply("vzlist-notfound", v)
	}
	return c.Reply("vzlist", v)
}

func vz7ctl(c *Call) int {
	args := c.Args
	if len(args) > 0 && args[0] == "--quiet" {
		args = args[1:]
	}
	if len(args) < 2 {
		return 20
	}
	var k *Container
	for _, have := range c.All() {
		if have.Key("envid") == args[1] {
			k = &have
			break
		}
	}
	if k == nil {
		return 14
	}
	if args[0] == "exec2" {
		return vz7Exec(c, *k, []string{"/bin/sh", "-c", strings.Join(args[2:], " ")})
	}
	v := View{Container: k}
	if pid, words := c.vz7Locked(*k); pid != "" {
		v.Vars = map[string]string{"pid": pid, "cmdline": words}
		return c.Reply("vzctl-locked", v)
	}
	code := 20
	switch args[0] {
	case "start":
		c.vz7Begin(k)
		code = c.Reply("vzctl-start", v)
	case "stop":
		c.vz7End(k, "Stopping Container ...")
		code = c.Reply("vzctl-stop", v)
	case "umount":
		if c.vz7State(*k) != "mounted" {
			return c.Reply("vzctl-umount-unmounted", v)
		}
		k.State, k.Says = "stopped", ""
		code = c.Reply("vzctl-umount", v)
	}
	c.Put(*k)
	return code
}

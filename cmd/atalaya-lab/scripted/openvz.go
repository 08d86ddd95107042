package scripted

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// openvz plays vzctl 4.x and its vzlist. Its host files are where FACTS §1 says: configurations in /etc/vz/conf, private
// areas in /vz/private, locks in /vz/lock, the log in /var/log/vzctl.log, and the pids of inits in /var/lib/vzctl/vepid
// (upstream kernels: kolyshkin/vzctl src/lib/hooks_ct.c).
//
// Keys of a container: "onboot" (true, false or null) and "disabled" (true or false) as its JSON prints them, "fails" (the
// reply that a start answers with), "slow" (how long a start takes), "stuck" (a stop cannot end it), "ignores" (for how long
// its init ignores a stop, until it is killed), "busy" (it cannot be unmounted), "snapshot" (the reply that a snapshot
// answers with). States: running, stopped, mounted, suspended.
func openvz() player {
	return player{tools: map[string]func(*Call) int{"vzlist": vzlist, "vzctl": vzctl}, prepare: prepareOpenVZ}
}

func prepareOpenVZ(h *Host) error {
	for _, d := range []string{"/vz/lock", "/vz/private", "/var/log", "/var/lib/vzctl/vepid", "/etc/vz/conf", "/etc/vz/names"} {
		if err := os.MkdirAll(h.File(d), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(h.File("/etc/vz/vz.conf"), []byte("## Global parameters\nVIRTUOZZO=yes\nLOCKDIR=/vz/lock\nLOGFILE=/var/log/vzctl.log\nVE_ROOT=/vz/root/$VEID\nVE_PRIVATE=/vz/private/$VEID\n"), 0o600)
}

// VZPrivate is where the private area of a container is, for the tool and for the test.
func VZPrivate(id string) string { return "/vz/private/" + id }

// AddVZ defines a container with its configuration and its private area.
func (h *Host) AddVZ(c Container) {
	if c.State == "" {
		c.State = "stopped"
	}
	if c.Keys == nil {
		c.Keys = map[string]string{}
	}
	for key, value := range map[string]string{"onboot": "null", "disabled": "false", "private": VZPrivate(c.ID)} {
		if c.Keys[key] == "" {
			c.Keys[key] = value
		}
	}
	h.must(os.MkdirAll(h.File(c.Keys["private"]), 0o755))
	h.WriteFile("/etc/vz/conf/"+c.ID+".conf", vzConfig(c))
	if c.Name != "" {
		h.must(os.Symlink("/etc/vz/conf/"+c.ID+".conf", h.File("/etc/vz/names/"+c.Name)))
	}
	h.Put(c)
}

// vzConfig is the configuration of a container as vzctl writes it (samples/vzctl-upstream-network-session.txt, NETIF).
func vzConfig(c Container) string {
	conf := fmt.Sprintf("VE_ROOT=\"/vz/root/$VEID\"\nVE_PRIVATE=\"%s\"\nNAME=\"%s\"\nIP_ADDRESS=\"%s\"\n", c.Keys["private"], c.Name, strings.Join(c.Addrs, " "))
	conf += "NETIF=\"ifname=eth0,bridge=vzbr0,mac=00:18:51:C5:6C:D4,host_ifname=veth" + c.ID + ".0,host_mac=00:18:51:02:45:34\"\n"
	for key, name := range map[string]string{"onboot": "ONBOOT", "disabled": "DISABLED"} {
		switch c.Keys[key] {
		case "true":
			conf += name + "=\"yes\"\n"
		case "false":
			conf += name + "=\"no\"\n"
		}
	}
	return conf
}

// StartVZ makes a container run, as vzctl start does.
func (h *Host) StartVZ(id string) {
	h.Update(id, func(c *Container) { h.vzBegin(c) })
}

// Rename is vzctl set --name --save.
func (h *Host) Rename(id, name string) {
	h.Update(id, func(c *Container) {
		h.RemoveFile("/etc/vz/names/" + c.Name)
		c.Name = name
		h.WriteFile("/etc/vz/conf/"+id+".conf", vzConfig(*c))
		h.must(os.Symlink("/etc/vz/conf/"+id+".conf", h.File("/etc/vz/names/"+name)))
	})
}

// DestroyVZ is vzctl destroy: configuration and private area are gone.
func (h *Host) DestroyVZ(id string) {
	c := h.Get(id)
	if c == nil {
		return
	}
	if c.Name != "" {
		h.RemoveFile("/etc/vz/names/" + c.Name)
	}
	h.Delete(id)
	h.RemoveFile("/etc/vz/conf/" + id + ".conf")
	h.RemoveFile(c.Keys["private"])
	h.RemoveFile("/var/lib/vzctl/vepid/" + id)
}

// vzState is what vzlist would show: a container whose init died is left mounted (FACTS §0.4), one that does not run and
// has no private area or no configuration is hidden.
func (h *Host) vzState(c Container) (state string, shown bool) {
	state = c.State
	if state == "running" && !c.Alive() {
		state = "mounted"
	}
	if c.Says != "" {
		return c.Says, true
	}
	return state, state == "running" || exists(h.File(c.Key("private"))) && exists(h.File("/etc/vz/conf/"+c.ID+".conf"))
}

func vzlist(c *Call) int {
	var v View
	one := c.Args[len(c.Args)-1]
	if strings.HasPrefix(one, "-") || strings.Contains(one, ",") {
		one = ""
	}
	found := false
	for _, k := range c.All() {
		if one != "" && k.ID != one {
			continue
		}
		found = true
		state, shown := c.vzState(k)
		if !shown {
			continue
		}
		k.State = state
		v.All = append(v.All, k)
	}
	switch {
	case !found && one != "":
		return c.Reply("list-notfound", v)
	case !found:
		return c.Reply("list-none", v)
	case len(v.All) == 0 && !c.Has("-H"):
		return c.Reply("list-hidden", v)
	case c.Has("-j"):
		return c.Reply("list", v)
	}
	return c.Reply("list-table", v)
}

func vzctl(c *Call) int {
	args := c.Args
	if c.Has("--version") {
		return c.Reply("version", View{})
	}
	if len(args) > 0 && args[0] == "--quiet" {
		args = args[1:]
	}
	if len(args) < 2 {
		return 20
	}
	verb, id := args[0], args[1]
	k := c.Get(id)
	if k == nil || !exists(c.File("/etc/vz/conf/"+k.ID+".conf")) {
		return c.Reply("start-noconfig", View{ID: id})
	}
	if verb == "exec2" {
		return vzExec(c, *k, strings.Join(args[2:], " "))
	}
	if verb == "snapshot-list" {
		return c.vzSnapshots(*k)
	}
	stale, code := c.vzLock(k.ID)
	if code != 0 {
		return code
	}
	defer c.RemoveFile("/vz/lock/" + k.ID + ".lck")
	code = 20
	switch verb {
	case "start":
		if slow, err := time.ParseDuration(k.Key("slow")); err == nil {
			time.Sleep(slow) // under its lock
		}
		code = c.vzStart(k, stale)
	case "stop":
		code = c.vzStop(k)
	case "restart":
		code = c.vzRestart(k)
	case "umount":
		code = c.vzUmount(k)
	case "snapshot":
		code = c.vzSnapshot(*k)
	}
	c.Put(*k)
	return code
}

// vzLock takes the lock of a container as kolyshkin/vzctl src/lib/lock.c does: pid, then an empty action.
func (c *Call) vzLock(id string) (stale bool, code int) {
	path := c.File("/vz/lock/" + id + ".lck")
	if b, err := os.ReadFile(path); err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		pid, _ := strconv.Atoi(strings.TrimSpace(first))
		if pid > 0 {
			if line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil {
				words := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
				return false, c.Reply("locked", View{ID: id, Vars: map[string]string{"pid": strconv.Itoa(pid), "cmdline": words}})
			}
			stale = true
		}
	}
	c.must(os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n\n"), 0o600))
	return stale, 0
}

func (c *Call) vzStart(k *Container, stale bool) int {
	state, _ := c.vzState(*k)
	v := View{Container: k}
	switch {
	case state == "running":
		return c.Reply("start-running", v)
	case k.Key("disabled") == "true":
		return c.Reply("start-disabled", v)
	case !exists(c.File(k.Key("private"))):
		return c.Reply("start-noprivate", v)
	case k.Key("fails") != "":
		c.vzlog(k.ID, "Starting container...", "Container start failed")
		return c.Reply(k.Key("fails"), v)
	}
	c.vzBegin(k)
	switch {
	case stale:
		return c.Reply("start-stale-lock", v)
	case state == "mounted":
		return c.Reply("start-mounted", v)
	case state == "suspended":
		return c.Reply("start-dump", v)
	}
	return c.Reply("start", v)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// vzBegin starts the init and does what a start leaves behind.
func (h *Host) vzBegin(k *Container) {
	h.Begin(k)
	k.State = "running"
	h.WriteFile("/var/lib/vzctl/vepid/"+k.ID, strconv.Itoa(k.PID))
	h.vzlog(k.ID, "Starting container...", "Container is mounted", "Container start in progress...")
}

func (c *Call) vzEnd(k *Container, how string) {
	c.End(k)
	k.State = "stopped"
	c.vzlog(k.ID, how, "Container was stopped", "Container is unmounted")
}

func (c *Call) vzStop(k *Container) int {
	v := View{Container: k}
	switch {
	case k.Key("stuck") != "":
		return c.Reply("stop-cannot", v)
	case !k.Alive():
		c.vzlog(k.ID, "Unable to stop: container is not running")
		return c.Reply("stop-stopped", v)
	case c.Has("--fast"):
		c.vzEnd(k, "Killing container ...")
		return c.Reply("stop-fast", v)
	case k.Key("ignores") != "":
		d, err := time.ParseDuration(k.Key("ignores"))
		c.must(err)
		c.vzlog(k.ID, "Stopping container ...")
		time.Sleep(d)
		c.vzEnd(k, "Killing container ...")
		return c.Reply("stop-ignored", v)
	}
	c.vzEnd(k, "Stopping container ...")
	return c.Reply("stop", v)
}

func (c *Call) vzRestart(k *Container) int {
	v := View{Container: k}
	if k.Key("stuck") != "" {
		return c.Reply("restart-cannot", v)
	}
	c.vzlog(k.ID, "Restarting container")
	if k.Alive() {
		c.vzEnd(k, "Stopping container ...")
	}
	c.vzBegin(k)
	return c.Reply("restart", v)
}

// vzExec joins the words with blanks and hands them to a shell, as vzctl does (FACTS §1). It runs on this host: there is
// no inside.
func vzExec(c *Call, k Container, line string) int {
	if !k.Alive() {
		return c.Reply("exec-stopped", View{Container: &k})
	}
	if c.Args[0] != "--quiet" { // as in samples/vzctl-upstream-session.txt "$ vzctl exec2 102 exit 3"
		c.out.WriteString("Directory /proc/vz not found, assuming non-OpenVZ kernel\n")
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Stdout, cmd.Stderr = &c.out, &c.err
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// vzlog writes as kolyshkin/vzctl src/lib/logger.c does; see samples/vzctl.log.
func (h *Host) vzlog(id string, lines ...string) {
	path := h.File("/var/log/vzctl.log")
	h.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	for _, l := range lines {
		_, err := fmt.Fprintf(f, "%s vzctl : CT %s : %s\n", time.Now().UTC().Format("2006-01-02T15:04:05-0700"), id, l)
		h.must(err)
	}
}

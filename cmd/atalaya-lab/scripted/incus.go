package scripted

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// incusEnding is how long the daemon is busy with a container that has died: 0.7 s with LXD 5.0.2, really run.
const incusEnding = 300 * time.Millisecond

// incus plays the client of Incus. The id of a container is its name, or PROJECT_NAME. Keys: project, location, used (when
// it was last started), power (what the daemon wrote down last), autostart, autorestart, origin, role, fails (the reply
// of its starts), deaf (it does not heed a stop), reboots (its end is a reboot), nofiles (its files are away), op, opstatus
// and opat (an operation on it).
func incus() player {
	return player{tools: map[string]func(*Call) int{"incus": incusRun}}
}

// AddIncus defines a container.
func (h *Host) AddIncus(c Container) {
	keys := map[string]string{
		"project": "default", "location": "none", "used": "1970-01-01T00:00:00Z", "power": "", "autostart": "", "autorestart": "", "origin": "", "role": "",
	}
	for k, v := range c.Keys {
		keys[k] = v
	}
	c.Keys = keys
	if c.Type == "" {
		c.Type = "container"
	}
	if c.State == "" {
		c.State = "stopped"
	}
	h.Put(c)
}

func incusRun(c *Call) int {
	if len(c.Args) == 0 {
		return 1
	}
	command, rest := c.Args[0], c.Args[1:]
	switch command {
	case "list", "monitor":
		if !c.Has("local:") || !c.Has("--all-projects") || !c.Has("--format=json") {
			return 1
		}
		if command == "monitor" {
			return c.incusMonitor()
		}
		return c.Reply("list", View{All: c.incusAll()})
	case "query":
		return c.incusQuery(rest)
	case "warning":
		return c.Reply("warnings", View{})
	}
	k := c.incusNamed(rest)
	if k == nil {
		return c.Reply("gone", View{})
	}
	switch command {
	case "start":
		return c.incusStart(k)
	case "stop", "restart":
		return c.incusStop(k, command)
	case "exec":
		return c.incusExec(k)
	}
	return c.incusTell(k, command)
}

// incusNamed finds the container that a command line names.
func (c *Call) incusNamed(args []string) *Container {
	project, name := "default", ""
	for _, a := range args {
		if a == "--" {
			break
		}
		if v, ok := strings.CutPrefix(a, "--project="); ok {
			project = v
		}
		if v, ok := strings.CutPrefix(a, "local:"); ok {
			name = v
		}
	}
	return c.incusGet(project, name)
}

func (c *Call) incusGet(project, name string) *Container {
	id := name
	if project != "default" {
		id = project + "_" + name
	}
	return c.incusSettled(c.Get(id))
}

// incusAll gives all as the daemon sees them; of another member it has only the other's word.
func (c *Call) incusAll() []Container {
	var all []Container
	for _, k := range c.All() {
		all = append(all, *incusShown(c.incusSettled(&k)))
	}
	return all
}

// incusSettled brings a container up to date with its init. The daemon notices a death at once, and writes it down later.
func (c *Call) incusSettled(k *Container) *Container {
	if k == nil || k.Alive() || k.Key("location") == "node2" {
		return k
	}
	if k.State == "stopped" && k.Key("power") != "RUNNING" {
		return c.incusRebooted(k)
	}
	k.State, k.PID, k.Start = "stopped", 0, 0
	since, err := time.Parse(time.RFC3339Nano, k.Key("died"))
	switch {
	case err != nil:
		k.Keys["died"] = time.Now().Format(time.RFC3339Nano)
	case time.Since(since) > incusEnding:
		k.Keys["power"] = "STOPPED"
		c.incusEvent(*k, "instance-shutdown", "")
		delete(k.Keys, "died")
		if k.Key("reboots") != "" {
			k.Keys["died"] = time.Now().Format(time.RFC3339Nano)
		}
	default:
		return k
	}
	c.Put(*k)
	return k
}

func (c *Call) incusQuery(args []string) int {
	u, err := url.Parse(strings.TrimPrefix(args[len(args)-1], "local:"))
	if err != nil {
		return 1
	}
	q := u.Query()
	switch name := strings.TrimPrefix(u.Path, "/1.0/instances/"); {
	case u.Path == "/1.0":
		return c.Reply("server", View{})
	case u.Path == "/1.0/instances":
		return c.Reply("without-states", View{All: c.incusAll()})
	case u.Path == "/1.0/operations" && c.Has("--raw"):
		return c.incusOperations(q.Get("project"))
	case name != u.Path && q.Get("recursion") == "1":
		k := c.incusGet(q.Get("project"), name)
		if k == nil {
			return c.Reply("gone", View{})
		}
		return c.Reply("instance", View{Container: incusShown(k)})
	}
	return 1
}

func (c *Call) incusOperations(project string) int {
	none := &Container{}
	for _, k := range c.All() {
		if k.Key("project") == project && k.Key("op") != "" {
			k.Lock = k.Key("op")
			return c.Reply("operations", View{Container: &k, Vars: map[string]string{"status": k.Key("opstatus"), "at": k.Key("opat"), "query": incusProject(k)}})
		}
	}
	return c.Reply("operations", View{Container: none, Vars: map[string]string{"status": "", "at": "", "query": ""}})
}

func incusProject(k Container) string {
	if k.Key("project") == "default" {
		return ""
	}
	return "?project=" + k.Key("project")
}

func (c *Call) incusStart(k *Container) int {
	switch {
	case k.Key("power") == "RUNNING" && !k.Alive():
		return c.Reply("start-busy", View{Container: k, Vars: map[string]string{"busy": "stop"}})
	case k.Key("op") == "Creating instance" && k.Key("opstatus") == "running":
		return c.Reply("start-busy", View{Container: k, Vars: map[string]string{"busy": "create"}})
	case k.State == "frozen":
		k.State = "running"
		c.Put(*k)
		return c.Reply("start", View{})
	case k.Alive():
		return c.Reply("start-already", View{Container: k})
	case k.Key("fails") != "":
		return c.Reply(k.Key("fails"), View{Container: k})
	}
	c.incusBegin(k)
	return c.Reply("start", View{})
}

func (h *Host) incusBegin(k *Container) {
	h.Begin(k)
	k.State = "running"
	k.Keys["power"], k.Keys["used"] = "RUNNING", time.Now().UTC().Format(time.RFC3339Nano)
	h.Put(*k)
	h.incusEvent(*k, "instance-started", "root")
}

// StartIncus makes a container run.
func (h *Host) StartIncus(id string) { k := h.Get(id); h.incusBegin(k) }

// StopIncus stops it, as an API client of that name does; its operation is listed as the last one.
func (h *Host) StopIncus(id, by string) {
	k := h.Get(id)
	h.incusEnd(k, by)
}

func (h *Host) incusEnd(k *Container, by string) {
	k.Keys["op"], k.Keys["opstatus"], k.Keys["opat"] = "Stopping instance", "success", time.Now().UTC().Format(time.RFC3339Nano)
	k.Keys["power"], k.State = "STOPPED", "stopped"
	h.End(k)
	h.Put(*k)
	h.incusEvent(*k, "instance-stopped", by)
}

func (c *Call) incusStop(k *Container, command string) int {
	switch {
	case !k.Alive():
		return c.Reply("stop-stopped", View{Container: k})
	case k.Key("deaf") != "" && !c.Has("--force"):
		return c.Reply("stop-deaf", View{Container: k})
	}
	c.incusEnd(k, "root")
	if command == "restart" {
		c.incusBegin(k)
	}
	return c.Reply(command, View{Container: k})
}

func (c *Call) incusExec(k *Container) int {
	if !k.Alive() {
		return c.Reply("exec-stopped", View{Container: k})
	}
	for i, a := range c.Args {
		if a == "--" && i+1 < len(c.Args) {
			cmd := exec.Command(c.Args[i+1], c.Args[i+2:]...)
			cmd.Stdout, cmd.Stderr = &c.out, &c.err
			if err := cmd.Run(); cmd.ProcessState == nil {
				c.must(err)
			}
			return cmd.ProcessState.ExitCode()
		}
	}
	return 1
}

// incusEvent appends one event to what the monitors tell.
func (h *Host) incusEvent(k Container, action, by string) {
	r, err := readReply(h.Replies, "event")
	h.must(err)
	out, _, err := r.render(View{Container: &k, Vars: map[string]string{
		"action": action, "by": by, "at": time.Now().UTC().Format(time.RFC3339Nano), "query": incusProject(k),
	}})
	h.must(err)
	f, err := os.OpenFile(h.path("events"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	_, err = f.Write(out)
	h.must(err)
}

// incusMonitor tells what happens from now on.
func (c *Call) incusMonitor() int {
	told := int64(0)
	if info, err := os.Stat(c.path("events")); err == nil {
		told = info.Size()
	}
	for {
		b, _ := os.ReadFile(c.path("events"))
		if int64(len(b)) > told {
			if _, err := fmt.Print(string(b[told:])); err != nil {
				return 1
			}
			told = int64(len(b))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

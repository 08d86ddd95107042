package config

import (
	"fmt"
	"strings"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// engines compiles the instances to watch.
func (c *compiler) engines(raw []rawEngine) {
	first := map[string]string{}
	for i, r := range raw {
		path := fmt.Sprintf("engines[%d]", i)
		s := engine.Spec{Engine: r.Engine, Instance: or(r.Name, ""), Path: or(r.Path, ""), URI: or(r.URI, ""), SSH: or(r.SSH, ""), SSHConf: or(r.SSHConfig, ""), Timeout: or(r.Timeout, 0),
			Bin: or(r.Bin, ""), Args: toolArgs(r)}
		id := s.Engine + ":" + s.Instance
		if other, taken := first[id]; taken && s.Engine != "" {
			c.wrong(path+".name", "is the same instance of %s as %s (line %d): give each its own name", s.Engine, other, c.origin.line(other))
		}
		first[id] = path
		if s.SSHConf != "" && s.SSH == "" {
			c.wrong(path+".ssh_config", "stands without ssh: nothing is reached by ssh")
		}
		c.foreign(path, engineKeys(), r, r.Engine)
		c.storage(path, r)
		if r.Engine == "custom" {
			s.Custom = c.custom(path, r)
			c.open(path, s)
		}
		c.out.Engines = append(c.out.Engines, s)
	}
}

// storage is where podman's keys contradict each other.
func (c *compiler) storage(path string, r rawEngine) {
	switch {
	case r.URL != nil && (r.Root != nil || r.RunRoot != nil):
		c.wrong(path+".url", "stands beside root or runroot: the service has its own storage")
	case r.Root != nil && r.RunRoot == nil:
		c.wrong(path+".root", "stands without runroot: two storages must not share one")
	case r.Root == nil && r.RunRoot != nil:
		c.wrong(path+".runroot", "stands without root")
	}
}

// toolArgs are the options that every command of the tool is given.
func toolArgs(r rawEngine) (args []string) {
	for _, o := range []struct {
		name  string
		value *string
	}{{"host", r.Host}, {"url", r.URL}, {"root", r.Root}, {"runroot", r.RunRoot}} {
		if o.value != nil {
			args = append(args, "--"+o.name+"="+*o.value)
		}
	}
	return args
}

func (c *compiler) custom(path string, r rawEngine) *engine.CustomSpec {
	if len(r.List) == 0 {
		c.wrong(path+".list", "is missing: give the command that prints all containers, as in [jailctl, list]")
	}
	switch {
	case r.JSON == nil && r.Line == nil:
		c.wrong(path, "says neither json nor line: how is the list to be read?")
	case r.JSON != nil && r.Line != nil:
		c.wrong(path+".line", "stands beside json: the list is either JSON or lines")
	}
	s := &engine.CustomSpec{
		List: r.List, Start: r.Start, Stop: r.Stop, Kill: r.Kill, Restart: r.Restart, Exec: r.Exec,
		Repair: r.Repair, Unlock: r.Unlock, Backup: r.Backup, Logs: r.Logs,
		Line: or(r.Line, ""), States: map[string]health.RunState{},
	}
	if j := r.JSON; j != nil {
		s.JSON = &engine.CustomJSON{
			Items: or(j.Items, ""), ID: or(j.ID, ""), Name: or(j.Name, ""), State: or(j.State, ""),
			PID: or(j.PID, ""), Addresses: or(j.Addresses, ""), Autostart: or(j.Autostart, ""), Mark: or(j.Mark, ""),
		}
	}
	for i, w := range r.States {
		if _, taken := s.States[w.Word]; taken {
			c.wrong(fmt.Sprintf("%s.states[%d].word", path, i), "%q has a meaning already", w.Word)
		}
		s.States[w.Word] = health.RunState(w.State)
	}
	return s
}

// open has package engine judge a custom one: to open it reads its description and starts nothing.
func (c *compiler) open(path string, s engine.Spec) {
	if c.problems.within(path) {
		return // it would say the same in other words
	}
	_, err := engine.Open(s, nil, nil)
	if err == nil {
		return
	}
	msg := strings.TrimPrefix(err.Error(), fmt.Sprintf("open engine %q: ", s.Engine))
	if rest, found := strings.CutPrefix(msg, "custom."); found {
		if name, after, found := strings.Cut(rest, ": "); found && !strings.Contains(name, " ") {
			path, msg = join(path, name), after
		}
	}
	c.wrong(path, "%s", msg)
}

// or gives what p points to, or def.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

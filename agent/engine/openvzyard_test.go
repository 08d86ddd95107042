package engine_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"atalaya/agent/engine"
	"atalaya/cmd/atalaya-lab/scripted"
)

// openvzYard is a scripted OpenVZ. Containers are numbers there, so the names of the suite are given numbers in order.
type openvzYard struct {
	*scripted.Host
	t   *testing.T
	ids map[string]string
}

func newOpenVZYard(t *testing.T) yard {
	return &openvzYard{Host: scripted.New(t, "openvz", "testdata/openvz/replies"), t: t, ids: map[string]string{}}
}

func (y *openvzYard) With(t *testing.T) yard {
	return &openvzYard{Host: y.Host.With(t), t: t, ids: y.ids}
}

func (y *openvzYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "openvz", Bin: y.Bin(), Root: y.Root(), Backups: t.TempDir()})
}

func (y *openvzYard) ID(name string) string {
	if y.ids[name] == "" {
		y.ids[name] = fmt.Sprint(101 + len(y.ids))
	}
	return y.ids[name]
}

func (y *openvzYard) Make(name string, o made) {
	id := y.ID(name)
	c := scripted.Container{ID: id, Name: name, Addrs: []string{"10.0.0." + id, "10.0.1." + id}, Keys: map[string]string{"onboot": "false"}}
	if o.autostart {
		c.Keys["onboot"] = "true"
	}
	if o.failing {
		c.Keys["fails"] = "start-template"
	}
	y.AddVZ(c)
	if o.broken { // nothing else of a configuration makes it vanish
		y.RemoveFile(scripted.VZPrivate(id))
	}
}

// Run starts it as the tool would, and not through the engine under test.
func (y *openvzYard) Run(name string) { y.StartVZ(y.ID(name)) }

func (y *openvzYard) InitPID(name string) int { return y.Get(y.ID(name)).PID }

func (y *openvzYard) Addrs(name string) []string { return y.Get(y.ID(name)).Addrs }

func (y *openvzYard) Freeze(name string) {
	y.Update(y.ID(name), func(c *scripted.Container) { c.Says = "suspended" })
}

func (y *openvzYard) Thaw(name string) {
	y.Update(y.ID(name), func(c *scripted.Container) { c.Says = "" })
}

func (y *openvzYard) Die(name string)    { y.Kill9(y.ID(name)) }
func (y *openvzYard) Await(string)       {}
func (y *openvzYard) Remove(name string) { y.DestroyVZ(y.ID(name)) }

// hostComm is what process 1 of this host is called: a scripted engine runs what is to run inside right here.
func hostComm() string {
	b, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

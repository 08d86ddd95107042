package engine_test

import (
	"fmt"
	"testing"

	"atalaya/agent/engine"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/scripted"
)

// incusYard is a scripted Incus. What it shares with LXD is tested on LXD's real daemon, too.
type incusYard struct {
	*scripted.Host
	t     *testing.T
	count *int
}

func newIncusYard(t *testing.T) yard {
	return &incusYard{Host: scripted.New(t, "incus", "testdata/incus/replies"), t: t, count: new(int)}
}

func (y *incusYard) With(t *testing.T) yard {
	return &incusYard{Host: y.Host.With(t), t: t, count: y.count}
}
func (y *incusYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "incus", Bin: y.Bin(), Root: y.Root()})
}
func (y *incusYard) ID(name string) string { return name }

func (y *incusYard) Make(name string, o made) {
	*y.count++
	c := scripted.Container{
		ID: name, Name: name, UUID: fmt.Sprintf("ef7270f3-be77-4f43-b33f-%012d", *y.count), Addrs: []string{"10.82.0.11"},
		Keys: map[string]string{"autostart": "false"},
	}
	if o.autostart {
		c.Keys["autostart"] = "true"
	}
	if o.failing {
		c.Keys["fails"] = "start-forkstart"
	}
	if o.broken {
		c.Says = "error"
	}
	if !o.broken {
		c.Addrs = nil
	}
	y.AddIncus(c)
}

func (y *incusYard) Run(name string) {
	y.Update(name, func(c *scripted.Container) { c.Addrs = []string{"10.82.0.11"} })
	y.StartIncus(name)
}
func (y *incusYard) InitPID(name string) int    { return y.Get(name).PID }
func (y *incusYard) Addrs(name string) []string { return y.Get(name).Addrs }
func (y *incusYard) Await(string)               {}
func (y *incusYard) Die(name string)            { y.Kill9(name) }
func (y *incusYard) Freeze(name string) {
	y.Update(name, func(c *scripted.Container) { c.State = "frozen" })
}
func (y *incusYard) Thaw(name string) {
	y.Update(name, func(c *scripted.Container) { c.State = "running" })
}
func (y *incusYard) Remove(name string) { y.Delete(name) }

func runnerOf(t *testing.T) engine.Runner {
	return hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect})
}

package engine_test

import (
	"fmt"
	"testing"

	"atalaya/agent/engine"
	"atalaya/cmd/atalaya-lab/scripted"
)

// virtuozzoYard is a scripted Virtuozzo 7. Each container that is made gets a new UUID.
type virtuozzoYard struct {
	*scripted.Host
	t     *testing.T
	ids   map[string]string
	count *int
}

func newVirtuozzoYard(t *testing.T) yard {
	return &virtuozzoYard{Host: scripted.New(t, "virtuozzo", "testdata/virtuozzo/replies"), t: t, ids: map[string]string{}, count: new(int)}
}

func (y *virtuozzoYard) With(t *testing.T) yard {
	return &virtuozzoYard{Host: y.Host.With(t), t: t, ids: y.ids, count: y.count}
}

func (y *virtuozzoYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "virtuozzo", Bin: y.Bin(), Root: y.Root(), Backups: t.TempDir()})
}

func (y *virtuozzoYard) ID(name string) string {
	if y.ids[name] == "" {
		*y.count++
		y.ids[name] = fmt.Sprintf("3d32522a-80af-4773-b9fa-%012d", *y.count)
	}
	return y.ids[name]
}

func (y *virtuozzoYard) Make(name string, o made) {
	c := scripted.Container{ID: y.ID(name), Name: name, Addrs: []string{"192.168.0.161", "fe80::20c:29ff:fe01:fb08"}, Keys: map[string]string{"onboot": "false"}}
	if o.autostart {
		c.Keys["onboot"] = "true"
	}
	if o.failing {
		c.Keys["fails"] = "start-template"
	}
	if o.broken {
		c.State = "invalid"
	}
	y.AddVZ7(c)
}

func (y *virtuozzoYard) Run(name string)            { y.StartVZ7(y.ID(name)) }
func (y *virtuozzoYard) InitPID(name string) int    { return y.Get(y.ID(name)).PID }
func (y *virtuozzoYard) Addrs(name string) []string { return y.Get(y.ID(name)).Addrs }
func (y *virtuozzoYard) Await(string)               {}
func (y *virtuozzoYard) Die(name string)            { y.Kill9(y.ID(name)) }

func (y *virtuozzoYard) Freeze(name string) {
	y.Update(y.ID(name), func(c *scripted.Container) { c.Says = "paused" })
}

func (y *virtuozzoYard) Thaw(name string) {
	y.Update(y.ID(name), func(c *scripted.Container) { c.Says = "" })
}

func (y *virtuozzoYard) Remove(name string) {
	y.DestroyVZ7(y.ID(name))
	delete(y.ids, name) // what is made under this name next has another UUID
}

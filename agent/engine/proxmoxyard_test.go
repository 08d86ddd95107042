package engine_test

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/cmd/atalaya-lab/scripted"
)

// proxmoxYard is a scripted Proxmox whose guests are all of one kind.
type proxmoxYard struct {
	t    *testing.T
	h    *scripted.Host
	kind string
	made map[string]string // numbers by name
	next *atomic.Int64
}

func newProxmoxYard(kind string) func(*testing.T) yard {
	return func(t *testing.T) yard { return proxmoxHost(t, kind) }
}

// proxmoxHost needs root: a CT's init lives in a pid namespace. Numbers are this process's own, since the sockets by which
// Proxmox tells who runs are seen by the whole host.
func proxmoxHost(t *testing.T, kind string) *proxmoxYard {
	rig.Require(t, "root")
	y := &proxmoxYard{t: t, h: scripted.New(t, "proxmox", "testdata/proxmox/replies"), kind: kind, made: map[string]string{}, next: proxmoxNumbers()}
	return y
}

// proxmoxNumbers gives numbers that no other test of this machine uses: by pid, then by the nanosecond.
func proxmoxNumbers() *atomic.Int64 {
	var n atomic.Int64
	n.Store(100_000_000 + int64(os.Getpid()%8000)*100_000 + time.Now().UnixNano()/1000%99_000)
	return &n
}

func (y *proxmoxYard) With(t *testing.T) yard {
	c := *y
	c.t, c.h = t, y.h.With(t)
	return &c
}

func (y *proxmoxYard) Open(t *testing.T) *engine.Instance {
	return open(t, engine.Spec{Engine: "proxmox", Bin: y.h.Bin(), Root: y.h.Root()})
}

// runner runs commands as an instance's does.
func (y *proxmoxYard) runner() engine.Runner {
	return hostexec.New(hostexec.Options{Dir: y.t.TempDir(), Place: hostexec.PlaceDirect})
}

func (y *proxmoxYard) ID(name string) string {
	id, ok := y.made[name]
	if !ok {
		y.t.Fatalf("no guest %q was made", name)
	}
	return id
}

func (y *proxmoxYard) guest(name string) scripted.Container { return *y.h.Get(y.ID(name)) }

func (y *proxmoxYard) Make(name string, o made) {
	n := y.next.Add(1)
	if y.made[name] == "" {
		y.made[name] = strconv.FormatInt(n, 10)
	}
	k := scripted.Container{ID: y.made[name], Name: name, Type: y.kind, State: "stopped", Keys: map[string]string{
		"node": scripted.PVENode, "net": "ip=192.0.2.10/24,ip6=2001:db8::10/64", "mac": fmt.Sprintf("BC:24:11:%02X:%02X:%02X", n>>16&255, n>>8&255, n&255),
		"uuid": fmt.Sprintf("cd4a6c3c-0000-4000-8000-%012x", n),
	}}
	if o.autostart {
		k.Keys["onboot"] = "1"
	}
	if o.failing {
		k.Keys["fails"] = map[string]string{"lxc": "start-hook", "qemu": "start-bridge"}[y.kind]
	}
	y.h.PVEPut(k)
}

// tool runs pct or qm, as a person would.
func (y *proxmoxYard) tool(verb, name string) {
	y.t.Helper()
	y.h.Run(map[string]string{"lxc": "pct", "qemu": "qm"}[y.kind], verb, y.ID(name))
}

func (y *proxmoxYard) Run(name string)            { y.tool("start", name) }
func (y *proxmoxYard) InitPID(name string) int    { return y.guest(name).PID }
func (y *proxmoxYard) Addrs(name string) []string { return []string{"192.0.2.10", "2001:db8::10"} }
func (y *proxmoxYard) Die(name string)            { y.h.Kill9(y.ID(name)) }
func (y *proxmoxYard) Remove(name string)         { y.h.PVEDelete(y.ID(name)) }
func (y *proxmoxYard) Freeze(name string)         { y.says(name, "paused") }
func (y *proxmoxYard) Thaw(name string)           { y.says(name, "running") }
func (y *proxmoxYard) Await(string)               {}

func (y *proxmoxYard) says(name, state string) {
	y.h.Update(y.ID(name), func(k *scripted.Container) { k.State = state })
}

func proxmoxBridge(yard) []string { return []string{"vmbr0"} }

// proxmoxCTs carry the engine's name, by which make mutate finds them. Proxmox has no word for a frozen CT.
func proxmoxCTs() subject {
	return subject{
		name: "proxmox", yard: newProxmoxYard("lxc"), gone: health.Removed, marks: true, links: proxmoxBridge, nobody: "999999",
		startExit: 255, comm: hostComm(), cannot: cannot{pause: true},
	}
}

// proxmoxVMs run nothing inside: "qm guest exec" answers in JSON, with code 0.
func proxmoxVMs() subject {
	return subject{
		name: "proxmox VM", yard: newProxmoxYard("qemu"), gone: health.Removed, marks: true, links: proxmoxBridge, nobody: "999999",
		startExit: 255, killsDead: true, cannot: cannot{exec: true},
	}
}

package scripted

import (
	"os"
	"time"
)

// prlsrvctl is its monitor: it tells of each change of a state, and ends when its standard input does (OpenVZ/prlctl
// src/PrlSrv.cpp run_monitor).
func prlsrvctl(c *Call) int {
	go func() {
		seen, told := map[string]string{}, map[string]string{}
		for _, k := range c.All() {
			seen[k.ID] = c.vz7State(k)
		}
		for ; ; time.Sleep(5 * time.Millisecond) {
			if f, lost := c.fault(); lost && f.Do == Answer { // the dispatcher is gone
				os.Exit(c.Reply(f.Reply, View{}))
			}
			now := map[string]string{}
			for _, k := range c.All() {
				now[k.ID] = c.vz7State(k)
				if kind := k.Key("event"); kind != told[k.ID] {
					told[k.ID] = kind
					c.Say("event", View{Container: &k, Vars: map[string]string{"event": kind}})
				}
				switch before, known := seen[k.ID]; {
				case !known:
					c.Say("event", View{Container: &k, Vars: map[string]string{"event": "VM_ADDED"}})
				case before != now[k.ID]:
					c.Say("event", View{Container: &k, Vars: map[string]string{"event": "VM_STATE_CHANGED"}})
				}
			}
			for id := range seen {
				if _, there := now[id]; !there {
					c.Say("event", View{Container: &Container{ID: id}, Vars: map[string]string{"event": "VM_DELETED"}})
				}
			}
			seen = now
		}
	}()
	b := make([]byte, 1)
	for {
		if n, err := os.Stdin.Read(b); n == 0 || err != nil {
			return 0
		}
	}
}

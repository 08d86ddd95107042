package agent

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"testing"
	"time"
)

// Probes start in slots of 100 ms, in as few of them as hold 128 each, always the same probe at the same offset: each slot
// in use is one wake-up of an idle host.
func TestProbesStartInSlots(t *testing.T) {
	for _, c := range []struct{ probes, slots int }{{20, 1}, {127, 1}, {1024, 8}, {100_000, 100}} {
		p := newProber(nil, 16)
		for i := range c.probes {
			h := fnv.New32a()
			fmt.Fprintf(h, "lxc/c%d/web", i)
			heap.Push(&p.queue, &run{probe: Probe{Every: 10 * time.Second}, hash: h.Sum32()})
		}
		used := map[time.Duration]int{}
		for _, r := range p.queue {
			at := p.next(r, p.began)
			offset := at.Sub(p.began)
			if offset <= 0 || offset > 10*time.Second || offset%slot != 0 {
				t.Fatalf("%d probes: one is due after %v", c.probes, offset)
			}
			used[offset]++
			if again := p.next(r, at.Add(time.Millisecond)); again.Sub(at) != 10*time.Second {
				t.Fatalf("%d probes: the next one comes after %v", c.probes, again.Sub(at))
			}
		}
		if len(used) != c.slots {
			t.Errorf("%d probes in %d slots, want %d", c.probes, len(used), c.slots)
		}
		for offset, n := range used {
			if n > 2*max(perSlot, c.probes/100) && c.slots > 1 {
				t.Errorf("%d probes: %d of them at %v", c.probes, n, offset)
			}
		}
	}
}

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/mem"
)

// gaugeEvery is the pace of the gauge. One reading costs some 0.2 ms and starts no process.
const gaugeEvery = 5 * time.Second

// A Strain is what the whole host suffers from at this moment. The zero value is none.
type Strain struct {
	Faults  []string // a sentence each, without running figures, sorted: "the file system /var is full"
	Choking string   // why nothing should be started now; empty: nothing speaks against it
}

// A gauge reads what a host may suffer from.
type gauge struct {
	root string   // "/"
	dirs []string // whose file systems matter

	mu     sync.Mutex
	strain Strain
	last   reading
	first  map[string]bool // mount points that could be written when they were first seen
}

// A reading is the facts of one moment. What could not be read is zero, and says nothing.
type reading struct {
	at         time.Time
	total      uint64 // memory, bytes
	available  uint64
	oomKills   uint64
	oomAt      time.Time // when it was last seen to have grown while memory was short
	io, memory pressure
	conns      uint64 // tracked connections
	connsMax   uint64
	disks      []diskUse
	ways       int    // default routes
	uplink     string // what is wrong with them; empty: nothing
	hadWays    bool   // there has been one
}

// A pressure is a line "full" of /proc/pressure: in how many percent of the time all processes stalled.
type pressure struct{ avg10, avg60 float64 }

// A diskUse is one local file system.
type diskUse struct {
	at                string
	freeBytes         uint64
	free, freeInodes  float64 // percent; inodes 100 where the file system has no table of them
	readOnly, wasOpen bool
}

// gaugedDirs are what an agent, engines and containers write to.
func gaugedDirs() []string { return []string{"/", "/run", "/tmp", "/var", "/var/lib", "/var/log"} }

func newGauge(root string) *gauge {
	return &gauge{root: root, dirs: gaugedDirs(), first: map[string]bool{}}
}

// run reads until ctx ends, and calls changed when the strain is another.
func (g *gauge) run(ctx context.Context, changed func()) {
	tick := time.NewTicker(gaugeEvery)
	defer tick.Stop()
	for {
		if g.take(ctx, time.Now()) {
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// take makes one reading, and says whether the strain changed.
func (g *gauge) take(ctx context.Context, now time.Time) bool {
	r := g.read(ctx, now)
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, d := range r.disks {
		if !d.readOnly {
			g.first[d.at] = true
		}
		r.disks[i].wasOpen = g.first[d.at]
	}
	r.hadWays = g.last.hadWays || r.ways > 0
	r.oomAt = g.last.oomAt
	if g.last.oomKills > 0 && r.oomKills > g.last.oomKills && r.short() {
		r.oomAt = now
	}
	s := judgeStrain(r, g.strain)
	was := g.strain
	g.strain, g.last = s, r
	return was.Choking != s.Choking || !slices.Equal(was.Faults, s.Faults)
}

func (g *gauge) now() Strain {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.strain
}

func (g *gauge) read(ctx context.Context, now time.Time) reading {
	r := reading{at: now}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		r.total, r.available = m.Total, m.Available
	}
	r.oomKills = field(g.file("proc/vmstat"), "oom_kill ")
	r.io, r.memory = parsePressure(g.file("proc/pressure/io")), parsePressure(g.file("proc/pressure/memory"))
	r.conns = number(g.file("proc/sys/net/netfilter/nf_conntrack_count"))
	r.connsMax = number(g.file("proc/sys/net/netfilter/nf_conntrack_max"))
	ways := defaultRoutes()
	r.ways = len(ways)
	for _, way := range ways {
		r.uplink = uplinkDown(way)
	}
	mounts := parseMounts(g.file("proc/self/mountinfo"))
	seen := map[string]bool{}
	for _, dir := range g.dirs {
		m, ok := mountOf(mounts, dir)
		if !ok || seen[m.at] || !m.local() {
			continue
		}
		seen[m.at] = true
		u, err := disk.UsageWithContext(ctx, m.at)
		if err != nil || u.Total == 0 {
			continue
		}
		d := diskUse{at: m.at, freeBytes: u.Free, free: 100 - u.UsedPercent, freeInodes: 100, readOnly: m.readOnly}
		if u.InodesTotal > 0 {
			d.freeInodes = 100 * float64(u.InodesFree) / float64(u.InodesTotal)
		}
		r.disks = append(r.disks, d)
	}
	return r
}

func (g *gauge) file(name string) string {
	b, err := os.ReadFile(filepath.Join(g.root, name))
	if err != nil {
		return ""
	}
	return string(b)
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// field gives the number behind the line that begins so.
func field(text, begins string) uint64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, begins); ok {
			return number(v)
		}
	}
	return 0
}

// parsePressure reads the line "full avg10=0.00 avg60=0.00 avg300=0.00 total=0" (Documentation/accounting/psi.rst).
func parsePressure(text string) pressure {
	var p pressure
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "full ") {
			continue
		}
		for _, w := range strings.Fields(line) {
			key, value, _ := strings.Cut(w, "=")
			v, err := strconv.ParseFloat(value, 64)
			switch {
			case err != nil || v < 0 || v > 100:
			case key == "avg10":
				p.avg10 = v
			case key == "avg60":
				p.avg60 = v
			}
		}
	}
	return p
}

// A mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	at, kind string
	readOnly bool // the file system itself, and not this mount alone
}

// local tells file systems that answer at once: statfs on one whose server is gone never does.
func (m mount) local() bool {
	for _, far := range []string{"nfs", "cifs", "smb", "fuse", "ceph", "glusterfs", "afs", "9p", "lustre", "beegfs", "autofs", "ocfs2", "gfs2"} {
		if strings.HasPrefix(m.kind, far) {
			return false
		}
	}
	return true
}

func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		a, b := strings.Fields(before), strings.Fields(after)
		if !ok || len(a) < 6 || len(b) < 3 {
			continue
		}
		out = append(out, mount{at: unescapeMount(a[4]), kind: b[0], readOnly: slices.Contains(strings.Split(b[2], ","), "ro")})
	}
	return out
}

// unescapeMount undoes \040 and its like.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// mountOf gives what a folder lies on: the last of the deepest mounts that hold it.
func mountOf(mounts []mount, dir string) (mount, bool) {
	var best mount
	found := false
	for _, m := range mounts {
		if (m.at == "/" || dir == m.at || strings.HasPrefix(dir, m.at+"/")) && len(m.at) >= len(best.at) {
			best, found = m, true
		}
	}
	return best, found
}

// The limits, each with a lower one at which a strain that was told is over.
const (
	lowMemory      = 2.0  // percent available, and
	stalledMemory  = 10.0 // percent of the time all stalled for it
	exhaustedAlone = 0.5  // or so little, whatever the stalls say
	oomFor         = time.Minute
	fullDisk       = 0.5       // percent free
	fullBytes      = 256 << 20 // and so many: half a percent of 10 TB is room enough
	fullInodes     = 0.2
	fullConns      = 0.98
	chokedIO       = 60.0 // percent of ten seconds in which all stalled
	stalledIO      = 80.0 // and of a minute, half of it, for a fault
	chokedMemory   = 40.0
	relief         = 0.7 // of a limit
)

func (r reading) short() bool { return r.total > 0 && percent(r.available, r.total) < 5 }

func percent(a, b uint64) float64 { return 100 * float64(a) / float64(b) }

// judgeStrain is pure. What was told before is over only when it is clearly better.
func judgeStrain(r reading, was Strain) Strain {
	over := func(v, limit float64, told bool) bool {
		if told {
			limit *= relief
		}
		return v >= limit
	}
	var s Strain
	fault := func(text string, holds func(told bool) bool) {
		if holds(slices.Contains(was.Faults, text)) {
			s.Faults = append(s.Faults, text)
		}
	}
	fault("the host's memory is exhausted", func(told bool) bool {
		free := 100.0
		if r.total > 0 {
			free = percent(r.available, r.total)
		}
		return free < lowMemory && over(r.memory.avg10, stalledMemory, told) || free < exhaustedAlone
	})
	fault("the kernel is killing processes for want of memory", func(bool) bool { return !r.oomAt.IsZero() && r.at.Sub(r.oomAt) < oomFor })
	fault("the host's disks do not keep up: all that reads or writes stalls", func(told bool) bool {
		return over(r.io.avg10, stalledIO, told) && over(r.io.avg60, stalledIO/2, told)
	})
	fault("the table of tracked connections is full: new ones are dropped", func(told bool) bool {
		return r.connsMax > 0 && over(float64(r.conns)/float64(r.connsMax), fullConns, false) || told && r.connsMax > 0 && float64(r.conns) > 0.9*float64(r.connsMax)
	})
	if r.uplink != "" {
		fault("the host is cut off: "+r.uplink, func(bool) bool { return true })
	}
	fault("the host is cut off: its default route is gone", func(bool) bool { return r.hadWays && r.ways == 0 })
	for _, d := range r.disks {
		fault(fmt.Sprintf("the file system %s is full", d.at), func(told bool) bool {
			limit := fullDisk
			if told {
				limit /= relief
			}
			return !d.readOnly && d.free < limit && d.freeBytes < fullBytes
		})
		fault(fmt.Sprintf("the file system %s has no inodes left", d.at), func(bool) bool { return !d.readOnly && d.freeInodes < fullInodes })
		fault(fmt.Sprintf("the file system %s has become read-only", d.at), func(bool) bool { return d.readOnly && d.wasOpen })
	}
	slices.Sort(s.Faults)
	s.Choking = chokes(r, was.Choking != "", over)
	return s
}

// chokes says why nothing should be started now.
func chokes(r reading, told bool, over func(v, limit float64, told bool) bool) string {
	switch {
	case over(r.io.avg10, chokedIO, told):
		return "the host is choking on its disks: nothing is started until they answer"
	case over(r.memory.avg10, chokedMemory, told):
		return "the host is choking for want of memory: nothing is started until there is some"
	}
	return ""
}

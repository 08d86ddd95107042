package hostexec

import (
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Placement says where changing commands are started.
type Placement string

// The placements. Auto means transient units exactly when this process is itself part of a systemd service.
const (
	PlaceAuto   Placement = ""
	PlaceUnits  Placement = "units"
	PlaceDirect Placement = "direct"
)

// Options are what New needs. The zero Options work, without records: nothing survives such a Host.
type Options struct {
	// Dir holds records and outputs of changing commands in flight; it is made, 0700, when needed. It should be in
	// memory (/run) and outlive the agent's process: RuntimeDirectoryPreserve=yes if systemd makes it. One Host at a time.
	Dir        string
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept, not shown
	Agent      string                // first part of the names of transient units; empty: "atalaya". Two agents need two.
	Place      Placement
}

// Host runs commands on this host. It is safe for concurrent use.
type Host struct {
	log     *slog.Logger
	agent   string
	folder  folder
	metrics *metrics
	units   *units // nil: changing commands are started directly
	service bool   // we are part of a systemd service
	fell    sync.Once
	stuck   stuck

	mu    sync.Mutex
	ops   map[string]*kept // by record name: reserved, running, or ending
	spent []*kept          // ended unwaited for: the endings that Await may still ask for, oldest first

	remotes map[SSH]*Remote
}

// maxSpent bounds how many endings are kept that nobody has asked for.
const maxSpent = 32

// New makes a Host and finds the commands that an agent before it left running in Dir.
func New(o Options) *Host {
	h := &Host{log: o.Log, agent: o.Agent, folder: folder{o.Dir}, ops: map[string]*kept{}, remotes: map[SSH]*Remote{}, service: inService()}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.agent == "" {
		h.agent = "atalaya"
	}
	if o.Place == PlaceUnits || o.Place == PlaceAuto && h.service {
		h.units = newUnits()
		_ = h.units.reachable() // now, rather than when a container is down; said when it matters
	}
	h.metrics = newMetrics(o.Registerer,
		func() float64 { return float64(len(h.Stuck())) },
		func() float64 { return float64(len(h.Unfinished())) })
	h.adopt()
	return h
}

// inService reports whether this process belongs to a service of this host's systemd; see systemd.exec(5), INVOCATION_ID,
// and sd_booted(3).
func inService() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil && os.Getenv("INVOCATION_ID") != ""
}

// Transient reports whether changing commands are started in transient systemd units at this moment.
func (h *Host) Transient() bool { return h.units != nil && h.units.reachable() == nil }

// Close lets go of systemd and of the connections to other hosts, after what has ended is put away, which takes milliseconds. It ends no command and waits for
// none; the Host must not be used after it.
func (h *Host) Close() {
	for _, r := range h.far() {
		r.close()
	}
	for _, k := range h.kept() {
		if k.ended() {
			<-k.released
		}
	}
	if h.units != nil {
		h.units.close()
	}
}

// take registers k under its name, unless the name is taken.
func (h *Host) take(k *kept) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ops[k.rec.name] != nil {
		return false
	}
	h.ops[k.rec.name] = k
	return true
}

// find gives the command of that name: running, ending, or the latest of those whose ending nobody took.
func (h *Host) find(name string) *kept {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.ops[name]; k != nil {
		return k
	}
	for _, k := range slices.Backward(h.spent) {
		if k.rec.name == name {
			return k
		}
	}
	return nil
}

// forget takes a command out of the running ones, and keeps an ending that nobody took for Await.
func (h *Host) forget(k *kept) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ops, k.rec.name)
	if k.taken {
		return
	}
	if h.spent = append(h.spent, k); len(h.spent) > maxSpent {
		h.spent = slices.Delete(h.spent, 0, 1)
	}
}

// spend gives the ending of k, which is not kept any longer.
func (h *Host) spend(k *kept) Transcript {
	h.mu.Lock()
	defer h.mu.Unlock()
	k.taken = true
	h.spent = slices.DeleteFunc(h.spent, func(x *kept) bool { return x == k })
	return k.final
}

// isTaken reports whether somebody has the ending of k already.
func (h *Host) isTaken(k *kept) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return k.taken
}

// kept lists the running ones by start, oldest first.
func (h *Host) kept() []*kept {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.ops), func(a, b *kept) int { return a.rec.Started.Compare(b.rec.Started) })
}

// fellBack says once that systemd could not be used, and what that means.
func (h *Host) fellBack(err error) {
	h.metrics.direct.Inc()
	h.fell.Do(func() {
		h.log.Warn("systemd cannot be asked to start commands: they are started by the agent itself and inherit its "+
			"no-new-privileges, seccomp, capabilities and cgroup; ending the agent's unit may end them", "err", err)
	})
}

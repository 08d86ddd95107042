package agent

import (
	"maps"
	"slices"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/probes"
)

// maxMoments bounds the timeline that is kept in memory of one container's case.
const maxMoments = 200

// A guest is one watched container, owned by the decision goroutine.
type guest struct {
	ref      health.Ref
	inst     *instance
	state    health.State
	setup    Setup
	sight    health.Sighting // the engine's latest word
	born     bool            // its State knows that this agent took over
	awaiting string          // a command of a predecessor that still runs on it
	signals  map[string]health.SignalView
	failures map[string]probes.Result // the latest of each probe that fails, for evidence; not what it met while we were at it
	moments  []evidence.Moment
	tried    []health.Tried // of the open case

	addrs     []health.Addr // the latest that were known: a stopped container has none, and is known by them
	engineLog string        // of the latest attempt
	cgroup    string        // of the latest life
	memory    string        // of it, as the kernel names it when memory runs out
	kernel    kernelSaid    // when the case was confirmed
	finding   finding       // of the open case
	changed   time.Time     // when its configuration was seen to be another; zero: not by this agent
	failed    bool          // as those that depend on it have been told
	plan      []planned     // what schedules have for it
	asked     time.Time     // when its engine was asked last for its backups

	word *health.HostWord // in a replay: what the host said then
}

// kernelSaid is what the kernel's log held shortly before a failure.
type kernelSaid struct {
	own  []string // lines that name the container's cgroup
	host []string // lines that name no container
}

// caseID is the id of the case, or of the incident it became, of the first of the states that knows one; empty when none
// does.
func caseID(states ...health.State) string {
	for _, s := range states {
		if s.Case != nil {
			return s.Case.ID
		}
	}
	return ""
}

func (g *guest) remember(at time.Time, text string) {
	if len(g.moments) >= maxMoments {
		g.moments = slices.Delete(g.moments, maxMoments/2, maxMoments/2+1)
	}
	g.moments = append(g.moments, evidence.Moment{At: at, Text: text})
}

// caseEnded forgets what was remembered for the case that is over.
func (g *guest) caseEnded() {
	g.moments, g.tried, g.engineLog, g.failures, g.kernel, g.finding = nil, nil, "", nil, kernelSaid{}, finding{}
}

// see takes over the engine's latest word, and reports whether it has other addresses than before: its probes must know.
func (g *guest) see(s health.Sighting) (moved bool) {
	moved = !slices.Equal(g.sight.Addrs, s.Addrs)
	g.sight = s
	if len(s.Addrs) > 0 {
		g.addrs = s.Addrs
	}
	return moved
}

func (g *guest) name() string {
	if g.state.Name != "" {
		return g.state.Name
	}
	return g.ref.ID
}

// A job is everything that carrying out an action needs to know about a container: a copy, so that nobody outside the
// decision goroutine reads what it owns.
type job struct {
	ref      health.Ref
	name     string
	inst     *instance
	state    health.State // after the Step that ordered it
	before   health.State
	sight    health.Sighting
	setup    Setup
	signals  map[string]health.SignalView
	failures map[string]probes.Result
	moments  []evidence.Moment
	tried    []health.Tried
	verdict  health.Verdict
	subject  health.Subject
	cgroup   string // of the life that is, or was
	memory   string // of it, as the kernel names it
	told     int    // alerts of the incident up to now
	incident *health.Incident
	turn     <-chan struct{} // closed when the part of evidence before this one is sealed; nil: there is none
	at       time.Time       // of the turn
}

func (t *turn) job(g *guest, before health.State) job {
	return job{ref: g.ref, name: g.name(), inst: g.inst, state: g.state, before: before, sight: g.sight, setup: g.setup,
		signals: maps.Clone(g.signals), failures: maps.Clone(g.failures), moments: slices.Clone(g.moments),
		tried: slices.Clone(g.tried), verdict: t.judge(g, before), subject: g.subject(), cgroup: g.cgroup, memory: g.memory, at: t.at}
}

func (g *guest) subject() health.Subject {
	s := health.Subject{Ref: g.ref.String(), Engine: g.ref.Engine, Instance: g.ref.Instance, ID: g.ref.ID, Name: g.name(), State: g.state.RunState}
	for _, a := range g.addrs {
		s.Addresses = append(s.Addresses, a.Prefix.Addr().String())
	}
	return s
}

package config

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"time"

	"atalaya/agent/health"
	"atalaya/probes"
)

// A Container is everything that is configured about one container, compiled.
type Container struct {
	Policy  health.Policy
	Probes  []probes.Spec // in the order in which the file first names them
	Notify  []string      // channels its alerts go to; nil: all of them
	Ignore  bool          // neither watched nor shown
	Runbook string        // for alerts

	Priority  int      // of several that wait for room the higher comes first
	DependsOn []string // names, or ENGINE/ID

	// Trace says which place gave which key, a line each, in the order of the documents:
	// "probes.web.every = 5s  (configs/x.yaml:31, containers[2])".
	Trace []string
	// Problems are probes that two rules together made invalid, which Load cannot foresee. They are left out of Probes.
	Problems []string
}

// For gives what holds for the container that s shows. The built-in defaults are the lowest layer, then come the block
// defaults, with the environment over it, and every matching rule in the order of the file; key by key, the later wins.
// The mode of the whole agent is the upper bound of the container's.
//
// It is a function of c, names and tags. The answers are remembered and shared, so the caller must not change what they
// point to; a remembered one costs a look at the rules, a new one some 100 µs.
func (c *Config) For(s health.Sighting) Container {
	var rules []int
	for i, r := range c.raw.Containers {
		if r.Match.fits(s) {
			rules = append(rules, i)
		}
	}
	return c.known.get(rules, c.compose)
}

// compose lays the rules of those numbers over the defaults.
func (c *Config) compose(rules []int) Container {
	e := effective{config: c, from: map[string]string{}}
	e.set.rawSettings = builtInSettings()
	e.layer("defaults", rawRule{rawSettings: c.raw.Defaults})
	for _, i := range rules {
		e.layer(fmt.Sprintf("containers[%d]", i), c.raw.Containers[i])
	}
	if rank(*e.set.Mode) > rank(string(c.Mode)) {
		e.set.Mode, e.from["mode"] = new(string(c.Mode)), "mode"
	}
	return e.container()
}

// rank orders the modes by how far they go.
func rank(mode string) int { return slices.Index(modes(), mode) }

// fits says whether all that m gives fits s.
func (m rawMatch) fits(s health.Sighting) bool {
	instance := s.Ref.Instance
	if instance == "" {
		instance = "default"
	}
	return (m.Engine == nil || *m.Engine == s.Ref.Engine) &&
		(m.Instance == nil || *m.Instance == instance) &&
		(m.Name == nil || matches(m.Name, s.Name, s.Ref.ID)) &&
		(m.Tag == nil || matches(m.Tag, s.Tags...))
}

// matches says whether one of the patterns, which Load has checked, fits one of the texts.
func matches(patterns []string, texts ...string) bool {
	for _, p := range patterns {
		for _, t := range texts {
			if ok, _ := path.Match(p, t); ok {
				return true
			}
		}
	}
	return false
}

// builtInSettings are those of package health, in the words of the file.
func builtInSettings() rawSettings {
	p := health.DefaultPolicy()
	return rawSettings{
		Mode: new(string(p.Mode)), Want: new("auto"), Probes: []rawProbe{},
		Budget: rawBudget{
			Attempts: &p.Attempts, Window: &p.Window, Delays: p.Delays,
			RetryMin: &p.RetryMin, RetryMax: &p.RetryMax, Forget: &p.Forget,
		},
		DeferTo: new("60s"), Repair: &p.Repair, Unlock: new("never"),
		LockLimits:  rawLockLimits{Backup: &p.LockLimits.Backup, Snapshot: &p.LockLimits.Snapshot, Move: &p.LockLimits.Move, Other: &p.LockLimits.Other},
		Flapping:    rawFlapping{High: new(int(p.FlapHigh)), Low: new(int(p.FlapLow))},
		StopTimeout: &p.StopWithin, StartTimeout: &p.StartWithin, Settle: &p.SettleWithin,
		Priority: new(int),
	}
}

// container compiles what was gathered.
func (e *effective) container() Container {
	set, policy := e.set, health.DefaultPolicy()
	policy.Mode = health.Mode(*set.Mode)
	policy.Want = want(*set.Want)
	policy.Attempts, policy.Window, policy.Delays = *set.Budget.Attempts, *set.Budget.Window, slices.Clone(set.Budget.Delays)
	policy.RetryMin, policy.RetryMax, policy.Forget = *set.Budget.RetryMin, *set.Budget.RetryMax, *set.Budget.Forget
	policy.DeferFor, policy.Repair, policy.Unlock = deferral(*set.DeferTo), *set.Repair, *set.Unlock == "dead"
	policy.LockLimits = health.LockLimits{Backup: *set.LockLimits.Backup, Snapshot: *set.LockLimits.Snapshot, Move: *set.LockLimits.Move, Other: *set.LockLimits.Other}
	policy.FlapHigh, policy.FlapLow = float64(*set.Flapping.High), float64(*set.Flapping.Low)
	policy.StopWithin, policy.StartWithin, policy.SettleWithin = *set.StopTimeout, *set.StartTimeout, *set.Settle
	out := Container{Notify: slices.Clone(set.Notify), Ignore: or(set.Ignore, false), Runbook: or(set.Runbook, ""),
		Priority: or(set.Priority, 0), DependsOn: slices.Clone(set.DependsOn)}
	if len(e.probes) > 0 {
		policy.Probes = map[string]health.ProbePolicy{}
	}
	for _, p := range e.probes {
		spec := e.config.spec(p)
		if errs := e.doubts(spec); len(errs) > 0 {
			out.Problems = append(out.Problems, fmt.Sprintf("probe %q is left out: %v", p.Name, errs[0]))
			continue
		}
		out.Probes = append(out.Probes, spec)
		policy.Probes[p.Name] = p.policy()
	}
	out.Policy = policy
	out.Trace = e.trace()
	return out
}

// deferral is how long another supervisor is given; below 0: for ever. Load has checked it.
func deferral(s string) time.Duration {
	d, err := parseDuration(s)
	if err != nil {
		return -1
	}
	return d
}

func want(s string) health.Tri {
	switch s {
	case "yes":
		return health.Yes
	case "no":
		return health.No
	}
	return health.Maybe
}

// trace gives a line for every key that holds.
func (e *effective) trace() []string {
	var lines []string
	line := func(path string, v reflect.Value) {
		if path == "match" || path == "probes" {
			return
		}
		lines = append(lines, fmt.Sprintf("%s = %s  (%s)", path, show(v), e.config.origin.of(e.from[path])))
	}
	shown := e.set
	shown.Match = rawMatch{}
	given(reflect.ValueOf(shown), "", line)
	for _, p := range e.probes {
		given(reflect.ValueOf(p), "probes."+p.Name, func(path string, v reflect.Value) {
			if path != "probes."+p.Name+".name" {
				line(path, v)
			}
		})
	}
	return lines
}

package agent

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
)

// listed takes in one list. A list that failed is no observation of anything.
func (t *turn) listed(in *instance, l list) {
	err, asked := l.err, l.asked
	outcome := "ok"
	switch {
	case err != nil:
		outcome = "failed"
	case l.Degraded != "":
		outcome = "degraded"
	}
	t.countList(in, outcome, l.Unasked)
	t.journal.observe(sensed{ref: in.ref, sensor: sensorList, outcome: outcome, period: t.set.Poll}, mark{At: t.at}, false)
	t.heard(in)
	before := in.view
	defer func() { t.tellList(in, before) }()
	if err != nil {
		in.view.Err = err.Error()
		if in.failing.IsZero() {
			in.failing = t.at
		}
		t.strained()
		return
	}
	if !in.failing.IsZero() {
		in.failing = time.Time{}
		t.strained()
	}
	in.view.Err, in.view.Degraded, in.view.Looked, in.view.Count = "", l.Degraded, t.clock.wall(asked), len(l.Containers)
	if l.Degraded == "" && !l.Unasked {
		in.view.Listed = in.view.Looked
	}
	if home := in.home.Load(); len(l.Containers) > 0 && l.began == l.place && !l.lacks() && (home == nil || *home != l.place) {
		in.home.Store(&l.place)
		t.batch.Meta = meta(t.batch.Meta, homeKey(in), l.place)
	}
	owners := t.owners(in)
	for _, s := range l.Containers {
		s.At = asked
		if !t.shadowed(in, s, owners) {
			t.sighted(in, s)
		}
	}
	if l.Degraded == "" {
		t.unlisted(in, l)
	}
	t.covered(in)
}

// countList counts what was asked of a tool, and apart from it what was found out without asking it.
func (t *turn) countList(in *instance, outcome string, unasked bool) {
	if unasked {
		outcome = "unasked"
	}
	t.metrics.lists.WithLabelValues(in.ref.Engine, outcome).Inc()
}

// sighted takes in what a list says about one container.
func (t *turn) sighted(in *instance, s health.Sighting) {
	g := t.guests[s.Ref]
	if g == nil {
		if t.set.Setup(s).Ignore {
			return
		}
		g = t.meet(in, s.Ref)
	}
	if s.State == health.Unknown {
		return
	}
	t.equip(g, s)
	if g.setup.Ignore { // by its tags, or by a name that it has now
		t.ignore(g, configuredOut)
		return
	}
	if !g.born {
		return
	}
	if s.At.Before(g.state.Fresh) { // asked for before something happened that is newer
		return
	}
	dead := t.hold(g, &s)
	moved := g.see(s)
	t.seen(g, s)
	t.healthSaid(g, s)
	if moved { // or it is not a new life, and was not aimed at by the step: an agent that takes over finds it running
		t.aim(g)
	}
	if w := t.wordOf(g); !sameWord(w, g.state.Host) { // it may need other links than before
		t.hostSaid(g, w)
	}
	if dead != nil {
		t.ended(g, *dead)
	}
}

// seen steps with what a list says.
func (t *turn) seen(g *guest, s health.Sighting) {
	t.take(g, sensed{sensor: sensorEngine, outcome: string(s.State), detail: s.Detail, period: t.set.Poll, record: record{Sight: &s}},
		health.Observation{Sight: &s})
}

// ended steps with the kernel's word that a life is over.
func (t *turn) ended(g *guest, d health.Death) {
	t.take(g, sensed{sensor: sensorKernel, outcome: "death", detail: fmt.Sprintf("init %d, by %s", d.Init.PID, d.Sensor), record: record{Death: &d}},
		health.Observation{Death: &d})
}

// hold has the sentinel hold the init process of a running container. It gives a death when that is over already.
func (t *turn) hold(g *guest, s *health.Sighting) *health.Death {
	if s.Init.PID == 0 || (s.State != health.Running && s.State != health.Paused) {
		if s.State == health.Stopped || s.State == health.Removed {
			t.o.Sentinel.Forget(g.ref)
		}
		return nil
	}
	p, err := t.o.Sentinel.Watch(g.ref, s.Init)
	switch {
	case err == nil:
		s.Init = p
		if g.cgroup == "" || p != g.state.Init {
			g.cgroup = evidence.CgroupOf(p)
			g.memory = evidence.MemoryCgroup(g.cgroup)
		}
	case errors.Is(err, sentinel.ErrDead):
		return &health.Death{Init: s.Init, Sensor: t.o.Sentinel.Sensor()}
	default:
		t.log.Warn("an init process cannot be watched by the kernel's notices; polling does", "container", g.ref.String(), "err", err)
	}
	return nil
}

// meet makes the guest of a container that was not known.
func (t *turn) meet(in *instance, ref health.Ref) *guest {
	g := &guest{ref: ref, inst: in, state: health.State{Ref: ref}, signals: map[string]health.SignalView{}}
	g.state.Hold = t.holdAll
	t.guests[ref] = g
	t.bear(g)
	return g
}

// equip gives a guest what is configured for what it is now.
func (t *turn) equip(g *guest, s health.Sighting) {
	if g.setup.Policy.Attempts != 0 && g.sight.Name == s.Name && fmt.Sprint(g.sight.Tags) == fmt.Sprint(s.Tags) {
		return
	}
	g.setup = t.setup(s)
	t.replan(g)
	t.aim(g)
}

// setup is what is configured for a container, and what its engine says of its health beside it.
func (t *turn) setup(s health.Sighting) Setup {
	out := t.set.Setup(s)
	all := map[string]health.ProbePolicy{engineHealth: engineHealthPolicy()}
	maps.Copy(all, out.Policy.Probes) // a copy: the configuration shares its maps
	out.Policy.Probes = all
	return out
}

// bear tells a state that this agent has taken over, and what its host says.
func (t *turn) bear(g *guest) {
	if g.awaiting != "" {
		return
	}
	g.born = true
	if g.setup.Policy.Attempts == 0 {
		g.setup = t.setup(health.Sighting{Ref: g.ref, Name: g.name(), Tags: g.state.Tags})
	}
	b := health.Birth{Boot: t.boot(g), Orderly: t.o.Orderly}
	t.take(g, sensed{sensor: sensorBirth, outcome: "born", record: record{Birth: &b, Hold: g.state.Hold}}, health.Observation{Birth: &b})
	t.replan(g)
	t.hostSaid(g, t.wordOf(g))
}

// boot is that of the container's host. Another host's is not known, and ours says nothing about it: it is taken as the
// same always, so that what was stopped there while no agent looked is told and not started.
func (t *turn) boot(g *guest) string {
	if g.inst.Far() {
		return "far"
	}
	return t.o.Host.Boot
}

// unlisted are the known containers that a complete list does not hold.
func (t *turn) unlisted(in *instance, l list) {
	for ref, defined := range l.defined {
		g := t.guests[ref]
		if g == nil || !g.born || l.asked.Before(g.state.Fresh) {
			continue
		}
		s := g.sight
		s.Ref, s.Name, s.At, s.State, s.Detail, s.Init = ref, g.name(), l.asked, health.Removed, "", health.Process{}
		switch {
		case defined:
			s.State = health.Missing
		case l.began != l.place || in.elsewhere(l.place): // something was mounted, or no more, while it was listed
			s.State, s.Detail = health.Missing, notMounted
		}
		t.seen(g, s)
	}
}

func homeKey(in *instance) string { return "place/" + in.ref.Engine + ":" + in.ref.Instance }

// covered tells the reader of an instance whose init the kernel's notices cover.
func (t *turn) covered(in *instance) {
	live, all := []health.Ref{}, []health.Ref{}
	for ref, g := range t.guests {
		if g.inst == in {
			all = append(all, ref)
		}
		if g.inst == in && g.state.Init.PID != 0 && t.o.Sentinel.Holds(ref, g.state.Init) {
			live = append(live, ref)
		}
	}
	in.live.Store(&live)
	in.all.Store(&all)
}

// died takes in the kernel's notice.
func (t *turn) died(e sentinel.Event) {
	g := t.guests[e.Ref]
	if g == nil || !g.born {
		return
	}
	t.metrics.deaths.WithLabelValues(e.Death.Sensor).Inc()
	t.metrics.noticed.Observe(time.Since(e.At).Seconds())
	g.remember(t.clock.wall(t.clock.at(e.At)), fmt.Sprintf("the kernel reports that init %d has ended (%s)", e.Death.Init.PID, e.Death.Sensor))
	t.log.Debug("decided", "container", g.ref.String(), "kind", "kernel", "what", fmt.Sprintf("init %d has ended, says the kernel (%s)", e.Death.Init.PID, e.Death.Sensor))
	t.ended(g, e.Death)
}

// configuredOut is how an incident ends whose container is to be ignored from now on.
const configuredOut = "it is configured to be ignored"

// ignore lets go of a container that is there and not to be watched. What was told of it is told to be over.
func (t *turn) ignore(g *guest, why string) {
	if !g.born { // nothing was told
		t.forget(g)
		return
	}
	t.obey(g, health.Order{Kind: health.OrderForget, By: "atalaya", Reason: why})
}

// forget lets go of a container that the core has given up: its definition is gone, or it is not to be watched.
func (t *turn) forget(g *guest) {
	t.o.Sentinel.Forget(g.ref)
	t.prober.remove(g.ref)
	t.keepCerts(certKey+g.ref.String(), "")
	t.batch.Forget = append(t.batch.Forget, g.ref)
	delete(t.guests, g.ref)
	delete(t.dirty, g)
	t.survey.Forget(g.ref)
	t.log.Info("a container is no longer watched", "container", g.ref.String(), "why", g.state.Why)
	t.batch.Notes = append(t.batch.Notes, store.Note{Ref: g.ref, At: t.at, Kind: "removed", Text: g.state.Why})
}

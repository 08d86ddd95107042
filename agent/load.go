package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// leftoverPatience is how long a predecessor's command is awaited before its container is looked at all the same. It is
// still not touched before the command ends.
const leftoverPatience = time.Minute

// takeOver reads what the agent before this one knew.
func (a *Agent) takeOver(ctx context.Context) error {
	loaded, err := a.o.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("take over what is stored: %w", err)
	}
	a.loaded = loaded
	a.clock = newClock(loaded.LastAt)
	a.lastRun.Store(time.Now().UnixNano())
	for _, in := range a.inst { // for the first list: what it lacks must not pass for removed where something else is mounted
		known := []health.Ref{}
		for _, s := range loaded.States {
			if s.Ref.Engine == in.ref.Engine && s.Ref.Instance == in.ref.Instance {
				known = append(known, s.Ref)
			}
		}
		in.all.Store(&known)
		if home := loaded.Meta[homeKey(in)]; home != "" {
			in.home.Store(&home)
		}
	}
	return nil
}

// load makes the guests of what is remembered, and gives them their births.
func (a *Agent) load(ctx context.Context) {
	loaded := a.loaded
	a.seqs, a.certs = map[string]int{}, map[string]string{}
	for k, v := range loaded.Meta {
		if strings.HasPrefix(k, certKey) {
			a.certs[k] = v
		}
		if id, ok := strings.CutPrefix(k, "seq/"); ok {
			a.seqs[id], _ = strconv.Atoi(v)
		}
	}
	if v := loaded.Meta[holdAllKey]; v != "" {
		var h health.Hold
		if err := json.Unmarshal([]byte(v), &h); err == nil && h.Until.After(a.clock.now()) {
			a.holdAll = &h
		}
	}
	waits := map[string]Leftover{}
	for _, l := range a.o.Leftovers {
		waits[l.Container] = l
	}
	var born []*guest
	for _, s := range loaded.States {
		in := a.instanceOf(s.Ref)
		if in == nil {
			a.log.Warn("a container is remembered whose engine instance is not watched any more", "container", s.Ref.String())
			continue
		}
		g := &guest{ref: s.Ref, inst: in, state: s, signals: map[string]health.SignalView{}}
		a.guests[s.Ref] = g
		a.backups += backingUp(s)
		a.recall(ctx, g)
		if l, ok := waits[s.Ref.String()]; ok {
			g.awaiting = l.Text
			a.await(ctx, g.ref, l)
			continue
		}
		born = append(born, g)
	}
	a.inbox.put(func(t *turn) {
		t.begin(agentBegins)
		for _, g := range born {
			t.bear(g)
		}
		t.hostChanged() // it may be going down or coming up already
		t.resumeEvent()
		for _, n := range t.o.Notices {
			t.notice("warning", n)
		}
	})
}

// recall reads back what was tried and found in an incident that is still open.
func (a *Agent) recall(ctx context.Context, g *guest) {
	if g.state.Incident == nil {
		return
	}
	_, notes, err := a.o.Store.Incident(ctx, g.state.Incident.ID)
	if err != nil {
		a.log.Warn("what was tried before cannot be read back", "container", g.ref.String(), "err", err)
		return
	}
	for _, n := range notes {
		g.remember(a.clock.wall(n.At), n.Text)
		var tr health.Tried
		if n.Kind == "tried" && json.Unmarshal(n.Data, &tr) == nil {
			g.tried = append(g.tried, tr)
		}
		var f finding
		if n.Kind == "verdict" && json.Unmarshal(n.Data, &f) == nil {
			g.finding = f
		}
	}
}

// await holds a container back until the command of a predecessor has ended, or for so long as is bearable.
func (a *Agent) await(ctx context.Context, ref health.Ref, l Leftover) {
	a.log.Info("awaiting a command that the agent before this one began", "container", ref.String(), "command", l.Text)
	done := make(chan struct{})
	a.hands.wg.Go(func() {
		defer close(done)
		l.Wait(ctx)
	})
	a.hands.wg.Go(func() {
		select {
		case <-done:
		case <-ctx.Done():
			return
		case <-time.After(leftoverPatience):
		}
		a.inbox.put(func(t *turn) {
			if g := t.guests[ref]; g != nil && !g.born {
				g.awaiting = ""
				t.bear(g)
			}
		})
	})
}

func (a *Agent) instanceOf(ref health.Ref) *instance {
	for _, in := range a.inst {
		if in.ref.Engine == ref.Engine && in.ref.Instance == ref.Instance {
			return in
		}
	}
	return nil
}

// swap puts new settings in place and looks at everything by them.
func (t *turn) swap(s Settings) {
	t.set = s
	t.remarkAgent(agentSwapped)
	t.survey.Places, t.survey.PlaceFor, t.survey.Bucket, t.survey.Window = s.Survey.Places, s.Survey.PlaceFor, s.Survey.Bucket, s.Survey.Window
	t.survey.Together = s.Survey.Together
	t.poll.Store(int64(s.Poll))
	t.prober.limit(s.Probes)
	for _, in := range t.inst {
		in.SetQuiet(s.PollHeld)
	}
	if t.o.Recorder != nil {
		t.o.Recorder.Tune(s.Evidence)
	}
	t.windows = openWindows{}
	t.openWindows()
	for _, g := range t.guests {
		if !g.born {
			continue
		}
		seen := g.sight
		seen.Ref, seen.Name, seen.Tags = g.ref, g.name(), g.state.Tags
		g.setup = t.setup(seen)
		if g.setup.Ignore {
			t.ignore(g, configuredOut)
			continue
		}
		t.passed(g)
		t.replan(g)
		if w := t.wordOf(g); !sameWord(w, g.state.Host) {
			t.hostSaid(g, w)
		}
		t.aim(g)
	}
	t.log.Info("the configuration was reloaded")
}

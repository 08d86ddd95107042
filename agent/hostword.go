package agent

import (
	"context"
	"fmt"

	"atalaya/agent/health"
	"atalaya/agent/host"
)

// word turns what the host says of an engine, and what a container needs of the host, into the core's words.
func (a *Agent) word(w host.Word, links []string) health.HostWord {
	if a.o.Watcher == nil {
		return health.HostWord{}
	}
	return health.HostWord{Closed: w.Closed, Going: w.Going, Faults: a.o.Watcher.Missing(links)}
}

// wordOf is the host's word with what the container depends on.
func (a *Agent) wordOf(g *guest) health.HostWord {
	w := a.hostWord(g)
	w.Root = a.root(g)
	w.Window = a.windowOf(g)
	return w
}

// known is what the host says of an engine, as far as it is known without asking.
func (a *Agent) known(in *instance) host.Word {
	if w := in.word.Load(); w != nil && !in.Far() {
		return *w
	}
	return host.Word{}
}

// hostWord is the host's word for a container, as far as it is known without asking.
func (a *Agent) hostWord(g *guest) health.HostWord {
	if g.word != nil {
		return *g.word
	}
	w := a.word(a.known(g.inst), g.sight.Links)
	if g.sight.State == "" { // what it needs is not known yet, so nothing that was missing is known to be back
		w.Faults = g.state.Host.Faults
	}
	return w
}

// freshWord asks at this moment: a death a millisecond after systemd began to stop the host must not be healed.
func (a *Agent) freshWord(ctx context.Context, in *instance, links []string) health.HostWord {
	if a.o.Watcher == nil || in.Far() { // that this host goes down says nothing about another
		return health.HostWord{}
	}
	return a.word(a.o.Watcher.Ask(ctx, in.Units(), in.Autostarter()), links)
}

// hostChanged takes in that links came or went, or that the host or an engine goes down or comes up.
func (t *turn) hostChanged() {
	closed := ""
	for _, in := range t.inst {
		if w := t.known(in); w.Closed != "" {
			closed = w.Closed
		}
	}
	if t.closed == "" && closed != "" { // a reason that turns into another, as a planned shutdown does, is no news
		t.notice("info", fmt.Sprintf("%s: nothing is started until that is over", closed))
	}
	t.closed = closed
	for _, g := range t.guests {
		if !g.born {
			continue
		}
		w := t.wordOf(g)
		if !sameWord(w, g.state.Host) {
			t.hostSaid(g, w)
		}
	}
	t.strained()
}

// hostSaid steps with the host's word. What other containers and windows mean for it is not the
// host's, and is found anew by a replay.
func (t *turn) hostSaid(g *guest, w health.HostWord) {
	own := w
	own.Root, own.Window = "", health.Window{}
	t.take(g, sensed{sensor: sensorHost, outcome: "said", detail: w.Closed, record: record{Host: &own}}, health.Observation{Host: &w})
}

func sameWord(a, b health.HostWord) bool {
	return a.Closed == b.Closed && a.Going == b.Going && a.Root == b.Root && a.Window.Same(b.Window) && fmt.Sprint(a.Faults) == fmt.Sprint(b.Faults)
}

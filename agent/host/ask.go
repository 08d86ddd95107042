package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// askWithin bounds how long PID 1 is waited for, which answers within a millisecond unless it is in trouble itself.
	askWithin = 250 * time.Millisecond
	// askByProcess bounds the same by way of systemctl.
	askByProcess = 2 * time.Second
)

// Word gives what is known about an engine with these systemd units, of which autostarter (may be empty) starts its
// containers at boot. While Run runs it costs a map access, except for the first question about a unit; what it says is
// then as old as a signal on its way, some milliseconds. Where that matters, use Ask.
func (w *Watcher) Word(units []string, autostarter string) Word {
	w.mu.Lock()
	known := !w.managed
	if !known && w.following {
		known = !slices.ContainsFunc(names(units, autostarter), func(n string) bool { return !w.fresh[n] })
	}
	if known {
		defer w.mu.Unlock()
		return w.judge(units, autostarter, time.Now())
	}
	w.mu.Unlock()
	return w.Ask(context.Background(), units, autostarter)
}

// Ask is Word, asked of systemd at this moment: for the death of a container, which may come a millisecond after systemd
// began to stop everything. PID 1 queues all stop jobs before it carries out the first of them, so what it answers after a
// death is right about that death. Two small calls under way together, 0.3 to 1 ms; two more for a unit that is inactive
// or coming up. When PID 1 does not answer within 250 ms (2 s by systemctl, where its socket cannot be used) or the end of
// ctx, what was known before is said.
func (w *Watcher) Ask(ctx context.Context, units []string, autostarter string) Word {
	if w.managed {
		ctx, cancel := context.WithTimeout(ctx, askByProcess)
		defer cancel()
		w.refresh(ctx, names(units, autostarter))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.judge(units, autostarter, time.Now())
}

// names are the units of a question without the empty ones.
func names(units []string, autostarter string) []string {
	all := append(slices.Clone(units), autostarter)
	return slices.DeleteFunc(all, func(n string) bool { return n == "" })
}

// judge says what is known and notes what was said; w.mu is held.
func (w *Watcher) judge(units []string, autostarter string, now time.Time) Word {
	word := judge(w.facts, units, autostarter, now)
	w.asked[question{strings.Join(units, " "), autostarter}] = word
	return word
}

// refresh asks systemd for these units and keeps what it says.
func (w *Watcher) refresh(ctx context.Context, names []string) {
	began := time.Now()
	system, units, way, err := w.query(ctx, names)
	scheduled := readSchedule(w.root)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts.scheduled = scheduled
	if err != nil {
		w.failed(way, err)
		return
	}
	w.metrics.asked.WithLabelValues(way).Observe(time.Since(began).Seconds())
	w.troubled = false
	w.facts.system = system
	for name, u := range units {
		w.facts.units[name] = u.after(w.facts.units[name], began)
		w.fresh[name] = true
	}
}

// after carries over when the unit was last seen going, or is seen to have gone unseen.
func (u unit) after(before unit, now time.Time) unit {
	u.went = before.went
	if u.going() || before.active == "active" && u.active == "inactive" {
		u.went = now
	}
	return u
}

// failed notes that systemd did not answer; w.mu is held. A PID 1 that is no longer a manager ends everything.
func (w *Watcher) failed(way string, err error) {
	if goneDown() {
		w.facts.system = "stopping"
	}
	w.metrics.failed.WithLabelValues(way).Inc()
	if !w.troubled && !errors.Is(err, context.Canceled) {
		w.log.Warn("systemd does not answer, what was known before is taken as true", "err", err)
	}
	w.troubled = true
}

// query asks over the socket, or by systemctl where that cannot be used.
func (w *Watcher) query(ctx context.Context, names []string) (string, map[string]unit, string, error) {
	b, err := w.connect()
	if err == nil {
		system, units, err := b.ask(ctx, names)
		if err != nil && b.ended() { // a connection of yesterday: systemd has executed itself anew since
			if b, err = w.connect(); err == nil {
				system, units, err = b.ask(ctx, names)
			}
		}
		return system, units, fromBus, err
	}
	if w.run == nil || goneDown() {
		return "", nil, fromBus, err
	}
	system, units, err := systemctl{w.run}.query(ctx, names)
	return system, units, fromSystemctl, err
}

// connect gives the connection to PID 1, made anew if it was lost.
func (w *Watcher) connect() (*bus, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bus != nil && !w.bus.ended() {
		return w.bus, nil
	}
	w.drop()
	b, err := dialBus(w.root)
	if err != nil {
		return nil, err
	}
	w.bus = b
	return b, nil
}

// drop ends the connection; nothing is current then. w.mu is held.
func (w *Watcher) drop() {
	if w.bus != nil {
		w.bus.close()
		w.bus = nil
	}
	clear(w.fresh)
}

// known gives the units that were ever asked about.
func (w *Watcher) known() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]bool)
	for q := range maps.Keys(w.asked) {
		for _, n := range names(strings.Fields(q.units), q.autostarter) {
			all[n] = true
		}
	}
	return all
}

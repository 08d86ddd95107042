package host

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	// tickEvery is how often time itself may change what is said: a scheduled shutdown draws near, ten minutes are over.
	tickEvery = time.Second
	// insureEvery is how often systemd is asked although it said nothing; by systemctl, which says nothing, always.
	insureEvery = 30 * time.Second
	// systemctlEvery is the period where only systemctl works: three processes each time.
	systemctlEvery = 5 * time.Second
	redialEvery    = 500 * time.Millisecond
)

// follow keeps the facts about systemd current until ctx ends.
func (w *Watcher) follow(ctx context.Context) {
	w.setFollowing(true)
	defer w.setFollowing(false)
	for ctx.Err() == nil {
		b, err := w.connect()
		w.renew(ctx)
		if err != nil {
			w.without(ctx)
			continue
		}
		w.session(ctx, b)
		select { // systemd executes itself anew, or has gone down
		case <-ctx.Done():
		case <-time.After(redialEvery):
		}
	}
}

func (w *Watcher) setFollowing(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.following = on
	if !on {
		w.drop()
	}
}

// session listens to systemd until the connection is lost.
func (w *Watcher) session(ctx context.Context, b *bus) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	insured := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.lost():
			return
		case s, ok := <-b.signals:
			if !ok {
				return
			}
			if w.concerned(s, b) {
				w.renew(ctx)
				insured = time.Now()
			}
		case <-tick.C:
			if time.Since(insured) >= insureEvery {
				w.renew(ctx)
				insured = time.Now()
			} else {
				w.look(time.Now())
			}
		}
	}
}

// concerned says whether any of the signals that have come changes something: they come by the dozen when a unit stops.
func (w *Watcher) concerned(s *dbus.Signal, b *bus) bool {
	names := w.known()
	found := touches(s, names)
	for {
		select {
		case s, ok := <-b.signals:
			if !ok {
				return found
			}
			found = found || touches(s, names)
		default:
			return found
		}
	}
}

// without gets along with systemctl for a while, as the socket does not work.
func (w *Watcher) without(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(systemctlEvery):
	}
}

// renew asks for everything that was ever asked about.
func (w *Watcher) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*systemctlTimeout)
	defer cancel()
	w.refresh(ctx, slices.Sorted(maps.Keys(w.known())))
	w.look(time.Now())
}

// look tells when any question asked before has another answer now.
func (w *Watcher) look(now time.Time) {
	scheduled := readSchedule(w.root)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts.scheduled = scheduled
	changed := false
	for q, said := range w.asked {
		if word := judge(w.facts, strings.Fields(q.units), q.autostarter, now); word != said {
			w.asked[q] = word
			changed = true
		}
	}
	if changed {
		w.changed("systemd")
	}
}

package agent

import (
	"time"

	"atalaya/agent/health"
)

// openWindows are the maintenance windows that are open. They go by the host's clock; the core is told their ends in the
// time by which it decides.
type openWindows struct {
	until map[string]time.Time // by name, in the loop's time
	next  time.Time            // by the host's clock, when one opens or closes next; zero: never
	skew  time.Duration        // of the loop's time from the host's clock, when that was worked out
	known bool
}

// skewed is by how much the host's clock may run apart from the loop's time before the windows are worked out anew.
const skewed = time.Second

// openWindows finds which windows are open, when one opens or closes or the clock was set, and tells whom it concerns.
func (t *turn) openWindows() {
	wall := t.clock.wall(t.at)
	skew := t.at.Sub(wall)
	if w := t.windows; w.known && (w.next.IsZero() || wall.Before(w.next)) && (skew-w.skew).Abs() < skewed {
		return
	}
	was := t.windows.until
	t.windows = openWindows{until: map[string]time.Time{}, skew: skew, known: true}
	for _, w := range t.set.Windows {
		edge := w.Open(wall)
		if !edge.IsZero() {
			t.windows.until[w.Name] = edge.Add(skew)
			if _, before := was[w.Name]; !before {
				t.log.Info("a maintenance window is open", "window", w.Name, "until", edge)
			}
		} else {
			edge = w.Next(wall)
		}
		if !edge.IsZero() && (t.windows.next.IsZero() || edge.Before(t.windows.next)) {
			t.windows.next = edge
		}
	}
	for _, g := range t.guests {
		if !g.born {
			continue
		}
		if w := t.wordOf(g); !sameWord(w, g.state.Host) {
			t.hostSaid(g, w)
		}
	}
	t.strained()
}

// windowOf is the window that is open for a container; of several, the one that closes last.
func (a *Agent) windowOf(g *guest) health.Window {
	var out health.Window
	for _, name := range g.setup.Windows {
		if until, ok := a.windows.until[name]; ok && until.After(out.Until) {
			out = health.Window{Name: name, Until: until}
		}
	}
	return out
}

// hushed tells whether a window is open that concerns the whole host: then what is wrong with the host begins no incident.
func (t *turn) hushed() bool {
	for _, w := range t.set.Windows {
		if _, open := t.windows.until[w.Name]; open && w.All {
			return true
		}
	}
	return false
}

// windowViews shows every window: until when it is open, or when it opens next.
func (t *turn) windowViews() []health.WindowView {
	wall := t.clock.wall(t.at)
	var out []health.WindowView
	for _, w := range t.set.Windows {
		v := health.WindowView{Name: w.Name, Opens: w.Next(wall), All: w.All}
		if until := w.Open(wall); !until.IsZero() {
			v.Until = until
		}
		out = append(out, v)
	}
	return out
}

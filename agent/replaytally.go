package agent

import (
	"fmt"
	"time"

	"atalaya/agent/health"
)

// A ledger is the deeds of one side.
type ledger struct {
	deeds []booked
	open  map[string]time.Time // incidents that were open when counting began, since when
}

type booked struct {
	at time.Time
	placed
	why string
}

// tally counts what falls into the time that counts, by container.
func (l *ledger) tally(since, until time.Time) map[health.Ref]Tally {
	type incident struct {
		ref      health.Ref
		from, to time.Time
		about    string
	}
	open := map[string]*incident{}
	out := map[health.Ref]Tally{}
	tried := map[string]bool{}
	for _, b := range l.deeds {
		c := out[b.ref]
		counts := !b.at.Before(since)
		switch b.Kind {
		case health.DoStart, health.DoRestart:
			id := fmt.Sprint(b.ref, b.Case, b.Attempt)
			if counts && !tried[id] {
				c.Attempts++
				if b.Kind == health.DoStart {
					c.Starts++
				} else {
					c.Restarts++
				}
			}
			tried[id] = true
		case health.DoOpen:
			if open[b.Case] == nil {
				open[b.Case] = &incident{b.ref, b.Opened, until, b.About}
				if counts {
					c.Incidents++
				}
			}
		case health.DoResolve:
			if open[b.Case] == nil {
				open[b.Case] = &incident{b.ref, b.Opened, until, b.About}
			}
			open[b.Case].to = b.at
		}
		if counts && b.Told {
			c.Alerts++
		}
		if c != (Tally{}) {
			out[b.ref] = c
		}
	}
	for _, in := range open {
		if in.ref == (health.Ref{}) || in.about != "" { // its containers are counted
			continue
		}
		if in.from.Before(since) {
			in.from = since
		}
		if in.to.After(in.from) {
			c := out[in.ref]
			c.Down += in.to.Sub(in.from)
			out[in.ref] = c
		}
	}
	return out
}

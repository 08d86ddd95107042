package health

import (
	"fmt"
	"time"
)

// A Survey sees the whole host: how many attempts are under way, and how many sick containers were restarted lately.
// It is a plain value with one owner, the decision loop; its time comes from the caller.
type Survey struct {
	Places   int           // attempts at once; 1 or more
	PlaceFor time.Duration // a place is freed when the engine answers, or after this
	Bucket   int           // restarts of sick containers within Window; starts of dead ones are not counted
	Window   time.Duration

	taken    map[Ref]time.Time
	restarts []time.Time
}

// DefaultSurvey has the limits of docs/design.md.
func DefaultSurvey() Survey {
	return Survey{Places: 2, PlaceFor: 30 * time.Second, Bucket: 10, Window: 10 * time.Minute}
}

// Room says what may be begun at this moment.
func (v *Survey) Room(at time.Time) Room {
	for ref, since := range v.taken {
		if at.Sub(since) >= v.PlaceFor {
			delete(v.taken, ref)
		}
	}
	for len(v.restarts) > 0 && at.Sub(v.restarts[0]) >= v.Window {
		v.restarts = v.restarts[1:]
	}
	if len(v.taken) >= v.Places {
		return Room{Why: fmt.Sprintf("%d attempts are under way on this host", len(v.taken))}
	}
	if len(v.restarts) >= v.Bucket {
		return Room{Start: true, Why: fmt.Sprintf("%d sick containers were restarted within %s on this host", len(v.restarts), v.Window)}
	}
	return Room{Start: true, Restart: true}
}

// Begin takes a place for an attempt that was ordered; a restart is also counted.
func (v *Survey) Begin(ref Ref, at time.Time, restart bool) {
	if v.taken == nil {
		v.taken = map[Ref]time.Time{}
	}
	v.taken[ref] = at
	if restart {
		v.restarts = append(v.restarts, at)
	}
}

// End frees the place: the engine has answered.
func (v *Survey) End(ref Ref) { delete(v.taken, ref) }

// Busy is the number of places taken.
func (v *Survey) Busy() int { return len(v.taken) }

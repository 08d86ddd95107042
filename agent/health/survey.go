package health

import (
	"fmt"
	"slices"
	"time"
)

// A Survey sees the whole host: which containers fail, how many attempts are under way, how many sick ones were restarted
// lately, and what befell many at once. It is a plain value with one owner, the decision loop; its time comes from the
// caller.
type Survey struct {
	Places   int           // attempts at once; 1 or more
	PlaceFor time.Duration // a place is freed when the engine answers, or after this
	Bucket   int           // restarts of sick containers within Window; starts of dead ones are not counted
	Window   time.Duration
	Together Together

	taken    map[Ref]time.Time
	restarts []time.Time
	seen     map[Ref]surveyed
	failing  int // of seen
	watched  int // of seen
	queued   int // of seen
	faults   []string
	faulty   time.Time // since when there are any
	choking  string
	choked   time.Time // since when
	event    *HostEvent
}

// surveyed is what counts of one container here.
type surveyed struct {
	watched  bool
	failing  time.Time // since when; zero: it does not
	queued   time.Time // since when it waits for room; zero: it does not
	lacks    bool      // it runs, and the host lacks what it needs
	priority int
}

// chokedAtMost is how long the dead wait because the host is choking. After that they are started one at a time: what the
// kernel calls a stall may be the very thing that their start would end, and nobody must be kept down by a gauge.
const chokedAtMost = 5 * time.Minute

// DefaultSurvey has the limits of docs/design.md.
func DefaultSurvey() Survey {
	return Survey{Places: 2, PlaceFor: 30 * time.Second, Bucket: 10, Window: 10 * time.Minute, Together: DefaultTogether()}
}

// Room says what may be begun for one container at this moment. Where several wait, the one of higher priority comes first,
// and of equals the one that has waited longest.
func (v *Survey) Room(at time.Time, ref Ref) Room {
	for r, since := range v.taken {
		if at.Sub(since) >= v.PlaceFor {
			delete(v.taken, r)
		}
	}
	for len(v.restarts) > 0 && at.Sub(v.restarts[0]) >= v.Window {
		v.restarts = v.restarts[1:]
	}
	room := Room{Event: v.eventOf(at, ref)}
	places := v.Places
	if v.choking != "" {
		if places = 1; at.Sub(v.choked) < chokedAtMost {
			room.Why = v.choking
			return room
		}
	}
	ahead := v.ahead(ref)
	switch {
	case len(v.taken) >= places:
		room.Why = fmt.Sprintf("%d attempts are under way on this host", len(v.taken))
	case len(v.taken)+ahead >= places:
		room.Why = fmt.Sprintf("%d others that wait come first", ahead)
	default:
		room.Start = true
		room.Why = v.noRestart(at)
		room.Restart = room.Why == ""
	}
	return room
}

// noRestart says why no sick container may be restarted now, if none may.
func (v *Survey) noRestart(at time.Time) string {
	switch {
	case v.choking != "":
		return v.choking
	case v.event != nil && v.event.holds(at, v.Together.Within):
		return fmt.Sprintf("many fail at once (%s): first it is seen how many", v.event.Reason)
	case v.event != nil && len(v.event.Faults) > 0:
		return v.event.Faults[0]
	case len(v.restarts) >= v.Bucket:
		return fmt.Sprintf("%d sick containers were restarted within %s on this host", len(v.restarts), v.Window)
	}
	return ""
}

// ahead counts those that wait for room and come before this one.
func (v *Survey) ahead(ref Ref) int {
	if v.queued == 0 {
		return 0
	}
	own := v.seen[ref]
	n := 0
	for r, s := range v.seen {
		if r == ref || s.queued.IsZero() {
			continue
		}
		if s.priority > own.priority || s.priority == own.priority && !own.queued.IsZero() && s.queued.Before(own.queued) {
			n++
		}
	}
	return n
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

// Note takes in how a container stands after a Step. It is O(1).
func (v *Survey) Note(s State, priority int) {
	if s.Phase == Gone {
		v.Forget(s.Ref)
		return
	}
	now := surveyed{watched: s.Ran && s.Phase != Off && s.Phase != New, failing: FailingSince(s), priority: priority}
	now.lacks = now.watched && s.RunState == Running && len(s.Host.Faults) > 0
	if s.Host.Window.Name != "" || s.Jobs.Run != nil && s.Jobs.Run.Ordered { // whatever befalls it now, is somebody's work
		now.watched, now.failing, now.lacks = false, time.Time{}, false
	}
	if s.Host.Root != "" { // one that it depends on fails, and is counted
		now.failing = time.Time{}
	}
	if s.Phase == Waiting && s.Queue {
		now.queued = s.Since
	}
	v.count(v.seen[s.Ref], -1)
	v.count(now, 1)
	if v.seen == nil {
		v.seen = map[Ref]surveyed{}
	}
	v.seen[s.Ref] = now
}

// Forget lets go of a container that is not watched any more.
func (v *Survey) Forget(ref Ref) {
	v.count(v.seen[ref], -1)
	delete(v.seen, ref)
	delete(v.taken, ref)
}

func (v *Survey) count(s surveyed, by int) {
	if s.watched {
		v.watched += by
	}
	if !s.failing.IsZero() {
		v.failing += by
	}
	if !s.queued.IsZero() {
		v.queued += by
	}
}

// Host takes in what is wrong with the host itself, sorted, and whether it chokes: why nothing should be started now.
func (v *Survey) Host(at time.Time, faults []string, choking string) {
	if len(faults) > 0 && len(v.faults) == 0 {
		v.faulty = at
	}
	v.faults = slices.Clone(faults)
	if choking != "" && v.choking == "" {
		v.choked = at
	}
	v.choking = choking
}

// FailingSince gives since when a container fails; zero when it does not. A first failure that is not confirmed yet counts, too: that many have
// one at the same time is what tells a host's trouble from theirs.
func FailingSince(s State) time.Time {
	if s.Phase == Off || s.Phase == New {
		return time.Time{}
	}
	if c := s.Case; c != nil && !c.Ordered {
		return c.Since
	}
	var first time.Time
	for _, ps := range s.Probes {
		if ps.Fails > 0 && !ps.From.IsZero() && (first.IsZero() || ps.From.Before(first)) {
			first = ps.From
		}
	}
	return first
}

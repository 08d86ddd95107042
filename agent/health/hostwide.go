package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Together is when failures of several containers are one event of the host.
type Together struct {
	Least  int           // so many at least; 2 or more
	Share  float64       // and this share of those that are watched: 0.3
	Within time.Duration // that began within this time
}

// DefaultTogether has the limits of docs/design.md: two periods of a probe.
func DefaultTogether() Together { return Together{Least: 3, Share: 0.3, Within: 20 * time.Second} }

// faultLasts is how long a fault of the host must last by itself to be told: a bridge that is taken down and up again is none.
const faultLasts = 3 * time.Second

// A HostEvent is what befell many containers at once, or a fault of the host itself: one incident, to which theirs belong.
// It is a plain value, stored as JSON for the next agent.
type HostEvent struct {
	ID       string    `json:"id"`
	Since    time.Time `json:"since"`  // the first of the failures, or of the fault
	Opened   time.Time `json:"opened"` // when it was seen to be one
	Reason   string    `json:"reason"`
	Faults   []string  `json:"faults,omitempty"` // of the host, that hold now
	Children []Ref     `json:"children"`         // those that have failed in it, sorted
	Of       int       `json:"of"`               // watched when it opened
	Told     int       `json:"told"`             // children when it was told last
	Latest   time.Time `json:"latest"`           // when the last of them began to fail
	Quiet    time.Time `json:"quiet,omitzero"`   // since when too few of them fail to be one event
}

// holds reports whether it is still being seen how many fail.
func (e *HostEvent) holds(at time.Time, within time.Duration) bool {
	return at.Before(e.Opened.Add(within))
}

// takes reports whether what begins to fail at this moment belongs to it: while a fault holds, or soon after the last one.
// What fails much later is another matter, however long this lasts.
func (e *HostEvent) takes(at time.Time, within time.Duration) bool {
	return len(e.Faults) > 0 || !at.After(e.Latest.Add(2*within))
}

// A HostTurn is what is to be told of the host: an event opened, grew, or ended.
type HostTurn struct {
	Kind   ActionKind // DoOpen, DoUpdate, DoResolve
	Event  HostEvent
	Reason string
}

// Event is the event that goes on; nil when there is none.
func (v *Survey) Event() *HostEvent { return v.event }

// Resume takes over the event that an earlier agent had open.
func (v *Survey) Resume(e *HostEvent) { v.event = e }

// eventOf gives the event that a failure of this container belongs to, if any.
func (v *Survey) eventOf(at time.Time, ref Ref) string {
	if v.event == nil || !v.event.has(ref) && !v.event.takes(at, v.Together.Within) {
		return ""
	}
	return v.event.ID
}

func (e *HostEvent) has(ref Ref) bool {
	_, known := slices.BinarySearchFunc(e.Children, ref, compareRefs)
	return known
}

// Judge decides whether an event begins, grows or ends, and gives what is to be told. It is to be called once per turn,
// after the last Note; it costs nothing while fewer than Least fail.
func (v *Survey) Judge(at time.Time) []HostTurn {
	if v.event == nil {
		return v.begins(at)
	}
	e := v.event
	e.Faults = v.faults
	v.adopt()
	if v.lasts() {
		e.Quiet = time.Time{}
		if !e.holds(at, v.Together.Within) && len(e.Children) >= 2*max(e.Told, v.Together.Least) {
			e.Told = len(e.Children)
			return []HostTurn{{DoUpdate, *e, fmt.Sprintf("%d containers by now", len(e.Children))}}
		}
		return nil
	}
	if e.Quiet.IsZero() {
		e.Quiet = at
	}
	if at.Sub(e.Quiet) < v.Together.Within { // what let them fail together may let them fail again
		return nil
	}
	end := HostTurn{DoResolve, *e, v.over()}
	v.event = nil
	return []HostTurn{end}
}

// over tells how it ended. Whoever still fails is dealt with by itself from here on.
func (v *Survey) over() string {
	switch left := v.left(); len(left) {
	case 0:
		return "all that failed are well again"
	case 1:
		return left[0].String() + " still fails, by itself"
	default:
		return fmt.Sprintf("%d of %d still fail, each by itself", len(left), len(v.event.Children))
	}
}

// left are the children that still fail.
func (v *Survey) left() []Ref {
	var left []Ref
	for _, r := range v.event.Children {
		if !v.seen[r].failing.IsZero() {
			left = append(left, r)
		}
	}
	return left
}

func (v *Survey) begins(at time.Time) []HostTurn {
	recent := v.recent(at)
	many := v.Together.Least > 1 && len(recent) >= v.Together.Least && float64(len(recent)) >= v.Together.Share*float64(v.watched)
	if !many && (len(v.faults) == 0 || at.Sub(v.faulty) < faultLasts) {
		return nil
	}
	e := &HostEvent{Since: at, Opened: at, Faults: v.faults, Of: v.watched}
	for _, s := range recent {
		if s.Before(e.Since) {
			e.Since = s
		}
	}
	e.Latest = e.Since
	v.event = e
	v.adopt()
	e.Reason = strings.Join(v.faults, "; ")
	if e.Reason == "" {
		e.Reason = fmt.Sprintf("%d of %d containers fail since %s", len(e.Children), v.watched, e.Since.Format("15:04:05"))
	}
	e.ID = idAt(at, "host", e.Reason)
	e.Told = len(e.Children)
	return []HostTurn{{DoOpen, *e, e.Reason}}
}

// recent gives since when those fail that began to within the window; nil when they are fewer than would count.
func (v *Survey) recent(at time.Time) []time.Time {
	if v.failing < v.Together.Least {
		return nil
	}
	var out []time.Time
	for _, s := range v.seen {
		if !s.failing.IsZero() && at.Sub(s.failing) <= v.Together.Within {
			out = append(out, s.failing)
		}
	}
	return out
}

// adopt takes those into the event that have begun to fail in it.
func (v *Survey) adopt() {
	e := v.event
	if v.failing == 0 && len(e.Faults) == 0 {
		return
	}
	for ref, s := range v.seen {
		fails := !s.failing.IsZero() && !s.failing.Before(e.Since) && e.takes(s.failing, v.Together.Within)
		if !fails && (!s.lacks || len(e.Faults) == 0) {
			continue
		}
		if n, known := slices.BinarySearchFunc(e.Children, ref, compareRefs); !known {
			e.Children = slices.Insert(slices.Clone(e.Children), n, ref)
			if s.failing.After(e.Latest) {
				e.Latest = s.failing
			}
		}
	}
}

// lasts reports whether the event goes on: a fault holds, or as many of its children still fail as make one.
func (v *Survey) lasts() bool {
	return len(v.faults) > 0 || len(v.left()) >= v.Together.Least
}

func compareRefs(a, b Ref) int { return strings.Compare(a.String(), b.String()) }

package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"atalaya/agent/health"
)

// A Replayed is what a replay came to, beside what was.
type Replayed struct {
	From        time.Time    `json:"from"`  // where the record begins: what is before Since is replayed, and not counted
	Since       time.Time    `json:"since"` //
	Until       time.Time    `json:"until"` // the last that is recorded
	Then        Tally        `json:"then"`
	Now         Tally        `json:"now"`
	Containers  []Compared   `json:"containers"`  // those of which anything was or would have been done or told; sorted
	Host        Compared     `json:"host"`        // what concerned the host as a whole
	Watched     int          `json:"watched"`     // containers that are in the record
	Differences []Difference `json:"differences"` // in order of time
	Assumed     []Assumption `json:"assumed"`     // what the record could not answer
	Notes       []string     `json:"notes"`       // what else the reader must know
	Deeds       []Done       `json:"deeds"`       // everything, in order of time

	o        ReplayOptions
	tape     *tape
	agents   int // that began after the first
	swaps    int // other settings taken up
	looks    int // answered from the latest list
	assumed  map[string]map[health.Ref]int
	names    map[health.Ref]string
	then     ledger
	now      ledger
	probes   map[health.Ref]map[string]health.ProbePolicy
	watching map[health.Ref]bool
}

// A Tally counts what was done and told.
type Tally struct {
	Attempts  int           `json:"attempts"`
	Starts    int           `json:"starts"`   // attempts that begin with a start
	Restarts  int           `json:"restarts"` // and with a restart
	Incidents int           `json:"incidents"`
	Alerts    int           `json:"alerts"`
	Down      time.Duration `json:"down_ns"` // in incidents, from the first failure on
}

func (t *Tally) add(o Tally) {
	t.Attempts, t.Starts, t.Restarts = t.Attempts+o.Attempts, t.Starts+o.Starts, t.Restarts+o.Restarts
	t.Incidents, t.Alerts, t.Down = t.Incidents+o.Incidents, t.Alerts+o.Alerts, t.Down+o.Down
}

// Compared is one container, then and now.
type Compared struct {
	Ref  health.Ref `json:"ref"`
	Name string     `json:"name"`
	Then Tally      `json:"then"`
	Now  Tally      `json:"now"`
}

// A Done is one deed: as it was, or would have been, or both.
type Done struct {
	At   time.Time  `json:"at"`
	Ref  health.Ref `json:"ref"`
	Name string     `json:"name"`
	Then *Deed      `json:"then,omitempty"`
	Now  *Deed      `json:"now,omitempty"`
	Why  string     `json:"why,omitempty"` // of one side alone: how the container stood on the other
}

// A Difference is a moment at which the two differ.
type Difference struct {
	At   time.Time  `json:"at"`
	Ref  health.Ref `json:"ref"`
	Name string     `json:"name"`
	Then string     `json:"then"` // what was done; empty: nothing
	Now  string     `json:"now"`  // what would have been
	Why  string     `json:"why"`
}

// An Assumption is something that the record cannot tell, and how often it mattered.
type Assumption struct {
	What       string       `json:"what"`
	Count      int          `json:"count"`
	Containers []health.Ref `json:"containers"`
}

func newReplayed(t *tape, o ReplayOptions) *Replayed {
	out := &Replayed{From: t.begin, Since: o.Since, Until: t.end, o: o, tape: t, assumed: map[string]map[health.Ref]int{}, names: map[health.Ref]string{},
		probes: map[health.Ref]map[string]health.ProbePolicy{}, watching: map[health.Ref]bool{}}
	out.then.open, out.now.open = map[string]time.Time{}, map[string]time.Time{}
	if out.Since.Before(t.begin) {
		out.Since = t.begin
	}
	return out
}

// assume counts an assumption.
func (r *Replayed) assume(what string, ref health.Ref) {
	if r.assumed[what] == nil {
		r.assumed[what] = map[health.Ref]int{}
	}
	r.assumed[what][ref]++
}

// note takes down what one turn came to.
func (r *Replayed) note(t *turn, facts []*fact) {
	for _, f := range facts {
		g := t.guests[f.ref]
		if g != nil {
			r.watching[f.ref], r.names[f.ref], r.probes[f.ref] = true, g.name(), g.setup.Policy.Probes
		}
		if f.sensor == sensorState && f.State != nil && f.State.Incident != nil && f.at.Equal(r.From) {
			in := f.State.Incident
			r.then.open[in.ID], r.now.open[in.ID] = in.Opened, in.Opened
		}
		for _, d := range f.deeds {
			r.then.deeds = append(r.then.deeds, booked{f.at, placed{f.ref, d}, stands(g)})
		}
	}
	for _, d := range t.deeds {
		why := ""
		if h := r.tape.facts[d.ref]; h != nil && d.ref != (health.Ref{}) {
			why = string(h.phase(t.at))
		}
		r.now.deeds = append(r.now.deeds, booked{t.at, d, why})
	}
}

// stands says for people how a container stands in the replay.
func stands(g *guest) string {
	if g == nil {
		return "it is not watched"
	}
	return string(g.state.Phase) + because(g.state.Why)
}

func (r *replay) finish() Replayed {
	out := r.out
	then, now := out.then.tally(out.Since, out.Until), out.now.tally(out.Since, out.Until)
	refs := map[health.Ref]bool{}
	for ref := range then {
		refs[ref] = true
	}
	for ref := range now {
		refs[ref] = true
	}
	for ref := range refs {
		c := Compared{Ref: ref, Name: out.names[ref], Then: then[ref], Now: now[ref]}
		out.Then.add(c.Then)
		out.Now.add(c.Now)
		if ref == (health.Ref{}) {
			out.Host = c
			out.Host.Name = r.o.Host.FQDN
		} else {
			out.Containers = append(out.Containers, c)
		}
	}
	slices.SortFunc(out.Containers, func(x, y Compared) int { return cmp.Compare(x.Ref.String(), y.Ref.String()) })
	out.Watched = len(out.watching)
	out.pair()
	out.say()
	return *out
}

// pair finds what was done on both sides, and what on one alone.
func (r *Replayed) pair() {
	taken := make([]bool, len(r.now.deeds))
	for _, b := range r.then.deeds {
		d := Done{At: b.at, Ref: b.ref, Name: r.names[b.ref], Then: new(Deed), Why: b.why}
		*d.Then = b.Deed
		if n := r.same(b, taken); n >= 0 {
			taken[n], d.Why, d.Now = true, "", new(Deed)
			*d.Now = r.now.deeds[n].Deed
		}
		r.Deeds = append(r.Deeds, d)
	}
	for n, b := range r.now.deeds {
		if !taken[n] {
			d := Done{At: b.at, Ref: b.ref, Name: r.names[b.ref], Now: new(Deed), Why: b.why}
			*d.Now = b.Deed
			r.Deeds = append(r.Deeds, d)
		}
	}
	r.Deeds = slices.DeleteFunc(r.Deeds, func(d Done) bool { return d.At.Before(r.Since) })
	slices.SortStableFunc(r.Deeds, func(x, y Done) int { return x.At.Compare(y.At) })
	for _, d := range r.Deeds {
		if diff, ok := d.difference(); ok {
			r.Differences = append(r.Differences, diff)
		}
	}
}

// same is the nearest deed of the replay that is the same as a recorded one; -1: there is none.
func (r *Replayed) same(b booked, taken []bool) int {
	best := -1
	from, _ := slices.BinarySearchFunc(r.now.deeds, b.at.Add(-alike), func(x booked, at time.Time) int { return x.at.Compare(at) })
	for n := from; n < len(r.now.deeds); n++ {
		o := r.now.deeds[n]
		if o.at.After(b.at.Add(alike)) {
			break
		}
		if taken[n] || o.ref != b.ref || o.Kind != b.Kind || o.Hard != b.Hard {
			continue
		}
		if best < 0 || o.at.Sub(b.at).Abs() < r.now.deeds[best].at.Sub(b.at).Abs() {
			best = n
		}
	}
	return best
}

func (d Done) difference() (Difference, bool) {
	out := Difference{At: d.At, Ref: d.Ref, Name: d.Name}
	switch {
	case d.Then != nil && d.Now != nil && d.Then.Told == d.Now.Told:
		return out, false
	case d.Then != nil && d.Now != nil:
		out.Then, out.Now, out.Why = d.Then.text(), d.Now.text(), "alerts go out in another mode, or it belongs to an event of the host in one of the two"
	case d.Then != nil:
		out.Then, out.Why = d.Then.text(), "it would have been "+d.Why
	default:
		out.Now, out.Why = d.Now.text(), d.Now.Reason
		if d.Why != "" {
			out.Why += "; then it was " + d.Why
		}
	}
	return out, true
}

// text says for people what a deed is.
func (d Deed) text() string {
	var s string
	switch d.Kind {
	case health.DoStart:
		return fmt.Sprintf("started, attempt %d", d.Attempt)
	case health.DoRestart:
		if d.Hard {
			return fmt.Sprintf("killed to be restarted, attempt %d", d.Attempt)
		}
		return fmt.Sprintf("restarted, attempt %d", d.Attempt)
	case health.DoOpen:
		s = "incident opened"
	case health.DoUpdate:
		s = "incident: news"
	case health.DoEscalate:
		s = "escalated"
	case health.DoResolve:
		s = "incident closed: " + d.Reason
	default:
		s = "told: " + d.Reason
	}
	if d.Told {
		return s + " (alert)"
	}
	return s + " (no alert)"
}

// say lists what was assumed, and what else there is to know.
func (r *Replayed) say() {
	for _, what := range slices.Sorted(maps.Keys(r.assumed)) {
		a := Assumption{What: what}
		for ref, n := range r.assumed[what] {
			a.Count += n
			a.Containers = append(a.Containers, ref)
		}
		slices.SortFunc(a.Containers, func(x, y health.Ref) int { return cmp.Compare(x.String(), y.String()) })
		r.Assumed = append(r.Assumed, a)
	}
	if r.looks > 0 {
		r.Assumed = append(r.Assumed, Assumption{What: "a look that was not asked for then is answered by what was known of the container at that time", Count: r.looks})
	}
	if r.o.Since.Before(r.From.Add(-time.Second)) {
		r.Notes = append(r.Notes, fmt.Sprintf("the record begins only at %s", r.From.Format(time.RFC3339)))
	}
	if r.swaps > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the agent took up other settings %d times in this time: what was is by the settings of then", r.swaps))
	}
	if r.agents > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the agent was started again %d times; while none ran nothing was seen, and nothing is decided", r.agents))
	}
	unseen := map[string]int{}
	for ref, all := range r.probes {
		for name, pp := range all {
			every, ran := r.tape.probed[ref][name]
			switch {
			case name == engineHealth:
			case !ran:
				unseen[fmt.Sprintf("probe %q was not run then: nothing is known of it", name)]++
			case pp.Every != every:
				unseen[fmt.Sprintf("probe %q was run every %s then, and would be every %s: only what it said then is known", name, every, pp.Every)]++
			}
		}
	}
	for _, text := range slices.Sorted(maps.Keys(unseen)) {
		r.Notes = append(r.Notes, fmt.Sprintf("%s (containers: %d)", text, unseen[text]))
	}
}

// Only gives what concerns the containers that are meant, with their own sums. What concerns the host stays only if all are.
func (r Replayed) Only(meant func(health.Ref, string) bool) Replayed {
	out := r
	out.Then, out.Now, out.Containers, out.Differences, out.Deeds = Tally{}, Tally{}, nil, nil, nil
	all := true
	out.Watched = 0
	for ref := range r.watching {
		if meant(ref, r.names[ref]) {
			out.Watched++
		} else {
			all = false
		}
	}
	if all {
		return r
	}
	out.Host = Compared{}
	for _, c := range r.Containers {
		if meant(c.Ref, c.Name) {
			out.Containers = append(out.Containers, c)
			out.Then.add(c.Then)
			out.Now.add(c.Now)
		}
	}
	of := func(ref health.Ref, name string) bool { return ref != (health.Ref{}) && meant(ref, name) }
	for _, d := range r.Differences {
		if of(d.Ref, d.Name) {
			out.Differences = append(out.Differences, d)
		}
	}
	for _, d := range r.Deeds {
		if of(d.Ref, d.Name) {
			out.Deeds = append(out.Deeds, d)
		}
	}
	return out
}

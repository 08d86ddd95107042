package health

import (
	"fmt"
	"math/bits"
	"time"
)

// Flapping is judged as Nagios does (nagioscore, base/flapping.c): of the last 21 confirmed states, how many differ from
// the one before, the newer weighing more. A state is taken with each change, and where nothing changes every flapEvery.

const (
	flapStates = 21
	flapEvery  = time.Minute
)

// A Flap is what is remembered of a container's last states.
type Flap struct {
	Bad bool      `json:"bad,omitempty"` // the latest
	Was uint32    `json:"was,omitempty"` // the last flapStates, a bit each, the latest lowest; set: confirmed down or sick
	At  time.Time `json:"at,omitzero"`   // of the latest
	On  bool      `json:"on,omitempty"`  // it flaps
}

// push takes one state.
func (f *Flap) push(bad bool, at time.Time) {
	f.Was = f.Was << 1 & (1<<flapStates - 1)
	if bad {
		f.Was |= 1
	}
	f.Bad, f.At = bad, at
}

// Percent is the weighted share of changes, from 0 to 100.
func (f Flap) Percent() float64 {
	const changes = flapStates - 1
	sum := 0.0
	for i := range changes { // the oldest change first
		shift := changes - 1 - i
		if f.Was>>shift&1 != f.Was>>(shift+1)&1 {
			sum += 0.75 + 0.5*float64(i)/(changes-1)
		}
	}
	return 100 * sum / changes
}

// Changes counts them.
func (f Flap) Changes() int {
	return bits.OnesCount32((f.Was ^ f.Was>>1) & (1<<(flapStates-1) - 1))
}

// flap takes down how the container stands after an observation, and whether that changes too often.
func (m *machine) flap() {
	f := &m.s.Flap
	if m.p.FlapHigh == 0 {
		*f = Flap{}
		return
	}
	if m.s.Clear.IsZero() && m.s.Incident == nil { // it has not been up yet
		return
	}
	if f.At.IsZero() {
		f.At = m.at
	}
	for n := 0; n < flapStates && m.at.Sub(f.At) >= flapEvery; n++ {
		f.push(f.Bad, f.At.Add(flapEvery))
	}
	if m.at.Sub(f.At) >= flapEvery {
		f.At = m.at
	}
	if bad := m.s.Incident != nil && m.s.Phase != Settling; bad != f.Bad {
		f.push(bad, m.at)
	}
	switch p := f.Percent(); {
	case !f.On && p >= m.p.FlapHigh:
		f.On = true
		if in := m.s.Incident; in != nil {
			m.do(Action{Kind: DoUpdate, Case: in.ID, Reason: m.flapping(), Incident: copied(in)})
		}
	case f.On && p < m.p.FlapLow:
		f.On = false
		m.steady()
	}
}

// steady: it flaps no more. What is well by now is called so, and what is not may be restarted again.
func (m *machine) steady() {
	switch {
	case m.s.Phase == Settling:
		m.settled()
	case m.s.Phase == Alerted && m.s.RunState == Running && m.failing(FailRestart):
		m.suspectSick()
	}
}

// flapping says so, for people.
func (m *machine) flapping() string {
	return fmt.Sprintf("it is flapping: %d changes among its last %d states; it is restarted no more, and called well only when it has been steady",
		m.s.Flap.Changes(), flapStates)
}

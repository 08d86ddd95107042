package agent

import (
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// flushEvery is how old the length of a run that goes on may get before it is written. What ends a run is written at once;
// an agent that is killed loses so much of the end of a run in which nothing happened.
const flushEvery = 5 * time.Minute

// A journal keeps every observation as runs: the same outcome at the same pace is one row, however long it lasts.
type journal struct {
	runs    map[runKey]*store.Run
	ended   []store.Run
	written time.Time
}

type runKey struct {
	ref    health.Ref
	sensor string
}

// observe adds one observation. A pause of more than ten periods ends a run: nobody
// looked. The detail is that of the latest: it holds times and numbers that are never the same.
func (j *journal) observe(ref health.Ref, sensor, outcome, detail string, at time.Time, period time.Duration) {
	if j.runs == nil {
		j.runs = map[runKey]*store.Run{}
	}
	k := runKey{ref, sensor}
	if r := j.runs[k]; r != nil {
		if r.Outcome == outcome && r.Period == period && period > 0 && at.Sub(r.Last) <= 10*period {
			r.Last, r.Detail = at, detail
			r.Count++
			return
		}
		j.ended = append(j.ended, *r)
	}
	j.runs[k] = &store.Run{Ref: ref, Sensor: sensor, Outcome: outcome, First: at, Last: at, Count: 1, Period: period, Detail: detail}
}

// drop ends the runs of a container that is gone.
func (j *journal) drop(ref health.Ref) {
	for k, r := range j.runs {
		if k.ref == ref {
			j.ended = append(j.ended, *r)
			delete(j.runs, k)
		}
	}
}

// due gives what is to be written now: what ended with any commit; all, every five minutes or when the agent ends.
func (j *journal) due(at time.Time, now, end bool) []store.Run {
	all := end || at.Sub(j.written) >= flushEvery
	if !all && !now {
		return nil
	}
	out := j.ended
	j.ended = nil
	if all {
		for _, r := range j.runs {
			if r.Last.After(j.written) || j.written.IsZero() {
				out = append(out, *r)
			}
		}
		j.written = at
	}
	return out
}

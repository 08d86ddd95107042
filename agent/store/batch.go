package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"atalaya/agent/health"
)

// A Batch is everything that one turn of the decision loop wants to be durable, before anything is done.
type Batch struct {
	At        time.Time         // of the turn; the newest ever given comes back as Loaded.LastAt
	States    []health.State    // replace what is stored of the same Ref
	Forget    []health.Ref      // their states are deleted
	Runs      []Run             // replace what is stored of the same Ref, Sensor and First
	Notes     []Note            // appended
	Incidents []health.Incident // replace what is stored of the same ID
	Alerts    []Queued          // queued unless the same Channel and Key is already there, delivered or not
	Meta      map[string]string // replace; an empty value deletes
}

// A Run is one row of the journal: a sensor that kept saying the same, at the same pace.
type Run struct {
	Ref     health.Ref      `json:"ref"`
	Sensor  string          `json:"sensor"`
	Outcome string          `json:"outcome"`
	First   time.Time       `json:"first"`
	Last    time.Time       `json:"last"`
	Count   int             `json:"count"`
	Period  time.Duration   `json:"period_ns"`
	Detail  string          `json:"detail,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // what a replay needs
}

// A Note is one line of a timeline: a decision, an action, its transcript.
type Note struct {
	Ref      health.Ref
	Incident string // empty: belongs to none
	At       time.Time
	Kind     string
	Text     string
	Data     json.RawMessage // optional
}

// A Queued is one alert for one channel.
type Queued struct {
	Channel string
	Alert   health.Alert
	Due     time.Time // not sent before
	Key     string    // unique within the channel: the idempotency key that the receiver sees
}

// An op is one statement of a batch. Of two ops with the same key only the later one matters, or, where first is set, the
// earlier; an op without a key always matters.
type op struct {
	key   string
	first bool
	q     query
	args  []any
}

// A batch is a Batch that is ready to be written: everything that can go wrong with its content has gone wrong before.
type batch struct {
	serial  int64
	at      int64
	ops     []op
	waiters []chan error // buffered; each gets the first word about it
}

func encode(b Batch) (*batch, error) {
	e := &batch{at: nanos(b.At)}
	for _, s := range b.States {
		doc, err := marshal("state", s.Ref.String(), s)
		if err != nil {
			return nil, err
		}
		e.add("state/"+s.Ref.String(), putState, s.Ref.String(), doc)
	}
	for _, r := range b.Forget {
		e.add("state/"+r.String(), dropState, r.String())
	}
	for _, r := range b.Runs {
		key := fmt.Sprintf("run/%s/%s/%d", r.Ref, r.Sensor, nanos(r.First))
		e.add(key, putRun, r.Ref.String(), text(r.Sensor), nanos(r.First), nanos(r.Last), int64(r.Count), int64(r.Period),
			text(r.Outcome), text(r.Detail), data(r.Data))
	}
	for _, n := range b.Notes {
		e.add("", addNote, n.Ref.String(), n.Incident, nanos(n.At), text(n.Kind), text(n.Text), data(n.Data))
	}
	for _, i := range b.Incidents {
		doc, err := marshal("incident", i.ID, i)
		if err != nil {
			return nil, err
		}
		e.add("incident/"+i.ID, putIncident, i.ID, i.Ref.String(), nanos(i.Opened), nanos(i.Resolved), doc)
	}
	for _, a := range b.Alerts {
		if err := e.addAlert(a, b.At); err != nil {
			return nil, err
		}
	}
	for k, v := range b.Meta {
		if v == "" {
			e.add("meta/"+k, dropMeta, k)
		} else {
			e.add("meta/"+k, putMeta, k, v)
		}
	}
	return e, nil
}

func (b *batch) add(key string, q query, args ...any) {
	b.ops = append(b.ops, op{key: key, q: q, args: args})
}

func (b *batch) addAlert(a Queued, at time.Time) error {
	if a.Channel == "" || a.Key == "" {
		return fmt.Errorf("%w: alert %q for channel %q with key %q: neither may be empty", ErrRefused, a.Alert.Summary, a.Channel, a.Key)
	}
	doc, err := marshal("alert", a.Key, a.Alert)
	if err != nil {
		return err
	}
	line := a.Alert.Incident
	if line == "" {
		line = "notice:" + a.Key // a notice that cannot be delivered must not hold up the next one
	}
	b.ops = append(b.ops, op{key: "alert/" + a.Channel + "/" + a.Key, first: true, q: addAlert, args: []any{
		a.Channel, a.Key, line, a.Alert.Incident, doc, nanos(at), nanos(at), nanos(a.Due)}})
	return nil
}

func marshal(kind, id string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("%w: encode %s %q: %w", ErrRefused, kind, id, err)
	}
	return string(b), nil
}

// text makes what a container may have written storable as UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func data(d json.RawMessage) string {
	if len(d) == 0 || json.Valid(d) {
		return string(d)
	}
	b, _ := json.Marshal(string(d)) // a string always encodes
	return string(b)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// parseRef is the inverse of health.Ref.String, by its promise that neither engine nor instance holds ':' or '/'.
func parseRef(s string) health.Ref {
	where, id, _ := strings.Cut(s, "/")
	engine, instance, _ := strings.Cut(where, ":")
	return health.Ref{Engine: engine, Instance: instance, ID: id}
}

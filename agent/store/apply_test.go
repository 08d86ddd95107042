package store

import (
	"testing"
	"time"

	"atalaya/agent/health"
)

// An answer may be lost after the work is done; then the same batch is tried again, and must not be done again. From
// outside that moment cannot be hit at will, so this test knocks from inside.
func TestABatchIsAppliedOnce(t *testing.T) {
	s, _, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i := health.Incident{ID: "A", Ref: health.Ref{Engine: "lxc", ID: "web1"}}
	b, err := encode(Batch{At: time.Unix(1, 0), Incidents: []health.Incident{i}, Notes: []Note{{Ref: i.Ref, Incident: "A", Text: "once"}}})
	if err != nil {
		t.Fatal(err)
	}
	b.serial = 1000
	for range 2 {
		if err := s.db.apply(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, notes, err := s.Incident(t.Context(), "A"); err != nil || len(notes) != 1 {
		t.Errorf("%d notes, %v", len(notes), err)
	}
}

// What is owed for a day stays bounded, and keeps what matters.
func TestMergeIsBounded(t *testing.T) {
	ref := health.Ref{Engine: "lxc", ID: "web1"}
	var bs []*batch
	for n := range maxJournal + 1000 {
		b, err := encode(Batch{At: time.Unix(int64(n), 0), States: []health.State{{Ref: ref, Name: "web1"}}, Notes: []Note{{Ref: ref, At: time.Unix(int64(n), 0)}},
			Alerts: []Queued{{Channel: "ops", Key: "same", Due: time.Unix(int64(n), 0)}}})
		if err != nil {
			t.Fatal(err)
		}
		b.serial = int64(n)
		bs = append(bs, b)
	}
	m := merge(bs)
	if len(m.ops) != maxJournal+2 || m.serial != maxJournal+999 || m.at != time.Unix(maxJournal+999, 0).UnixNano() {
		t.Fatalf("%d ops, serial %d", len(m.ops), m.serial)
	}
	for _, o := range m.ops {
		if o.q == addNote && o.args[2].(int64) < time.Unix(1000, 0).UnixNano() {
			t.Fatal("an old note was kept instead of a new one")
		}
		if o.q == addAlert && o.args[7].(int64) != 0 && o.args[7].(int64) != time.Unix(0, 0).UnixNano() {
			t.Fatal("of two alerts with one key the first one counts")
		}
	}
}

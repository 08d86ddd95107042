package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// The journal is read from the latest beginning on that is not after what is asked for, with runs that began before it and
// go on; what a replay needs comes back as it was.
func TestTheJournalFromABeginning(t *testing.T) {
	s, _ := open(t, store.Options{})
	at := func(h int) time.Time { return epoch.Add(time.Duration(h) * time.Hour) }
	run := func(ref health.Ref, sensor string, first, last int) store.Run {
		return store.Run{Ref: ref, Sensor: sensor, Outcome: "x", First: at(first), Last: at(last), Count: 2, Data: json.RawMessage(`{"n":1}`)}
	}
	commit(t, s, store.Batch{At: at(9), Runs: []store.Run{run(health.Ref{}, store.Beginning, 1, 1), run(web1, "a", 2, 3), run(web1, "b", 3, 8),
		run(health.Ref{}, store.Beginning, 5, 5), run(web2, "c", 6, 7)},
		Notes: []store.Note{{Ref: web1, At: at(1), Text: "1"}, {Ref: web2, At: at(2), Text: "2"}, {Ref: web1, At: at(3), Text: "3"}, {Ref: web1, At: at(4), Text: "4"}}})
	for since, want := range map[int]string{0: "agent a b agent c", 4: "agent a b agent c", 5: "b agent c", 9: "b agent c"} {
		runs, err := s.Journal(t.Context(), at(since))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range runs {
			got += " " + r.Sensor
			if string(r.Data) != `{"n":1}` {
				t.Errorf("%+v", r)
			}
		}
		if got != " "+want {
			t.Errorf("since %d: %s, want %s", since, got, want)
		}
	}
	notes, err := s.Notes(t.Context(), web1, 2)
	if got := fmt.Sprint(len(notes), notes[0].Text, notes[1].Text); err != nil || got != "234" {
		t.Errorf("%s, %v", got, err)
	}
}

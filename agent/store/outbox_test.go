package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

func keys(ds []store.Delivery) string {
	var ks []string
	for _, d := range ds {
		ks = append(ks, d.Channel+":"+d.Key)
	}
	return strings.Join(ks, " ")
}

func due(t *testing.T, s *store.Store, now time.Time) []store.Delivery {
	t.Helper()
	ds, err := s.Due(t.Context(), now, 10)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The life of some alerts, told by what is due when.
func TestOutbox(t *testing.T) {
	s, _ := open(t, store.Options{Dir: t.TempDir()})
	a, b := incident(1, web1), incident(2, web2)
	a.ID, b.ID = "A", "B"
	at := func(sec int) time.Time { return epoch.Add(time.Duration(sec) * time.Second) }
	notice := health.Alert{Kind: health.AlertNotice, Summary: "host is going down"}
	commit(t, s, store.Batch{At: epoch, Alerts: []store.Queued{
		queued("ops", a, 1, health.AlertOpen, at(2)), queued("log", a, 1, health.AlertOpen, at(0)),
		queued("ops", b, 1, health.AlertOpen, at(3)),
		{Channel: "ops", Alert: notice, Key: "n1", Due: at(0)}, {Channel: "ops", Alert: notice, Key: "n2", Due: at(0)},
	}})
	commit(t, s, store.Batch{At: at(1), Alerts: []store.Queued{queued("ops", a, 2, health.AlertResolved, at(1))}})
	is := func(sec int, want string) []store.Delivery {
		t.Helper()
		ds := due(t, s, at(sec))
		if got := keys(ds); got != want {
			t.Fatalf("due at %d s: %s\nwant: %s", sec, got, want)
		}
		return ds
	}
	ds := is(0, "log:A-1 ops:n1 ops:n2") // notices do not wait for each other; A-2 waits for A-1
	ok(t, s.Retry(t.Context(), ds[1].ID, at(100), "refused connection"))
	ok(t, s.Sent(t.Context(), ds[2].ID, at(0), "200 OK"))
	ok(t, s.Sent(t.Context(), ds[0].ID, at(0), "appended"))
	ok(t, s.Sent(t.Context(), ds[0].ID, at(0), "appended")) // the store had not answered in time
	if all, err := s.Outbox(t.Context(), true); err != nil || all[1].Key != "A-1" || all[1].Channel != "log" || all[1].Tries != 1 {
		t.Fatalf("what was delivered at the first try: %+v, %v", all, err)
	}
	if next, err := s.NextDue(t.Context(), at(0)); err != nil || !next.Equal(at(2)) {
		t.Fatalf("next due %v, %v", next, err)
	}
	ok(t, s.Advance(t.Context(), "A", 0, at(1))) // evidence of before the first alert
	is(1, "")
	ok(t, s.Advance(t.Context(), "A", 1, at(1)))
	ds = is(1, "ops:A-1")
	ok(t, s.Retry(t.Context(), ds[0].ID, at(50), "500"))
	ok(t, s.Advance(t.Context(), "A", 9, at(4))) // a failing one keeps its backoff
	is(4, "ops:B-1")
	if bs, err := s.Backlogs(t.Context()); err != nil || len(bs) != 1 || !bs[0].Failing.Equal(epoch) || bs[0].Pending != 4 || bs[0].LastErr != "500" && bs[0].LastErr != "refused connection" {
		t.Fatalf("while it fails: %+v, %v", bs, err)
	}
	ds = is(50, "ops:B-1 ops:A-1")
	if d := ds[1]; d.Tries != 1 || d.LastErr != "500" || !d.Queued.Equal(epoch) || !d.Since.Equal(epoch) || d.Alert.Kind != health.AlertOpen {
		t.Fatalf("%+v", d)
	}
	dead := ds[1].ID
	ok(t, s.Dead(t.Context(), dead, at(51), "404"))
	is(51, "ops:A-2 ops:B-1") // a dead letter holds up nobody
	out, err := s.Outbox(t.Context(), false)
	if err != nil || keys(out) != "ops:A-1 ops:B-1 ops:n1 ops:A-2" || !out[0].Dead || out[0].LastErr != "404" {
		t.Fatalf("%+v, %v", out, err)
	}
	bs, err := s.Backlogs(t.Context())
	if err != nil || len(bs) != 1 || bs[0].Channel != "ops" || bs[0].Pending != 3 || bs[0].Dead != 1 || !bs[0].Oldest.Equal(epoch) {
		t.Fatalf("%+v, %v", bs, err)
	}
	before := time.Now()
	ok(t, s.Requeue(t.Context(), dead, time.Now()))
	ds = due(t, s, time.Now().Add(time.Second))
	if ds[len(ds)-1].Key != "A-1" || ds[len(ds)-1].Tries != 0 || ds[len(ds)-1].Since.Before(before.Add(-time.Second)) || !ds[len(ds)-1].Queued.Equal(epoch) {
		t.Fatalf("sent again: %s %+v", keys(ds), ds[len(ds)-1])
	}
	ok(t, s.Drop(t.Context(), dead))
	for what, err := range map[string]error{"drop": s.Drop(t.Context(), dead), "requeue": s.Requeue(t.Context(), dead, time.Now()), "sent": s.Sent(t.Context(), dead, epoch, "")} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s what is gone: %v", what, err)
		}
	}
}

// A channel with a thousand incidents due leaves the others their place, and Due stays quick.
func TestDueIsFair(t *testing.T) {
	s, _ := open(t, store.Options{Dir: t.TempDir()})
	var b store.Batch
	for n := range 1000 {
		b.Alerts = append(b.Alerts, queued("big", incident(n, web1), 1, health.AlertOpen, epoch), queued("big", incident(n, web1), 2, health.AlertUpdate, epoch))
	}
	b.Alerts = append(b.Alerts, queued("small", incident(5000, web2), 1, health.AlertOpen, epoch.Add(time.Second)))
	commit(t, s, b)
	ds, err := s.Due(t.Context(), epoch.Add(time.Minute), 3)
	if err != nil || len(ds) != 4 || ds[3].Channel != "small" {
		t.Fatalf("%s, %v", keys(ds), err)
	}
	for n, d := range ds[:3] {
		if d.Key != fmt.Sprintf("%s-1", incident(n, web1).ID) {
			t.Errorf("%d: %s", n, d.Key)
		}
	}
}

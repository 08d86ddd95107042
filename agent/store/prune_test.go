package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

const day = 24 * time.Hour

func TestPruneByAge(t *testing.T) {
	s, _ := open(t, store.Options{Dir: t.TempDir(), MaxAge: 30 * day})
	now := epoch.Add(365 * day)
	ago := func(d int) time.Time { return now.Add(-time.Duration(d) * day) }
	run := func(sensor, outcome string, d int) store.Run {
		return store.Run{Ref: web1, Sensor: sensor, Outcome: outcome, First: ago(d).Add(-time.Hour), Last: ago(d), Count: 1}
	}
	closed := func(n, d int) health.Incident {
		i := incident(n, web1)
		i.Opened, i.Resolved = ago(d).Add(-time.Hour), ago(d)
		return i
	}
	old, middle, open1 := closed(1, 200), closed(2, 60), incident(3, web1)
	open1.Opened = ago(300)
	b := store.Batch{At: now, Incidents: []health.Incident{old, middle, open1},
		Runs: []store.Run{run("a", "pass", 40), run("b", "pass", 20), run("c", "fail", 40), run("d", "fail", 130)}}
	for n, i := range []health.Incident{old, middle, open1} {
		b.Notes = append(b.Notes, store.Note{Ref: web1, Incident: i.ID, At: i.Opened, Kind: "x", Text: fmt.Sprint(n)})
		ok(t, s.AddBundle(t.Context(), store.Bundle{Incident: i.ID, Path: "/" + i.ID, Sealed: i.Opened}))
	}
	b.Notes = append(b.Notes, store.Note{Ref: web1, At: ago(40), Kind: "x", Text: "of no incident"})
	b.Alerts = []store.Queued{{Channel: "c", Key: "delivered", Alert: alert(old, 1, health.AlertOpen), Due: ago(200)},
		{Channel: "c", Key: "undelivered", Alert: alert(old, 2, health.AlertResolved), Due: ago(200)},
		{Channel: "c", Key: "dead", Alert: alert(middle, 1, health.AlertOpen), Due: ago(200)}}
	ok(t, s.AddBundle(t.Context(), store.Bundle{Incident: "never opened", Path: "/stray", Sealed: ago(121)}))
	commit(t, s, b)
	ok(t, s.Sent(t.Context(), 1, ago(200), "ok"))
	ok(t, s.Dead(t.Context(), 3, ago(200), "no"))

	p, err := s.Prune(t.Context(), now)
	ok(t, err)
	if want := []string{"/" + old.ID, "/stray"}; fmt.Sprint(p.Bundles) != fmt.Sprint(want) || p.Over || p.Bytes == 0 {
		t.Errorf("%+v, want bundles %v", p, want)
	}
	runs, err := s.Runs(t.Context(), web1, time.Time{})
	ok(t, err)
	var sensors []string
	for _, r := range runs {
		sensors = append(sensors, r.Sensor)
	}
	if got := strings.Join(sensors, ""); got != "cb" {
		t.Errorf("runs left: %s, want c (a failure is kept longer) and b (young)", got)
	}
	is, err := s.Incidents(t.Context(), store.Filter{})
	ok(t, err)
	if len(is) != 2 || is[0].ID != middle.ID || is[1].ID != open1.ID {
		t.Errorf("incidents left: %+v", is)
	}
	for _, i := range is {
		if n := notesOf(t, s, i.ID); len(n) != 1 {
			t.Errorf("%s has lost its timeline", i.ID)
		}
		if bs, err := s.Bundles(t.Context(), i.ID); err != nil || len(bs) != 1 {
			t.Errorf("%s has lost its evidence: %v", i.ID, err)
		}
	}
	out, err := s.Outbox(t.Context(), true)
	if err != nil || keys(out) != "c:undelivered c:dead" {
		t.Errorf("alerts left: %s, %v", keys(out), err)
	}
	// Until somebody says that the files are gone, they are named again.
	p, err = s.Prune(t.Context(), now)
	if err != nil || len(p.Bundles) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	ok(t, s.Forgot(t.Context(), p.Bundles))
	if p, err = s.Prune(t.Context(), now); err != nil || len(p.Bundles) != 0 || p.Rows != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPruneBySize(t *testing.T) {
	dir := t.TempDir()
	const limit = 1 << 20
	s, _ := open(t, store.Options{Dir: dir, MaxBytes: limit})
	text, _ := json.Marshal(strings.Repeat("x", 3000))
	for n := range 10 {
		var b store.Batch
		for k := range 100 {
			at := epoch.Add(time.Duration(n*100+k) * time.Minute)
			i := incident(n*100+k, web1)
			i.Opened = at
			if k%10 != 0 || n > 0 {
				i.Resolved = at.Add(time.Minute)
			}
			b.Incidents = append(b.Incidents, i)
			b.Notes = append(b.Notes, store.Note{Ref: web1, Incident: i.ID, At: at, Kind: "x", Data: text})
			b.Runs = append(b.Runs, store.Run{Ref: web1, Sensor: "s", Outcome: "pass", First: at, Last: at, Detail: strings.Repeat("y", 500)})
		}
		commit(t, s, b)
	}
	p, err := s.Prune(t.Context(), epoch.Add(day))
	ok(t, err)
	if p.Over || p.Bytes > limit || p.Rows == 0 {
		t.Fatalf("%+v", p)
	}
	is, err := s.Incidents(t.Context(), store.Filter{Open: true})
	ok(t, err)
	if len(is) != 10 {
		t.Errorf("%d open incidents are left, want all 10", len(is))
	}
	for _, i := range is {
		if len(notesOf(t, s, i.ID)) != 1 {
			t.Errorf("open incident %s has lost its timeline", i.ID)
		}
	}
	if rs, err := s.Runs(t.Context(), web1, time.Time{}); err != nil || len(rs) > 0 {
		t.Errorf("%d healthy runs outlived failures, %v", len(rs), err)
	}
	ok(t, s.Close())
	if fi, err := os.Stat(filepath.Join(dir, "atalaya.db")); err != nil || fi.Size() > 2*limit {
		t.Errorf("the file did not shrink: %d bytes, %v", fi.Size(), err)
	}
}

package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

var (
	epoch = time.Date(2026, 11, 24, 4, 5, 6, 789, time.UTC)
	web1  = health.Ref{Engine: "lxc", ID: "web1"}
	web2  = health.Ref{Engine: "lxc", Instance: "backup", ID: "web2"}
)

func open(t *testing.T, o store.Options) (*store.Store, store.Report) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	s, r, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Logf("%s", p); return len(p), nil }

func commit(t *testing.T, s *store.Store, b store.Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *store.Store) store.Loaded {
	t.Helper()
	l, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func state(ref health.Ref, why string) health.State {
	return health.State{Ref: ref, Name: ref.ID, Phase: health.Up, Since: epoch, Last: epoch, Why: why, RunState: health.Running}
}

func incident(n int, ref health.Ref) health.Incident {
	return health.Incident{ID: fmt.Sprintf("20261124T04-%04d", n), Ref: ref, Name: ref.ID, Reason: "init died", Opened: epoch.Add(time.Duration(n) * time.Second)}
}

func alert(i health.Incident, seq int, kind health.AlertKind) health.Alert {
	return health.Alert{Schema: health.AlertSchema, Incident: i.ID, Seq: seq, Kind: kind, Severity: "critical",
		Summary: i.Name + " is down", Host: health.Host{FQDN: "node1.example.net"}, Since: epoch, At: epoch}
}

func queued(ch string, i health.Incident, seq int, kind health.AlertKind, due time.Time) store.Queued {
	return store.Queued{Channel: ch, Alert: alert(i, seq, kind), Due: due, Key: fmt.Sprintf("%s-%d", i.ID, seq)}
}

func TestWhatIsCommittedComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there yet % ? #")
	s, r := open(t, store.Options{Dir: dir})
	if !r.Fresh || !r.Orderly || r.SetAside != "" || r.Degraded != nil {
		t.Fatalf("first open: %+v", r)
	}
	if l := load(t, s); len(l.States) != 0 || len(l.Meta) != 0 || !l.LastAt.IsZero() {
		t.Fatalf("a fresh store holds %+v", l)
	}
	i := incident(1, web1)
	closed := incident(2, web2)
	closed.Resolved = epoch.Add(time.Hour)
	run := store.Run{Ref: web1, Sensor: "http", Outcome: "pass", First: epoch, Last: epoch.Add(time.Hour), Count: 360, Period: 10 * time.Second}
	note := store.Note{Ref: web1, Incident: i.ID, At: epoch, Kind: "start", Text: "bad \xff utf8", Data: json.RawMessage(`{"exit":1}`)}
	commit(t, s, store.Batch{At: epoch, States: []health.State{state(web1, "a"), state(web2, "b")}, Runs: []store.Run{run},
		Notes: []store.Note{note}, Incidents: []health.Incident{i, closed}, Meta: map[string]string{"boot": "x", "gone": "y"},
		Alerts: []store.Queued{queued("ops", i, 1, health.AlertOpen, epoch)}})
	run.Last, run.Count = epoch.Add(2*time.Hour), 720
	commit(t, s, store.Batch{At: epoch.Add(time.Minute), States: []health.State{state(web1, "c")}, Forget: []health.Ref{web2}, Runs: []store.Run{run},
		Meta: map[string]string{"gone": ""}, Alerts: []store.Queued{queued("ops", i, 1, health.AlertUpdate, epoch)}})
	commit(t, s, store.Batch{At: epoch}) // an older time does not turn the clock back
	if err := s.AddBundle(t.Context(), store.Bundle{Incident: i.ID, Part: 1, Path: "/b/1.zip", SHA256: "ab", Audience: "owner", Size: 7, Sealed: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, r = open(t, store.Options{Dir: dir})
	if r.Fresh || !r.Orderly {
		t.Fatalf("second open: %+v", r)
	}
	l := load(t, s)
	if !reflect.DeepEqual(l.States, []health.State{state(web1, "c")}) || !reflect.DeepEqual(l.Open, []health.Incident{i}) ||
		!reflect.DeepEqual(l.Meta, map[string]string{"boot": "x"}) || !l.LastAt.Equal(epoch.Add(time.Minute)) {
		t.Fatalf("loaded %+v", l)
	}
	runs, err := s.Runs(t.Context(), web1, epoch)
	if err != nil || len(runs) != 1 || runs[0].Count != 720 || !runs[0].First.Equal(run.First) || !runs[0].Last.Equal(run.Last) || runs[0].Period != run.Period {
		t.Fatalf("runs %+v, %v", runs, err)
	}
	got, notes, err := s.Incident(t.Context(), i.ID)
	if err != nil || !reflect.DeepEqual(got, i) || len(notes) != 1 || notes[0].Text != "bad \uFFFD utf8" || string(notes[0].Data) != `{"exit":1}` || notes[0].Ref != web1 {
		t.Fatalf("incident %+v, %+v, %v", got, notes, err)
	}
	if _, _, err := s.Incident(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("no such incident: %v", err)
	}
	for _, c := range []struct {
		f    store.Filter
		want []health.Incident
	}{{store.Filter{}, []health.Incident{closed, i}}, {store.Filter{Open: true}, []health.Incident{i}}, {store.Filter{Ref: &web2}, []health.Incident{closed}},
		{store.Filter{Limit: 1}, []health.Incident{closed}}, {store.Filter{Since: closed.Opened}, []health.Incident{closed}}} {
		if got, err := s.Incidents(t.Context(), c.f); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("incidents %+v: %+v, %v", c.f, got, err)
		}
	}
	if bs, err := s.Bundles(t.Context(), i.ID); err != nil || len(bs) != 1 || bs[0].Path != "/b/1.zip" || !bs[0].Sealed.Equal(epoch) {
		t.Fatalf("bundles %+v, %v", bs, err)
	}
	out, err := s.Outbox(t.Context(), true)
	if err != nil || len(out) != 1 || out[0].Alert.Kind != health.AlertOpen {
		t.Fatalf("the same key was queued twice, or replaced: %+v, %v", out, err)
	}
}

func TestInMemoryInABubble(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			s, r, err := store.Open(store.Options{Dir: dir})
			if err != nil || !r.Fresh {
				t.Fatal(r, err)
			}
			for n := range 50 {
				time.Sleep(time.Second)
				if err := s.Commit(t.Context(), store.Batch{At: time.Now(), States: []health.State{state(web1, fmt.Sprint(n))}}); err != nil {
					t.Fatal(err)
				}
				if l, err := s.Load(t.Context()); err != nil || l.States[0].Why != fmt.Sprint(n) {
					t.Fatalf("%+v, %v", l, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestClosedAndRefused(t *testing.T) {
	s, _ := open(t, store.Options{Dir: t.TempDir()})
	nan := health.Alert{DownFor: health.Millis(nan())}
	if err := s.Commit(t.Context(), store.Batch{Alerts: []store.Queued{{Channel: "x", Key: "k", Alert: nan}}}); !errors.Is(err, store.ErrRefused) {
		t.Errorf("what cannot be encoded: %v", err)
	}
	if err := s.Commit(t.Context(), store.Batch{Alerts: []store.Queued{{Channel: "x"}}}); !errors.Is(err, store.ErrRefused) {
		t.Errorf("an alert without a key: %v", err)
	}
	if err := s.Health(); err != nil {
		t.Errorf("a refused batch is owed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), store.Batch{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Advance(t.Context(), "x", 1, epoch); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func nan() float64 { var z float64; return z / z }

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, store.Batch{At: epoch})
	for name, want := range map[string]os.FileMode{"": 0o700, "lock": 0o600, "atalaya.db": 0o600, "atalaya.db-wal": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "atalaya.db-shm")); err == nil {
		t.Error("the index of the log is mapped from the disk: when that stalls, all of this process does")
	}
	shared := filepath.Join(t.TempDir(), "tmp")
	os.Mkdir(shared, 0o700)
	os.Chmod(shared, 0o777|os.ModeSticky)
	if _, _, err := store.Open(store.Options{Dir: shared}); err == nil {
		t.Error("a folder that others may write to was taken")
	}
	if fi, _ := os.Stat(shared); fi.Mode().Perm() != 0o777 {
		t.Error("and its mode was changed")
	}
}

func TestMetricsAreClean(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, _ := open(t, store.Options{Dir: t.TempDir(), Registerer: reg})
	commit(t, s, store.Batch{})
	mfs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(mfs).Lint()
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
}

func background(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

func TestRetire(t *testing.T) {
	s, _, err := store.Open(store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var incidents []health.Incident
	for i := range 5 { // 0 is the oldest; 1 is still open
		in := health.Incident{ID: fmt.Sprint("i", i), Opened: now.AddDate(0, 0, i-100), Resolved: now.AddDate(0, 0, i-100)}
		if i == 1 {
			in.Resolved = time.Time{}
		}
		incidents = append(incidents, in)
	}
	if err := s.Commit(t.Context(), store.Batch{At: now, Incidents: incidents}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		b := store.Bundle{Incident: fmt.Sprint("i", i), Part: 1, Path: fmt.Sprint("/e/", i), Size: 100, Sealed: now.AddDate(0, 0, i-100)}
		if err := s.AddBundle(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (out []string) {
		for i := range 5 {
			bs, err := s.Bundles(t.Context(), fmt.Sprint("i", i))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bs {
				out = append(out, b.Path)
			}
		}
		return out
	}
	for _, step := range []struct {
		what   string
		before time.Time
		most   int64
		want   []string
	}{
		{"no limits", time.Time{}, 0, []string{"/e/0", "/e/1", "/e/2", "/e/3", "/e/4"}},
		{"by age, but not the open one", now.AddDate(0, 0, -98), 0, []string{"/e/1", "/e/2", "/e/3", "/e/4"}},
		{"by size, the oldest that may go", time.Time{}, 250, []string{"/e/1", "/e/3", "/e/4"}},
		{"by size, newest kept", time.Time{}, 100, []string{"/e/1", "/e/4"}},
	} {
		if err := s.Retire(t.Context(), step.before, step.most); err != nil {
			t.Fatal(err)
		}
		if got := left(); !slices.Equal(got, step.want) {
			t.Errorf("%s: left %v, want %v", step.what, got, step.want)
		}
	}
	p, err := s.Prune(t.Context(), now.AddDate(0, 0, -99))
	if err != nil || !slices.Equal(p.Bundles, []string{"/e/0", "/e/2", "/e/3"}) {
		t.Errorf("Prune names %v to delete (%v)", p.Bundles, err)
	}
}

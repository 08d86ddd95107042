package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"atalaya/agent/store"
)

// A small database is in the writer's cache as a whole, so only its readers notice that it is no database any more.
func TestCorruptBehindTheWritersBack(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, store.Options{Dir: dir})
	for n := range 20 {
		commit(t, s, numbered(n))
	}
	for _, f := range []string{"atalaya.db", "atalaya.db-wal"} {
		path := filepath.Join(dir, f)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		smash(t, path, 4096, int(max(0, info.Size()-4096)))
	}
	seen := false
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		out, err := s.Outbox(t.Context(), true)
		seen = seen || err != nil
		if seen && err == nil && len(out) == 0 {
			break // it is set aside
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody acted on it: %d rows, %v", len(out), err)
		}
	}
	var lost *store.LostError
	if err := s.Commit(t.Context(), store.Batch{}); !errors.As(err, &lost) {
		t.Errorf("the next commit does not say so: %v", err)
	}
}

package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"
)

// execSQL does to the database what only tests do.
func execSQL(t *testing.T, dir, q string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "atalaya.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(q); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(t *testing.T, dir string) {
	t.Helper()
	execSQL(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
}

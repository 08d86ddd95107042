package store

import (
	"path/filepath"
	"testing"
)

// What a commit promises hangs on how the connection that writes was opened: durable before anything is done.
func TestTheWriterSyncs(t *testing.T) {
	d, _, err := openDatabase(filepath.Join(t.TempDir(), dbName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "locking_mode": "normal"} {
		var got string
		if err := d.wr.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, not %q: %v", pragma, got, want, err)
		}
	}
}

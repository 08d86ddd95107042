package store

import (
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the database to the newest schema, each step in a transaction of its own together with its number, which
// is SQLite's user_version. It returns the number found before: 0 is a database that was never used.
func migrate(db *sql.DB) (found int, err error) {
	if err := db.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
		return 0, fmt.Errorf("read the schema version: %w", err)
	}
	steps, err := fs.Glob(migrations, "migrations/*.sql") // sorted by name, hence by number
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	if found > len(steps) {
		return found, fmt.Errorf("%w: its schema has version %d, this one knows up to %d: install the newer one again, "+
			"or move the state folder away to start anew", ErrNewer, found, len(steps))
	}
	for i, name := range steps {
		if i < found {
			continue
		}
		if err := migrateOne(db, name, i+1); err != nil {
			return found, fmt.Errorf("migrate the database with %q: %w", name, err)
		}
	}
	return found, nil
}

func migrateOne(db *sql.DB, name string, number int) error {
	if !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", number)) {
		return fmt.Errorf("it must be number %d: the numbers have a gap", number)
	}
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, and before it the first error counts
	if _, err := tx.Exec(string(text)); err != nil {
		return err
	}
	if _, err := tx.Exec("PRAGMA user_version = " + strconv.Itoa(number)); err != nil {
		return err
	}
	return tx.Commit()
}

package store

import (
	"context"
	"database/sql"
	"time"
)

// Retire marks the bundles whose time is over: those of resolved incidents that were sealed before the given time, and
// then, while all bundles together hold more than most bytes, the oldest of resolved incidents. Bundles of open incidents
// are never marked. Prune names the files to delete. Zero of before or most means no limit.
func (s *Store) Retire(ctx context.Context, before time.Time, most int64) error {
	return s.write(ctx, "retire old bundles", func(tx *sql.Tx) error {
		if !before.IsZero() {
			_, err := tx.Exec(`UPDATE bundle SET doomed = 1 WHERE doomed = 0 AND sealed < ?
				AND incident IN (SELECT id FROM incident WHERE resolved > 0)`, nanos(before))
			if err != nil {
				return err
			}
		}
		if most <= 0 {
			return nil
		}
		// The running total is counted from the newest: what lies beyond the bound goes, if it may.
		_, err := tx.Exec(`UPDATE bundle SET doomed = 1 WHERE doomed = 0
			AND incident IN (SELECT id FROM incident WHERE resolved > 0)
			AND path IN (SELECT path FROM (
				SELECT path, SUM(size) OVER (ORDER BY sealed DESC, path) AS total FROM bundle WHERE doomed = 0) WHERE total > ?)`, most)
		return err
	})
}

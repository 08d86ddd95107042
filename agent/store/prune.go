package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"
)

const (
	keepFailures = 4    // failures are kept so many times as long as what is uneventful
	slab         = 2000 // rows deleted in one transaction: a commit waits behind it
)

// Pruned is what Prune did.
type Pruned struct {
	Rows    int      // deleted
	Bundles []string // files to delete, those of earlier calls that were not reported deleted included; see Forgot
	Bytes   int64    // in use afterwards
	Over    bool     // still more than MaxBytes: what is left may not be deleted
}

// uneventful and eventful are what may go, in this order; each deletes up to a slab of what is older than ?1, oldest
// first. Open incidents, their notes, and what is not delivered are in none of them.
func uneventful() []string {
	return []string{
		`DELETE FROM run WHERE (ref, sensor, first) IN (SELECT ref, sensor, first FROM run WHERE last < ?1 AND (outcome = 'pass' OR sensor IN ('agent', 'state', 'time')) ORDER BY last LIMIT ?2)`,
		`DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE sent > 0 AND sent < ?1 ORDER BY sent LIMIT ?2)`,
		`DELETE FROM note WHERE id IN (SELECT id FROM note WHERE incident = '' AND at < ?1 ORDER BY at LIMIT ?2)`,
	}
}

func eventful() []string {
	return []string{
		`DELETE FROM run WHERE (ref, sensor, first) IN (SELECT ref, sensor, first FROM run WHERE last < ?1 ORDER BY last LIMIT ?2)`,
		// The notes of an incident go before it: once it is gone they would belong to nothing. A note may be there before
		// its incident is, so one without an incident waits for its age too.
		`DELETE FROM note WHERE id IN (SELECT n.id FROM note n LEFT JOIN incident i ON i.id = n.incident WHERE n.incident <> ''
			AND ((i.resolved > 0 AND i.resolved < ?1) OR (i.id IS NULL AND n.at < ?1)) ORDER BY n.at LIMIT ?2)`,
		`UPDATE bundle SET doomed = 1 WHERE path IN (SELECT b.path FROM bundle b LEFT JOIN incident i ON i.id = b.incident WHERE b.doomed = 0
			AND ((i.resolved > 0 AND i.resolved < ?1) OR (i.id IS NULL AND b.sealed < ?1)) ORDER BY b.sealed LIMIT ?2)`,
		`DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE resolved > 0 AND resolved < ?1 ORDER BY resolved LIMIT ?2)`,
	}
}

// Prune deletes what is older than MaxAge, failures at four times that age, and then, while the database uses more than
// MaxBytes, the oldest of what is left, in the same order: failures go last. An open incident, its notes, and alerts that
// are not delivered, dead letters included, are never deleted. It works in slabs, so that commits get their turn.
//
// Files are the caller's to delete: first the file, then Forgot, so that a crash between the two leaks nothing.
func (s *Store) Prune(ctx context.Context, now time.Time) (p Pruned, err error) {
	if err := s.sweep(ctx, &p, uneventful(), now.Add(-s.o.MaxAge), false); err != nil {
		return p, err
	}
	if err := s.sweep(ctx, &p, eventful(), now.Add(-keepFailures*s.o.MaxAge), false); err != nil {
		return p, err
	}
	if err := s.sweep(ctx, &p, append(uneventful(), eventful()...), now, true); err != nil {
		return p, err
	}
	if err := s.shrink(ctx); err != nil {
		return p, err
	}
	if p.Bundles, err = s.doomed(ctx); err != nil {
		return p, err
	}
	p.Bytes, err = s.Size(ctx)
	p.Over = p.Bytes > s.o.MaxBytes
	return p, err
}

// sweep runs each statement until it finds nothing more, or, where only the size matters, until it fits.
func (s *Store) sweep(ctx context.Context, p *Pruned, statements []string, before time.Time, bySize bool) error {
	for _, q := range statements {
		for {
			if bySize {
				if n, err := s.Size(ctx); err != nil || n <= s.o.MaxBytes {
					return err
				}
			}
			n, err := s.deleteSlab(ctx, q, before)
			p.Rows += n
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

func (s *Store) deleteSlab(ctx context.Context, q string, before time.Time) (int, error) {
	n := make(chan int64, 2) // not a variable: after a stall the transaction may still be at it; 2: exec may run it twice
	err := s.write(ctx, "prune the store", func(tx *sql.Tx) error {
		res, err := tx.Exec(q, nanos(before), slab)
		if err != nil {
			return err
		}
		deleted, err := res.RowsAffected()
		n <- deleted
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(<-n), nil
}

// shrink gives free pages back to the file system, a slab at a time.
func (s *Store) shrink(ctx context.Context) error {
	for {
		free, err := read(ctx, s, "measure the store", func(ctx context.Context, db *sql.DB) (n int64, err error) {
			return n, db.QueryRowContext(ctx, `PRAGMA freelist_count`).Scan(&n)
		})
		if err != nil || free == 0 {
			return err
		}
		left := make(chan int64, 2)
		err = s.write(ctx, "shrink the store", func(tx *sql.Tx) error {
			// One page per step: it must be stepped to its end, which Exec does not do.
			rs, err := tx.Query(`PRAGMA incremental_vacuum(` + strconv.Itoa(slab) + `)`)
			if err != nil {
				return err
			}
			for rs.Next() {
			}
			if err := errors.Join(rs.Err(), rs.Close()); err != nil { //nolint:sqlclosecheck // the next query needs the connection
				return err
			}
			var n int64
			if err := tx.QueryRow(`PRAGMA freelist_count`).Scan(&n); err != nil {
				return err
			}
			left <- n
			return nil
		})
		if err != nil {
			return err
		}
		if <-left >= free { // nothing more to gain
			return nil
		}
	}
}

// Size gives how many bytes of the database are in use, free pages not counted.
func (s *Store) Size(ctx context.Context) (int64, error) {
	return read(ctx, s, "measure the store", func(ctx context.Context, db *sql.DB) (n int64, err error) {
		return n, db.QueryRowContext(ctx, `SELECT (page_count - freelist_count) * page_size
			FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&n)
	})
}

func (s *Store) doomed(ctx context.Context) ([]string, error) {
	return read(ctx, s, "read which bundles are over their time", func(ctx context.Context, db *sql.DB) ([]string, error) {
		return rows(ctx, db, func(rs *sql.Rows) (p string, err error) { return p, rs.Scan(&p) },
			`SELECT path FROM bundle WHERE doomed = 1 ORDER BY path`)
	})
}

// Forgot records that the files of bundles that Prune named are deleted.
func (s *Store) Forgot(ctx context.Context, paths []string) error {
	return s.write(ctx, "forget bundles", func(tx *sql.Tx) error {
		var errs []error
		for _, p := range paths {
			_, err := tx.Exec(`DELETE FROM bundle WHERE path = ? AND doomed = 1`, p)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

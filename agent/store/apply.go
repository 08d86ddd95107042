package store

import (
	"database/sql"
	"fmt"
)

// A query is one of the statements that batches are made of. They are prepared once.
type query int

const (
	progress query = iota
	putState
	dropState
	putRun
	addNote
	putIncident
	addAlert
	putMeta
	dropMeta
	setOrderly
	queries // how many
)

func sqlOf(q query) string {
	switch q {
	case progress:
		return `UPDATE agent SET serial = ?1, at = max(at, ?2) WHERE serial < ?1`
	case putState:
		return `INSERT INTO state VALUES (?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	case dropState:
		return `DELETE FROM state WHERE ref = ?`
	case putRun:
		return `INSERT INTO run (ref, sensor, first, last, count, period, outcome, detail, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET last = excluded.last, count = excluded.count, period = excluded.period,
			outcome = excluded.outcome, detail = excluded.detail, data = excluded.data`
	case addNote:
		return `INSERT INTO note (ref, incident, at, kind, text, data) VALUES (?, ?, ?, ?, ?, ?)`
	case putIncident:
		return `INSERT INTO incident VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET ref = excluded.ref,
			opened = excluded.opened, resolved = excluded.resolved, doc = excluded.doc`
	case addAlert:
		return `INSERT INTO outbox (channel, key, line, incident, doc, queued, since, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`
	case putMeta:
		return `INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`
	case dropMeta:
		return `DELETE FROM meta WHERE key = ?`
	case setOrderly:
		return `UPDATE agent SET orderly = ?`
	default:
		panic(fmt.Sprintf("store: query %d has no text", q)) // unreachable: prepare asks for all of them at every open
	}
}

func prepare(db *sql.DB) (map[query]*sql.Stmt, error) {
	m := make(map[query]*sql.Stmt, queries)
	for q := range queries {
		s, err := db.Prepare(sqlOf(q)) //nolint:sqlclosecheck // database.close does
		if err != nil {
			return m, fmt.Errorf("prepare %q: %w", sqlOf(q), err)
		}
		m[q] = s
	}
	return m, nil
}

// apply writes one batch, unless it is there already: an earlier try may have reached the disk although its answer did not
// reach us.
func (d *database) apply(b *batch) error {
	return d.tx(func(tx *sql.Tx) error {
		res, err := tx.Stmt(d.stmts[progress]).Exec(b.serial, b.at) //nolint:sqlclosecheck // closed with its transaction
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, o := range b.ops {
			if _, err := tx.Stmt(d.stmts[o.q]).Exec(o.args...); err != nil { //nolint:sqlclosecheck // as above
				return err
			}
		}
		return nil
	})
}

// tx runs f in one write transaction. It knows no context: only the writer goroutine calls it, and what it cannot call
// back it must not pretend to.
func (d *database) tx(f func(*sql.Tx) error) error {
	tx, err := d.wr.Begin()
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		tx.Rollback() //nolint:errcheck // SQLite may have rolled back by itself already; the first error counts
		return err
	}
	return tx.Commit()
}

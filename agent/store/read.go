package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"atalaya/agent/health"
)

// openReader opens the database without writing. Where nothing may be written at all, not even SQLite's shared index
// (a read-only file system), and no agent is at it, the file is read as it lies there. Beside an agent a copy is read.
func openReader(dir, path string) (*database, error) {
	if held(dir) {
		return openSnapshot(path)
	}
	d, err := tryReader(path, false)
	if err == nil {
		return d, nil
	}
	if fi, walErr := os.Stat(path + "-wal"); walErr == nil && fi.Size() > 0 {
		return nil, err // its newest part is in the log: without it the answer would be wrong
	}
	return tryReader(path, true)
}

func tryReader(path string, immutable bool) (*database, error) {
	q := readerPragmas()
	if immutable {
		q.Set("immutable", "1")
	}
	db, err := sql.Open("sqlite", dsn(path, q))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(1)
	d := &database{path: path, rd: db}
	var version int
	if err = db.QueryRow(`PRAGMA user_version`).Scan(&version); err == nil && version == 0 {
		err = errors.New("the database is empty: no agent has finished starting with it yet")
	}
	if err == nil {
		_, err = db.Exec(`SELECT serial FROM agent`)
	}
	if err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	return d, nil
}

// read runs f on a reading connection. Like a commit it never outlives ctx for its caller: f goes on alone until the
// disk answers, and its result is dropped.
func read[T any](ctx context.Context, s *Store, what string, f func(context.Context, *sql.DB) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	s.reads.Go(func() {
		v, err := f(ctx, s.current().rd)
		done <- result{v, err}
	})
	var none T
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			return none, fmt.Errorf("%s: %w", what, ctx.Err())
		}
		if r.err != nil {
			if malformed(r.err) {
				s.suspect()
			}
			return none, explain(what, r.err)
		}
		return r.v, nil
	case <-ctx.Done():
		return none, stalled(ctx, what)
	}
}

// rows collects what scan makes of each row.
func rows[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), q string, args ...any) ([]T, error) {
	rs, err := db.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rs.Close() //nolint:errcheck // rs.Err says it
	var out []T
	for rs.Next() {
		v, err := scan(rs)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rs.Err()
}

// document reads a row of one column that holds the JSON of a T.
func document[T any](rs *sql.Rows) (T, error) {
	var v T
	var doc []byte
	if err := rs.Scan(&doc); err != nil {
		return v, err
	}
	if err := json.Unmarshal(doc, &v); err != nil {
		return v, fmt.Errorf("decode %T: %w", v, err)
	}
	return v, nil
}

// Loaded is what an agent starts from.
type Loaded struct {
	States []health.State
	Open   []health.Incident
	Meta   map[string]string
	LastAt time.Time // newest Batch.At ever committed; zero: none
}

// Load reads everything that an agent starts from, before its first Commit. A row that cannot be decoded is left out and
// logged: one container less remembered must not keep all others from being watched.
func (s *Store) Load(ctx context.Context) (Loaded, error) {
	return read(ctx, s, "load the store", func(ctx context.Context, db *sql.DB) (l Loaded, err error) {
		states, err := rows(ctx, db, pair, `SELECT ref, doc FROM state ORDER BY ref`)
		if err != nil {
			return l, err
		}
		open, err := rows(ctx, db, pair, `SELECT id, doc FROM incident WHERE resolved = 0 ORDER BY id`)
		if err != nil {
			return l, err
		}
		meta, err := rows(ctx, db, pair, `SELECT key, value FROM meta`)
		if err != nil {
			return l, err
		}
		l.States, l.Open = decodeAll[health.State](s.log, states), decodeAll[health.Incident](s.log, open)
		l.Meta = make(map[string]string, len(meta))
		for _, p := range meta {
			l.Meta[p[0]] = p[1]
		}
		var at int64
		err = db.QueryRowContext(ctx, `SELECT at FROM agent`).Scan(&at)
		l.LastAt = moment(at)
		return l, err
	})
}

func pair(rs *sql.Rows) (p [2]string, err error) { return p, rs.Scan(&p[0], &p[1]) }

func decodeAll[T any](log *slog.Logger, docs [][2]string) []T {
	out := make([]T, 0, len(docs))
	for _, d := range docs {
		var v T
		if err := json.Unmarshal([]byte(d[1]), &v); err != nil {
			log.Error("store: a row cannot be decoded and is left out", "row", d[0], "err", err)
			continue
		}
		out = append(out, v)
	}
	return out
}

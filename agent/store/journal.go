package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"atalaya/agent/health"
)

// A Filter says which incidents are wanted. The zero value wants all.
type Filter struct {
	Open  bool        // only those that are not resolved
	Ref   *health.Ref // only those of one container
	Since time.Time   // only those opened then or later
	Limit int         // at most so many, the newest; 0: all
}

// Incidents gives the incidents that f wants, newest first.
func (s *Store) Incidents(ctx context.Context, f Filter) ([]health.Incident, error) {
	ref, limit := "", f.Limit
	if f.Ref != nil {
		ref = f.Ref.String()
	}
	if limit <= 0 {
		limit = -1 // SQLite's "no limit"
	}
	return read(ctx, s, "read incidents", func(ctx context.Context, db *sql.DB) ([]health.Incident, error) {
		return rows(ctx, db, document[health.Incident], `SELECT doc FROM incident
			WHERE (NOT ?1 OR resolved = 0) AND (?2 = '' OR ref = ?2) AND opened >= ?3
			ORDER BY opened DESC, id DESC LIMIT ?4`, f.Open, ref, nanos(f.Since), limit)
	})
}

// Incident gives one incident and its timeline in order of time, or ErrNotFound.
func (s *Store) Incident(ctx context.Context, id string) (health.Incident, []Note, error) {
	type both struct {
		i     health.Incident
		notes []Note
	}
	b, err := read(ctx, s, fmt.Sprintf("read incident %q", id), func(ctx context.Context, db *sql.DB) (b both, err error) {
		is, err := rows(ctx, db, document[health.Incident], `SELECT doc FROM incident WHERE id = ?`, id)
		if err != nil {
			return b, err
		}
		if len(is) == 0 {
			return b, ErrNotFound
		}
		b.i = is[0]
		b.notes, err = rows(ctx, db, note, `SELECT ref, incident, at, kind, text, data FROM note WHERE incident = ? ORDER BY at, id`, id)
		return b, err
	})
	return b.i, b.notes, err
}

func note(rs *sql.Rows) (n Note, err error) {
	var ref, data string
	var at int64
	err = rs.Scan(&ref, &n.Incident, &at, &n.Kind, &n.Text, &data)
	n.Ref, n.At = parseRef(ref), moment(at)
	if data != "" {
		n.Data = json.RawMessage(data)
	}
	return n, err
}

// Runs gives the journal of one container from since on, in order of time.
func (s *Store) Runs(ctx context.Context, ref health.Ref, since time.Time) ([]Run, error) {
	return read(ctx, s, fmt.Sprintf("read the journal of %q", ref), func(ctx context.Context, db *sql.DB) ([]Run, error) {
		return rows(ctx, db, run, runColumns+` WHERE ref = ? AND last >= ? ORDER BY first, sensor`, ref.String(), nanos(since))
	})
}

// Beginning is the sensor of the runs from which on everything can be followed. They are of no container.
const Beginning = "agent"

// Journal gives the whole journal from the latest Beginning at or before since, or else from the first one. Without any it
// gives nothing. It is in order of time.
func (s *Store) Journal(ctx context.Context, since time.Time) ([]Run, error) {
	return read(ctx, s, "read the journal", func(ctx context.Context, db *sql.DB) ([]Run, error) {
		var from sql.NullInt64
		err := db.QueryRowContext(ctx, `SELECT coalesce((SELECT max(first) FROM run WHERE ref = ?1 AND sensor = ?2 AND first <= ?3),
			(SELECT min(first) FROM run WHERE ref = ?1 AND sensor = ?2))`, health.Ref{}.String(), Beginning, nanos(since)).Scan(&from)
		if err != nil || !from.Valid {
			return nil, err
		}
		return rows(ctx, db, run, runColumns+` WHERE last >= ? ORDER BY first, ref, sensor`, from.Int64)
	})
}

// Notes gives the latest lines about one container, of all its incidents and of none, at most so many, oldest first.
func (s *Store) Notes(ctx context.Context, ref health.Ref, limit int) ([]Note, error) {
	return read(ctx, s, fmt.Sprintf("read the notes about %q", ref), func(ctx context.Context, db *sql.DB) ([]Note, error) {
		return rows(ctx, db, note, `SELECT ref, incident, at, kind, text, data FROM
			(SELECT * FROM note WHERE ref = ? ORDER BY at DESC, id DESC LIMIT ?) ORDER BY at, id`, ref.String(), limit)
	})
}

const runColumns = `SELECT ref, sensor, first, last, count, period, outcome, detail, data FROM run`

func run(rs *sql.Rows) (r Run, err error) {
	var first, last, period int64
	var ref, data string
	err = rs.Scan(&ref, &r.Sensor, &first, &last, &r.Count, &period, &r.Outcome, &r.Detail, &data)
	r.Ref, r.First, r.Last, r.Period = parseRef(ref), moment(first), moment(last), time.Duration(period)
	if data != "" {
		r.Data = json.RawMessage(data)
	}
	return r, err
}

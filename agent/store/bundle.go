package store

import (
	"context"
	"database/sql"
	"time"
)

// A Bundle is where one sealed part of the evidence of an incident lies.
type Bundle struct {
	Incident string
	Part     int
	Path     string // unique
	SHA256   string // of the file, in hex
	Audience string // for whose eyes it was rendered
	Size     int64  // bytes
	Sealed   time.Time
}

// AddBundle records a sealed bundle. The same path again replaces what was recorded of it.
func (s *Store) AddBundle(ctx context.Context, b Bundle) error {
	return s.write(ctx, "record a bundle", func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT OR REPLACE INTO bundle (path, incident, part, audience, sha256, size, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			b.Path, b.Incident, b.Part, b.Audience, b.SHA256, b.Size, nanos(b.Sealed))
		return err
	})
}

// Bundles gives the bundles of an incident by part and audience, without those whose time is over.
func (s *Store) Bundles(ctx context.Context, incident string) ([]Bundle, error) {
	return read(ctx, s, "read the bundles of an incident", func(ctx context.Context, db *sql.DB) ([]Bundle, error) {
		return rows(ctx, db, func(rs *sql.Rows) (b Bundle, err error) {
			var sealed int64
			err = rs.Scan(&b.Incident, &b.Part, &b.Path, &b.SHA256, &b.Audience, &b.Size, &sealed)
			b.Sealed = moment(sealed)
			return b, err
		}, `SELECT incident, part, path, sha256, audience, size, sealed FROM bundle
			WHERE incident = ? AND doomed = 0 ORDER BY part, audience`, incident)
	})
}

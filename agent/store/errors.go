package store

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The errors that callers inspect with errors.Is.
var (
	ErrLocked   = errors.New("the state folder is in use by another agent")
	ErrStalled  = errors.New("the disk under the store does not answer")
	ErrFull     = errors.New("the disk under the store is full")
	ErrReadOnly = errors.New("the store is open for reading only")
	ErrClosed   = errors.New("the store is closed")
	ErrRefused  = errors.New("the batch cannot be stored as it is") // not kept: a fault in the program, not in the disk
	ErrNewer    = errors.New("the database was written by a newer atalaya")
	ErrNotFound = errors.New("not in the store")
)

// A LostError says that the database was malformed while in use and that a new, empty one has taken its place.
type LostError struct {
	SetAside string // where the malformed one is now
	Err      error  // how it was noticed
}

// Error says what happened and what to do.
func (e *LostError) Error() string {
	return fmt.Sprintf("the database was malformed (%v) and is set aside as %q: a new, empty one is in use; "+
		"commit everything that is held in memory", e.Err, e.SetAside)
}

// Unwrap gives the error by which it was noticed.
func (e *LostError) Unwrap() error { return e.Err }

// fault is what an error of SQLite means for us.
type fault int

const (
	faultIO      fault = iota // the disk's: try again later
	faultCorrupt              // the database is not one any more
	faultOurs                 // the statement's: trying again is pointless
)

func classify(err error) fault {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return faultIO
	}
	switch e.Code() & 0xff { // the primary code; the rest is detail
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return faultCorrupt
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_ERROR,
		sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_SCHEMA:
		return faultOurs
	default:
		return faultIO
	}
}

// busy reports that another process has the database locked.
func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// explain gives an error of SQLite the name that callers and people know it by.
func explain(what string, err error) error {
	var e *sqlite.Error
	switch {
	case full(err):
		return fmt.Errorf("%s: %w: free some space (%w)", what, ErrFull, err)
	case errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_READONLY || e.Code()&0xff == sqlite3.SQLITE_CANTOPEN):
		return fmt.Errorf("%s: the state folder cannot be written, is it on a read-only file system? (%w)", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func stalled(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w (%w)", what, ErrStalled, err)
	}
	return fmt.Errorf("%s: %w", what, ErrStalled)
}

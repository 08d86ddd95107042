package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Store is one open database. It is safe for concurrent use.
type Store struct {
	o        Options
	log      *slog.Logger
	m        *metrics
	lock     *os.File // nil when read-only or in memory
	readOnly bool
	ballast  ballast
	w        *writer

	mu   sync.RWMutex
	db   *database
	lost *LostError // not told to anybody yet

	reads sync.WaitGroup
}

// exec runs f on the database, for the writer goroutine alone. On a full disk it has a second try. If the database turns out to be malformed, it is set
// aside, and f runs on a new one; the next Commit tells.
func (s *Store) exec(f func(*database) error) error {
	err := f(s.current())
	if full(err) && s.ballast.drop() {
		err = f(s.current())
	}
	if !malformed(err) || s.o.Dir == "" {
		return err
	}
	lost := &LostError{Err: err}
	old := s.current()
	old.close() //nolint:errcheck // it is broken
	aside, err := setAside(old.path, time.Now())
	if err != nil {
		return fmt.Errorf("%w (%w)", lost.Err, err)
	}
	lost.SetAside = aside
	fresh, _, err := openDatabase(old.path)
	if err != nil {
		return fmt.Errorf("start a new database after %q was set aside: %w", aside, err)
	}
	s.m.lost.Inc()
	s.log.Error("store: the database was malformed while in use: it is set aside and a new one is begun",
		"set_aside", aside, "err", lost.Err)
	s.mu.Lock()
	s.db, s.lost = fresh, lost
	s.mu.Unlock()
	return f(fresh)
}

func (s *Store) current() *database {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db
}

// suspect has the writer check a database that a reader found malformed.
func (s *Store) suspect() {
	if s.readOnly {
		return
	}
	s.w.post(func(tx *sql.Tx) error {
		d := s.current()
		if d.rd != d.wr { // as the readers see it: the writer may have all of a small database in its cache, and see no harm
			if err := check(d.rd); malformed(err) {
				return err
			}
		}
		return check(tx)
	})
}

// takeLost gives the news of a lost database once.
func (s *Store) takeLost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		return nil
	}
	err := s.lost
	s.lost = nil
	return err
}

// Commit makes b durable, as the package comment guarantees. A Batch without content is welcome: it returns nil when
// everything before it is on disk.
func (s *Store) Commit(ctx context.Context, b Batch) error {
	if s.readOnly {
		return fmt.Errorf("commit: %w", ErrReadOnly)
	}
	e, err := encode(b)
	if err != nil {
		return err
	}
	word, err := s.w.take(e)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if word == nil {
		return stalled(ctx, "commit")
	}
	select {
	case err := <-word:
		if err != nil {
			return err
		}
		return s.takeLost()
	case <-ctx.Done():
		return stalled(ctx, "commit")
	}
}

// Health is nil when everything committed is on disk, and otherwise says why it is not. It never waits.
func (s *Store) Health() error {
	if s.readOnly {
		return nil
	}
	return s.w.err()
}

// write runs f in a transaction of its own, as the writer's next call.
func (s *Store) write(ctx context.Context, what string, f func(*sql.Tx) error) error {
	if s.readOnly {
		return fmt.Errorf("%s: %w", what, ErrReadOnly)
	}
	return s.w.do(ctx, what, f)
}

// closeWithin bounds Close: systemd waits 90 s before it kills, and a stuck disk stays stuck.
const closeWithin = 5 * time.Second

// Close writes what is owed, marks the store as closed in order and gives the folder free. It takes 5 s at most; the error
// says what could not be written. No other call may be under way or follow.
func (s *Store) Close() error {
	if s.readOnly {
		s.reads.Wait()
		return s.db.close()
	}
	s.w.close()
	done := make(chan error, 1)
	go func() {
		<-s.w.done
		s.reads.Wait()
		err := s.finish()
		done <- err
	}()
	limit := time.NewTimer(closeWithin)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return fmt.Errorf("close the store: %w: not marked as closed in order", ErrStalled)
	}
}

// finish runs after the writer has ended, so nothing else touches the database.
func (s *Store) finish() error {
	defer s.unlock()
	err := s.w.failing
	if len(s.w.owed) == 0 {
		err = s.exec(func(d *database) error {
			return d.tx(func(tx *sql.Tx) error {
				_, err := tx.Stmt(d.stmts[setOrderly]).Exec(1) //nolint:sqlclosecheck // closed with its transaction
				return err
			})
		})
	} else {
		err = fmt.Errorf("%d batches are lost: %w", len(s.w.owed), err)
	}
	if err = errors.Join(err, s.current().close()); err != nil {
		return explain("close the store", err)
	}
	return nil
}

func (s *Store) unlock() {
	if s.lock != nil {
		// At once: a child that is just being started has the file, too, until its exec closes it, and the lock with it.
		unix.Flock(int(s.lock.Fd()), unix.LOCK_UN) //nolint:errcheck // the kernel drops it with the last of them
		s.lock.Close()
	}
}

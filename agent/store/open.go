package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options say where the store is and what it keeps.
type Options struct {
	Dir        string // made if it is missing; empty: in memory only, for a host whose state folder cannot be used
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	MaxAge     time.Duration         // what is uneventful is kept so long, failures four times as long; 0: 30 days
	MaxBytes   int64                 // of the database; 0: 256 MiB
	OpenWithin time.Duration         // a disk that does not let us open in this time is stalled; 0: 30 s
}

// Report is what Open found. Fresh: nothing is remembered, as at a first install.
type Report struct {
	Fresh    bool
	SetAside string // where the malformed database is now; empty: there was none
	Orderly  bool   // the agent before this one closed the store in order; true also for a fresh one
	Degraded error  // it is open, but cannot be written now
}

// Open takes the exclusive lock on the folder, opens the database and brings it up to date. A malformed database is set
// aside and a new one started; the Report says so. A second agent gets ErrLocked, which names the pid of the first.
func Open(o Options) (*Store, Report, error) {
	o = o.withDefaults()
	type opened struct {
		s   *Store
		r   Report
		err error
	}
	done := make(chan opened, 1)
	go func() {
		s, r, err := open(o)
		done <- opened{s, r, err}
	}()
	limit := time.NewTimer(o.OpenWithin)
	defer limit.Stop()
	select {
	case x := <-done:
		return x.s, x.r, x.err
	case <-limit.C:
		go func() { // cannot be called back; what it opens late is closed again
			if late := <-done; late.s != nil {
				late.s.Close() //nolint:errcheck // nobody is left to tell
			}
		}()
		return nil, Report{}, fmt.Errorf("open the store in %q: no answer within %s: %w", o.Dir, o.OpenWithin, ErrStalled)
	}
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 30 * 24 * time.Hour
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.OpenWithin <= 0 {
		o.OpenWithin = 30 * time.Second
	}
	return o
}

func open(o Options) (s *Store, r Report, err error) {
	s = &Store{o: o, log: o.Log, m: newMetrics(nil)}
	if o.Dir != "" {
		if o.Dir, err = prepareDir(o.Dir); err == nil {
			s.lock, err = lockDir(o.Dir)
		}
		if err != nil {
			return nil, r, fmt.Errorf("open the store in %q: %w", o.Dir, err)
		}
	}
	s.o, s.ballast = o, newBallast(o.Dir, o.Log)
	if s.db, r, err = openOrReplace(o); full(err) && s.ballast.drop() {
		s.db, r, err = openOrReplace(o)
	}
	if err == nil {
		err = s.start(&r)
	}
	if err != nil {
		if s.db != nil {
			s.db.close() //nolint:errcheck // the first error counts
		}
		s.unlock()
		return nil, r, fmt.Errorf("open the store in %q: %w", o.Dir, err)
	}
	s.m = newMetrics(o.Registerer)
	s.w.m = s.m
	s.ballast.lay()
	go s.w.run()
	return s, r, nil
}

// prepareDir makes the folder ours alone. A folder that others may write to is none of ours, whatever the options say.
func prepareDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dir, fmt.Errorf("make the state folder: %w", err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return dir, err
	}
	switch {
	case !fi.IsDir():
		return dir, errors.New("it is not a folder")
	case fi.Mode()&os.ModeSticky != 0 || fi.Mode().Perm()&0o002 != 0:
		return dir, errors.New("others may write to it: give the store a folder of its own")
	case fi.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its x
			return dir, fmt.Errorf("make the state folder private: %w", err)
		}
	}
	return dir, nil
}

// openOrReplace opens the database, or sets a malformed one aside and starts a new one.
func openOrReplace(o Options) (*database, Report, error) {
	path := ""
	if o.Dir != "" {
		path = filepath.Join(o.Dir, dbName)
	}
	d, fresh, err := openPatiently(path, o.OpenWithin/2)
	if !malformed(err) || path == "" {
		return d, Report{Fresh: fresh}, err
	}
	aside, moveErr := setAside(path, time.Now())
	if moveErr != nil {
		return nil, Report{}, errors.Join(err, moveErr)
	}
	o.Log.Error("store: the database was malformed: it is set aside and the agent starts as at a first install",
		"set_aside", aside, "err", err)
	d, _, err = openDatabase(path)
	return d, Report{Fresh: true, SetAside: aside}, err
}

// openPatiently waits for a command that reads the store without an agent: it shares a lock of the database for some
// milliseconds, and for the lock of its own that heapIndex needs SQLite waits none, whatever busy_timeout says.
func openPatiently(path string, patience time.Duration) (*database, bool, error) {
	deadline := time.Now().Add(patience)
	for {
		d, fresh, err := openDatabase(path)
		if !busy(err) || time.Now().After(deadline) {
			return d, fresh, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// start reads where the agent before us stood, and marks the store as in use. A disk that is full must not keep the agent
// from watching, so the mark may come later.
func (s *Store) start(r *Report) error {
	s.w = &writer{log: s.log, m: s.m, exec: s.exec, rest: func() { s.ballast.lay() }, wake: make(chan struct{}, 1), done: make(chan struct{})}
	var orderly int
	if err := s.db.wr.QueryRow(`SELECT serial, orderly FROM agent`).Scan(&s.w.serial, &orderly); err != nil {
		return explain("read where the agent before this one stood", err)
	}
	r.Orderly = orderly == 1
	s.w.serial++
	begin := &batch{serial: s.w.serial, ops: []op{{key: "orderly", q: setOrderly, args: []any{int64(0)}}}}
	if err := s.db.apply(begin); err != nil {
		if malformed(err) {
			return err
		}
		r.Degraded = explain("mark the store as in use", err)
		s.w.owed, s.w.failing = []*batch{begin}, r.Degraded
	}
	return nil
}

// OpenReadOnly opens the store of dir for reading, beside a running agent, then from a copy, or without one. It takes no lock and
// changes nothing; what would write returns ErrReadOnly. A malformed database is an error here: setting aside is the agent's.
func OpenReadOnly(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the store in %q: %w: no agent has run with this state folder yet", dir, err)
		}
		return nil, fmt.Errorf("read the store in %q: %w", dir, err)
	}
	d, err := openReader(dir, path)
	if err != nil {
		return nil, fmt.Errorf("read the store in %q: %w", dir, err)
	}
	return &Store{o: Options{Dir: dir}.withDefaults(), log: slog.New(slog.DiscardHandler), m: newMetrics(nil), readOnly: true, db: d}, nil
}

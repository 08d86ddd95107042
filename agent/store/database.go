package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

const (
	dbName = "atalaya.db"
	// keepAside is how many malformed databases are kept for a person to look at: a dying disk must not fill itself.
	keepAside = 5
)

// writerPragmas, each with its reason.
func writerPragmas() url.Values {
	return url.Values{
		"_pragma": {
			"busy_timeout(2000)",          // only a checkpoint of a command-line reader can be in the way, and shortly
			"journal_mode(WAL)",           // readers never block the writer; one sync per commit instead of three
			"synchronous(FULL)",           // WAL with NORMAL may lose the last commits at a power cut: commit precedes acting
			"foreign_keys(ON)",            // off by default, per connection: on, so that a later table may rely on it
			"journal_size_limit(4194304)", // the log shrinks again after a burst
			"cell_size_check(ON)",         // malformed pages are noticed when read, not when they have done harm
			"trusted_schema(OFF)",         // the file may have been tampered with; we use no functions in its schema
			"temp_store(MEMORY)",          // no files outside the state folder
		},
		"_auto_vacuum": {"INCREMENTAL"}, // what Prune frees goes back to the file system; must precede the first table
		"_txlock":      {"immediate"},   // a write transaction takes its lock at once, not half-way
		"_dqs":         {"0"},           // "x" is a name, never a string by mistake
		"_defensive":   {"1"},           // no SQL can corrupt the file
		"_error_rc":    {"1"},           // messages that belong to their error
	}
}

func readerPragmas() url.Values {
	return url.Values{
		"_pragma": {"busy_timeout(2000)", "cell_size_check(ON)", "trusted_schema(OFF)", "temp_store(MEMORY)", "query_only(ON)"},
		"mode":    {"ro"}, "_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"},
	}
}

// heapIndex is SQLite's way to the file by which the index of the log is kept in this process's own memory. Usually it is
// a file mapped into memory, and on a disk that stalls a write to that is a page fault that does not return: not a system
// call, so the Go runtime waits for that goroutine at its next collection, and with it every other one. Seen with fsfreeze:
// the whole agent stood still. It keeps other processes from the database; see snapshot.
const heapIndex = "unix-excl"

func dsn(path string, q url.Values) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// A database is one open file: one connection that writes and a few that read.
type database struct {
	path   string // empty: in memory
	copied string // the folder of a snapshot, which goes with it
	wr, rd *sql.DB
	stmts  map[query]*sql.Stmt // of wr
}

// openDatabase opens, checks and migrates. fresh: it was never used before.
func openDatabase(path string) (d *database, fresh bool, err error) {
	// SQLite as distributions build it syncs with fdatasync; this build needs to be told. On ext4 it saves the journal's
	// sync for a time stamp at each commit. The switch is per process, and an error means that the platform has none.
	sqlite.Fdatasync(true) //nolint:errcheck // either answer is fine
	d = &database{path: path}
	defer func() {
		if err != nil {
			d.close() //nolint:errcheck // the first error counts
			d = nil
		}
	}()
	if path == "" {
		q := writerPragmas()
		q.Set("mode", "memory")
		d.wr, err = sql.Open("sqlite", "file:atalaya?"+q.Encode())
		d.rd = d.wr
	} else {
		if err = touch(path); err != nil {
			return d, false, err
		}
		wr, rd := writerPragmas(), readerPragmas()
		wr.Set("vfs", heapIndex)
		rd.Set("vfs", heapIndex)
		if d.wr, err = sql.Open("sqlite", dsn(path, wr)); err == nil {
			d.rd, err = sql.Open("sqlite", dsn(path, rd))
		}
	}
	if err != nil {
		return d, false, err
	}
	d.wr.SetMaxOpenConns(1) // one writer; a second would only wait for the first
	if d.rd != d.wr {
		d.rd.SetMaxOpenConns(2)
		d.rd.SetMaxIdleConns(1)
	}
	if err = check(d.wr); err != nil {
		return d, false, err
	}
	found, err := migrate(d.wr)
	if err != nil {
		return d, false, err
	}
	d.stmts, err = prepare(d.wr)
	return d, found == 0, err
}

// touch makes the file first, because SQLite would make it with the umask's mode; its -wal and -shm inherit ours.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return fmt.Errorf("open the database: %q is not a regular file", path)
	}
	return f.Chmod(0o600)
}

// errMalformed is what quick_check found; errors of SQLite itself say so by their code.
var errMalformed = errors.New("database disk image is malformed")

func malformed(err error) bool {
	return errors.Is(err, errMalformed) || err != nil && classify(err) == faultCorrupt
}

// check reads every page once: 200 MiB took 0.24 s (in the page cache), and MaxBytes bounds them.
func check(db interface {
	QueryRow(q string, args ...any) *sql.Row
}) error {
	var first string
	if err := db.QueryRow("PRAGMA quick_check(1)").Scan(&first); err != nil {
		return explain("check the database", err)
	}
	if first != "ok" {
		return fmt.Errorf("check the database: %w: %s", errMalformed, first)
	}
	return nil
}

func (d *database) close() error {
	var errs []error
	for _, s := range d.stmts {
		errs = append(errs, s.Close())
	}
	if d.rd != nil && d.rd != d.wr {
		errs = append(errs, d.rd.Close())
	}
	if d.wr != nil {
		errs = append(errs, d.wr.Close())
	}
	if d.copied != "" {
		errs = append(errs, os.RemoveAll(d.copied))
	}
	return errors.Join(errs...)
}

// setAside renames a malformed database, with its log, to a name with the time in it.
func setAside(path string, now time.Time) (string, error) {
	dir := filepath.Dir(path)
	to := filepath.Join(dir, "atalaya-malformed-"+now.UTC().Format("20060102T150405.000000000Z")+".db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("set the malformed database aside: %w", err)
		}
	}
	old, err := filepath.Glob(filepath.Join(dir, "atalaya-malformed-*.db"))
	if err != nil {
		return "", err
	}
	slices.Sort(old)
	for i := 0; i < len(old)-keepAside; i++ {
		for _, suffix := range []string{"-wal", "-shm", ""} {
			os.Remove(old[i] + suffix) //nolint:errcheck // one too many is no harm
		}
	}
	return to, syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

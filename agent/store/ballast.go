package store

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ballastSize is thrown overboard when the disk is full: room for some hundred commits, so that the alert about the full
// disk, and those about what it breaks, still get out. SQLite also needs 32 KiB of it to open at all.
const ballastSize = 16 << 20

// A ballast is a file that only takes up room. It is used by one goroutine at a time.
type ballast struct {
	path string // empty: there is none, as in memory
	log  *slog.Logger
}

func newBallast(dir string, log *slog.Logger) ballast {
	if dir == "" {
		return ballast{}
	}
	return ballast{filepath.Join(dir, "ballast"), log}
}

// drop makes room, and says whether there was any to make.
func (b ballast) drop() bool {
	if b.path == "" || os.Remove(b.path) != nil {
		return false
	}
	b.log.Error("store: the disk is full: the last reserve is in use: free some space", "dir", filepath.Dir(b.path))
	return true
}

// lay lays it again where it is missing and there is plenty of room. If it cannot be laid, there is none.
func (b ballast) lay() {
	if b.path == "" {
		return
	}
	if _, err := os.Lstat(b.path); err == nil {
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(b.path), &fs); err != nil {
		return
	}
	size := min(int64(fs.Blocks)*fs.Bsize/16, ballastSize)
	if int64(fs.Bavail)*fs.Bsize < 4*size {
		return
	}
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	// Blocks that are reserved, not a hole: a file system that cannot do that has none to give back either.
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, max(size, 1)), f.Close())
	if err != nil {
		os.Remove(b.path) //nolint:errcheck // it would only be empty
	}
}

// full says whether err means that there is no room left.
func full(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
	}
	return errors.Is(err, unix.ENOSPC)
}

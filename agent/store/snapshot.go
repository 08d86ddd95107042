package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// snapshotTries is how often a copy is begun that a checkpoint of the agent spoils. They come some minutes apart.
const snapshotTries = 5

// openSnapshot reads the database of a living agent, which lets nobody else at it (see heapIndex), from a copy in the
// temporary folder.
func openSnapshot(path string) (*database, error) {
	dir, err := os.MkdirTemp("", "atalaya-read-")
	if err != nil {
		return nil, fmt.Errorf("copy the database of the running agent: %w", err)
	}
	d, err := snapshot(path, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d.copied = dir
	return d, nil
}

func snapshot(path, dir string) (*database, error) {
	to := filepath.Join(dir, dbName)
	for try := 1; ; try++ {
		err := copyUnchanged(path, to)
		var d *database
		if err == nil {
			d, err = tryReader(to, false)
		}
		if err == nil || try == snapshotTries || !errors.Is(err, errMoved) && !malformed(err) {
			return d, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// errMoved says that the agent moved what is in the log into the database while both were copied.
var errMoved = errors.New("copy the database of the running agent: it changes too fast")

// copyUnchanged copies the database and then its log. The log is only added to, and a commit that is copied in part does
// not count; but when the database itself was written meanwhile, the two do not fit.
func copyUnchanged(path, to string) error {
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := errors.Join(copyFile(path, to), copyFile(path+"-wal", to+"-wal")); err != nil {
		return fmt.Errorf("copy the database of the running agent: %w", err)
	}
	after, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() || !os.SameFile(before, after) {
		return errMoved
	}
	return nil
}

// copyFile copies a file; one that is not there is copied as not there.
func copyFile(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// FileSpec configures a channel that appends each alert as one line of JSON to a file.
type FileSpec struct {
	Name string
	Path string // absolute; made with mode 0600 if it is missing, its folder is not
}

type file struct {
	spec FileSpec
	mu   sync.Mutex // one line at a time
}

// NewFile makes a file channel. It does not touch the file yet: the disk may come later.
func NewFile(s FileSpec) (Channel, error) {
	if !filepath.IsAbs(s.Path) {
		return nil, fmt.Errorf("channel %q: path %q must be absolute", s.Name, s.Path)
	}
	return &file{spec: s}, nil
}

// Name gives the configured name.
func (f *file) Name() string { return f.spec.Name }

// Kind gives "file".
func (f *file) Kind() string { return "file" }

// Send appends the line and returns when it is on disk. The file is opened anew each time, so that rotation needs no
// signal. A line that was written in part (a full disk) is taken back.
func (f *file) Send(ctx context.Context, m Message) (Receipt, error) {
	now := time.Now()
	d := newDocument(m, now)
	for _, b := range m.Bundles {
		p := newParcel(b)
		p.Path = b.Path
		d.Delivery.Bundles = append(d.Delivery.Bundles, p)
	}
	line, err := json.Marshal(d)
	if err != nil {
		return Receipt{}, Refused{fmt.Errorf("encode alert %q: %w", m.Key, err)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	if err := appendLine(f.spec.Path, append(line, '\n')); err != nil {
		return Receipt{}, err
	}
	return Receipt{Status: "appended", Remote: f.spec.Path, At: now}, nil
}

func appendLine(path string, line []byte) (err error) {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("append to %q: %w", path, err)
	}
	if _, err := f.Write(line); err != nil {
		return errors.Join(fmt.Errorf("append to %q: %w", path, err), f.Truncate(end))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("append to %q: sync: %w", path, err)
	}
	if end == 0 { // perhaps just made: its name must be as durable as its content
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// openLog opens a regular file and nothing else: a symbolic link could lead the agent's pen anywhere, a FIFO without a
// reader would hold it for ever (hence O_NONBLOCK), and a hard link may be somebody else's file.
func openLog(path string) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return nil, Refused{fmt.Errorf("append to %q: it must be a regular file, not a link, FIFO, socket or folder: %w", path, err)}
	case err != nil:
		return nil, fmt.Errorf("append: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("append to %q: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		f.Close()
		return nil, Refused{fmt.Errorf("append to %q: it must be a regular file with one name", path)}
	}
	return f, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags open without ever waiting (a FIFO without a writer, a lease), following no link, becoming no terminal.
const openFlags = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_NOCTTY | unix.O_CLOEXEC

// readFile takes one end of a regular file. It is asked what it is before it is opened, because opening a device can
// already do something, and again afterwards, because a container can exchange it in between.
func readFile(ctx context.Context, i Item) found {
	f, err := openRegular(i.Root, i.Path)
	if err != nil {
		return found{err: err}
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return found{err: err}
	}
	out := found{modified: st.ModTime(), size: st.Size()}
	if out.data, err = readEnd(f, st.Size(), i.max(), i.keepsTail()); err != nil {
		out.err = fmt.Errorf("read %q: %w", i.Path, err)
	}
	// The kernel says 0 of files that it makes up; what came then was perhaps not all.
	switch n := int64(len(out.data)); {
	case n > out.size && len(out.data) == i.max():
		out.size = -1
	case n > out.size:
		out.size = n
	}
	if ctx.Err() != nil && out.err == nil && len(out.data) == 0 {
		out.err = ctx.Err()
	}
	return out
}

func openRegular(root, name string) (*os.File, error) {
	if root == "" {
		return openChecked(name, os.Lstat, os.OpenFile, nil)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	defer func() { _ = r.Close() }()
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	return openChecked(rel, r.Lstat, r.OpenFile, fileSystem)
}

// openChecked opens name if it is a regular file, and, where a further check is given, passes it.
func openChecked(name string, stat func(string) (fs.FileInfo, error),
	open func(string, int, fs.FileMode) (*os.File, error), check func(*os.File) error,
) (*os.File, error) {
	st, err := stat(name)
	if err != nil {
		return nil, err
	}
	if err := regular(name, st); err != nil {
		return nil, err
	}
	f, err := open(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	if st, err = f.Stat(); err == nil {
		err = regular(name, st)
	}
	if err == nil && check != nil {
		err = check(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func regular(name string, st fs.FileInfo) error {
	var kind string
	switch m := st.Mode(); {
	case m.IsRegular():
		return nil
	case m&fs.ModeSymlink != 0:
		kind = "a symbolic link"
	case m.IsDir():
		kind = "a folder"
	case m&fs.ModeNamedPipe != 0:
		kind = "a FIFO"
	case m&fs.ModeSocket != 0:
		kind = "a socket"
	default:
		kind = "a device"
	}
	return fmt.Errorf("refused to open %q: it is %s, and only regular files are read", name, kind)
}

// fileSystem refuses what lies on a file system of the kernel's own making. os.Root keeps a container's links below its
// root, but the root of a running container has /proc and /sys in it, and /proc/kcore is a regular file.
func fileSystem(f *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("ask for the file system of %q: %w", f.Name(), err)
	}
	switch int64(st.Type) { //nolint:unconvert // int32 on some machines
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC,
		unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.BPF_FS_MAGIC, unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC:
		return fmt.Errorf("refused to read %q: it lies on a file system of the kernel, not of the container", f.Name())
	}
	return nil
}

// readEnd reads at most limit bytes of f: from its end where tail is asked for and the size is known, else from its
// beginning. A file that grows meanwhile costs no more.
func readEnd(f io.ReadSeeker, size int64, limit int, tail bool) ([]byte, error) {
	if tail && size > int64(limit) {
		if _, err := f.Seek(size-int64(limit), io.SeekStart); err != nil {
			return nil, err
		}
	}
	data := make([]byte, 0, min(int64(limit), max(size, 4<<10)))
	for len(data) < limit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := f.Read(data[len(data):min(cap(data), limit)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) || (err == nil && n == 0) {
			break
		}
		if err != nil {
			return data, err
		}
	}
	switch {
	case size <= int64(limit):
		return data, nil
	case tail:
		return dropPartFirst(data), nil
	}
	return dropPartLast(data), nil
}

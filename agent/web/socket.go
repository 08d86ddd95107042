package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is how long the path of a Unix socket may be: see unix(7), sun_path.
const maxPath = 107

// ErrInUse says that a living agent answers at the control socket.
var ErrInUse = errors.New("another agent answers there")

// listenSocket takes the path. What a dead agent left there is replaced; anything else that is there is not ours and is
// left alone. From its first moment on the socket can be opened by nobody who should not.
func listenSocket(path, group string, log *slog.Logger) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path has %d bytes, and a socket's at most %d: choose a shorter control.socket", len(path), maxPath)
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	a := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := listenPrivate(a)
	if err != nil {
		return nil, err
	}
	if err := openTo(path, group, log); err != nil {
		_ = l.Close() // the first error counts
		return nil, err
	}
	return l, nil
}

// makeFolder makes the folder where it is missing: everybody may pass through it, because the mode of the socket is the
// gate, and only we may change it. A folder where others can put things in our socket's place is refused.
func makeFolder(dir string) error {
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // members of the group must get through
			return fmt.Errorf("make the folder of the control socket: %w", err)
		}
		return os.Chmod(dir, 0o755) //nolint:gosec // as above, whatever the umask
	}
	switch {
	case err != nil:
		return fmt.Errorf("look at the folder of the control socket: %w", err)
	case !fi.IsDir():
		return fmt.Errorf("%q is not a folder", dir)
	case fi.Mode().Perm()&0o002 != 0 && fi.Mode()&os.ModeSticky == 0:
		return fmt.Errorf("everybody may write to %q, and could put another socket in place of ours: choose another control.socket", dir)
	}
	return nil
}

// clearStale removes the socket of an agent that ended without doing so. It follows no symbolic link: connect(2) would,
// so what is there is looked at first.
func clearStale(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at what is at %q: %w", path, err)
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%q is there and is %s, not a socket of ours: remove it, or choose another control.socket", path, kind(fi))
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		defer c.Close()
		return fmt.Errorf("%w (pid %s): stop it first, or give this one a control.socket of its own", ErrInUse, listenerPID(c))
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("ask whether an agent answers at %q: %w", path, err)
}

func kind(fi fs.FileInfo) string {
	switch fi.Mode().Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "a special file"
}

func listenerPID(c net.Conn) string {
	p, err := peerOf(c)
	if err != nil {
		return "unknown"
	}
	return strconv.Itoa(int(p.PID))
}

// listenPrivate binds a socket that is 0600 from the start: the kernel makes the file with the mode of the unbound
// socket, less the umask (unix_bind in net/unix/af_unix.c).
func listenPrivate(a *net.UnixAddr) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var mode error
		if err := c.Control(func(fd uintptr) { mode = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return mode
	}}
	l, err := lc.Listen(context.Background(), a.Net, a.Name)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("listen on %q: got a %T", a.Name, l)
	}
	return u, nil
}

// openTo lets the group in, where it exists. Without it only root, or who runs the agent, may give orders.
func openTo(path, group string, log *slog.Logger) error {
	g, err := user.LookupGroup(group)
	var absent user.UnknownGroupError
	if errors.As(err, &absent) {
		log.Info("only root may use the control socket: the group that may do so too does not exist", "group", group, "socket", path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up the group %q (control.group): %w", group, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("the id of group %q is %q, not a number", group, g.Gid)
	}
	if err := os.Lchown(path, -1, gid); err != nil {
		return fmt.Errorf("give the control socket to group %q: %w", group, err)
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group's members may give orders
		return fmt.Errorf("open the control socket to group %q: %w", group, err)
	}
	return nil
}

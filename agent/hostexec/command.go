package hostexec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The bounds of a Command that states none.
const (
	DefaultTimeout = 20 * time.Second
	DefaultMaxOut  = 256 << 10
)

// searchPath is where a bare command name is looked up, whatever PATH the agent was started with: a unit, a cron job and
// a login shell must find the same lxc-start.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A Command is one argv with its bounds.
type Command struct {
	Argv    []string      // Argv[0] is looked up in a fixed PATH unless it is absolute; never a shell, never relative
	Env     []string      // "NAME=value", added to PATH, LC_ALL=C and HOME=/root, and winning over them
	Dir     string        // working directory; empty: /
	Timeout time.Duration // 0: DefaultTimeout; not used by Stream
	Held    bool          // its standard input is a pipe that stays open and empty, for a tool that ends when that ends; else it is empty
	MaxOut  int           // bytes kept of stdout and, separately, of stderr; 0: DefaultMaxOut
}

func (c Command) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

func (c Command) maxOut() int {
	if c.MaxOut <= 0 {
		return DefaultMaxOut
	}
	return c.MaxOut
}

func (c Command) dir() string {
	if c.Dir == "" {
		return "/"
	}
	return c.Dir
}

// environ is the whole environment of the command. Nothing of the agent's own gets through: it may hold secrets, a
// NOTIFY_SOCKET, or the locale of whoever started it. The last of two equal names wins.
func (c Command) environ() []string {
	env := append([]string{"PATH=" + searchPath, "LC_ALL=C", "HOME=/root"}, c.Env...)
	at := make(map[string]int, len(env))
	out := env[:0]
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, dup := at[name]; dup {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

// errNotFound carries the words people know from os/exec.
var errNotFound = errors.New("executable file not found")

// lookup gives the absolute path of argv[0], or says why there is nothing to run.
func (c Command) lookup() (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", errors.New("no command given")
	}
	for _, a := range c.Argv {
		if strings.ContainsRune(a, 0) {
			return "", fmt.Errorf("argument %q holds a NUL byte", a)
		}
	}
	name := c.Argv[0]
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	if strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("%q is a relative path: give an absolute one", name)
	}
	failure := errNotFound
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, errNotFound) {
			failure = err // it is there, but cannot be run: better to know than "not found"
		}
	}
	if errors.Is(failure, errNotFound) {
		return "", fmt.Errorf("%q: %w in %s", name, errNotFound, searchPath)
	}
	return "", failure
}

// executable says why path cannot be run, as far as that can be told without running it.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q: %w", path, errNotFound)
	case err != nil:
		return fmt.Errorf("%q: %w", path, err)
	case info.IsDir():
		return fmt.Errorf("%q: is a directory", path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%q: %w (no execute bit)", path, syscall.EACCES)
	}
	return nil
}

// LookPath gives the absolute path of a command of this host, as Host finds it, whatever PATH this process has; or says
// why there is none.
func LookPath(name string) (string, error) { return Command{Argv: []string{name}}.lookup() }

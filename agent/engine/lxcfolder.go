package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"atalaya/agent/health"
)

// lxcFolder is one container as the lxcpath shows it, with no process started.
type lxcFolder struct {
	mark string       // creation mark of the folder: inode and birth time, so that a reused name is a new container
	lock *health.Lock // lxc-create is at work in it, or was interrupted: the file "partial" is there
}

// folders lists the defined containers: folders that hold a file "config", as liblxc has it (list_defined_containers).
// A missing lxcpath is an error, while lxc-ls would print nothing, rc 0; an empty one is truly empty.
func (l *lxc) folders() (map[string]lxcFolder, error) {
	entries, err := os.ReadDir(l.path)
	if err != nil && len(entries) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the lxcpath does not exist: mount it, or correct its path in the configuration: %w", err)
		}
		return nil, fmt.Errorf("read the lxcpath: %w", err)
	}
	out := make(map[string]lxcFolder, len(entries))
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && e.Type() != fs.ModeSymlink {
			continue
		}
		f, ok := l.folder(name)
		if !ok {
			continue
		}
		if err := checkID(name); err != nil {
			l.notes.add("container in %q not watched: %v: rename it", l.path, err)
			continue
		}
		out[name] = f
	}
	return out, nil
}

// folder reads one of them; ok is false where no container is defined.
func (l *lxc) folder(name string) (f lxcFolder, ok bool) {
	if _, err := os.Stat(filepath.Join(l.path, name, "config")); err != nil {
		return lxcFolder{}, false
	}
	if f.mark = folderMark(filepath.Join(l.path, name)); f.mark == "" {
		return lxcFolder{}, false
	}
	f.lock = lxcCreation(filepath.Join(l.path, name, "partial"))
	return f, true
}

// lxcCreation reads the file that lxc-create and lxc-copy keep, and lock, while they work (create_partial). LXC 5.0.2 itself
// does not tell one that was left over: it refuses a start for ever.
func lxcCreation(partial string) *health.Lock {
	info, err := os.Lstat(partial)
	if err != nil {
		return nil
	}
	lock := &health.Lock{Operation: "create", Since: info.ModTime(), Dead: !held(partial)}
	if !lock.Dead {
		lock.Holder = opener(partial)
	}
	return lock
}

// place tells the lxcpath from another folder that is mounted over it.
func (l *lxc) place() string {
	return folderMark(l.path) // and not its device: btrfs and ZFS have another one at every mount
}

// defined tells whether the container's config is still there.
func (l *lxc) defined(id string) bool {
	_, err := os.Stat(filepath.Join(l.path, id, "config"))
	return err == nil
}

// sortedKeys gives the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

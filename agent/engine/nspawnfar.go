package engine

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"time"
)

// Of systemd on another host: its images are asked for by find(1), as its machinectl tells neither what identifies them nor
// those that a unit alone defines; and its inits by machinectl, since they are no processes of ours.

// nspawnAway is what is remembered of the images there. Guarded by nspawn.mu.
type nspawnAway struct {
	at    time.Time         // when they were listed
	marks map[string]string // by name
}

// findImages asks what is in the folder: kind, inode, birth and path of each. (find's own -printf knows no births in Debian 12.)
func (n *nspawn) findImages(ctx context.Context, only ...string) (map[string]string, error) {
	argv := append(n.argv("find", nspawnImages, "-mindepth", "1", "-maxdepth", "1", "!", "-name", ".*"), only...)
	t, err := n.ask(ctx, append(argv, "-exec", "stat", `--printf=%F|%i|%.9W|%n\0`, "{}", "+"))
	if err != nil && (t.Exit != 1 || t.Failure != "" || !onlyGone(t.Stderr)) {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	out := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(t.Stdout), "\x00"), "\x00") {
		f := strings.SplitN(line, "|", 4)
		if line == "" {
			continue
		}
		if len(f) != 4 {
			return nil, fmt.Errorf("list the images: find printed %.60q", line)
		}
		if name := n.imageName(path.Base(f[3]), strings.HasPrefix(f[0], "regular")); name != "" {
			out[name] = f[1] + "-" + f[2]
		}
	}
	return out, nil
}

// onlyGone tells that nothing was complained of but what is not there, or no more.
func onlyGone(stderr []byte) bool {
	for line := range bytes.Lines(bytes.TrimSpace(stderr)) {
		if !bytes.HasSuffix(bytes.TrimSpace(line), []byte(": No such file or directory")) {
			return false
		}
	}
	return len(stderr) > 0
}

// awayImages lists the images, and asks only now and then: one that is new is not yet started, and of one that is gone a
// look tells.
func (n *nspawn) awayImages(ctx context.Context) ([]string, error) {
	n.mu.Lock()
	stale := time.Since(n.away.at) >= n.spec.Quiet
	n.mu.Unlock()
	if stale {
		began := time.Now()
		marks, err := n.findImages(ctx)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.away = nspawnAway{at: began, marks: marks}
		n.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, mark := range n.away.marks {
		n.entry(name).mark = mark
	}
	return sortedKeys(n.away.marks), nil
}

// isDefined tells whether there is an image, or a unit of its own. On another host the unit alone is judged.
func (n *nspawn) isDefined(name string, u nspawnUnit) bool {
	if !n.far() {
		return n.defined(name)
	}
	return strings.HasPrefix(u["UnitFileState"], "enabled") || u["DropInPaths"] != "" || strings.HasPrefix(u["FragmentPath"], "/etc/")
}

// exists is isDefined for one machine that does not run, freshly. What cannot be asked is taken to exist.
func (n *nspawn) exists(ctx context.Context, name string, u nspawnUnit) bool {
	if n.isDefined(name, u) || !n.far() {
		return n.isDefined(name, u)
	}
	marks, err := n.findImages(ctx, "(", "-name", name, "-o", "-name", name+".raw", ")")
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && marks[name] == "" {
		delete(n.away.marks, name)
		return false
	}
	return true
}

// askLeaders asks machined for the inits of machines on another host, in which commands are run: once in a life.
func (n *nspawn) askLeaders(ctx context.Context) {
	if !n.far() {
		return
	}
	n.mu.Lock()
	var names []string
	for name, e := range n.known {
		if e.init.PID != 0 && e.leader == 0 && e.sought < nspawnAddrTries {
			e.sought++
			names = append(names, name)
		}
	}
	n.mu.Unlock()
	if len(names) == 0 {
		return
	}
	found, _ := n.askMachines(ctx, names)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		if e := n.known[name]; e != nil {
			e.leader = found[name].leader
		}
	}
}

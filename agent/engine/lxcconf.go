package engine

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Bounds of what one container's configuration may make us read.
const (
	lxcConfMax   = 1 << 20 // bytes of one file
	lxcConfFiles = 64      // files, includes and all; liblxc itself knows no loop detection
)

// lxcConf is what is read of a container's configuration. It is read from the files and not asked with lxc-info -c: that
// answers with the configuration a running container was started with, and costs a process.
type lxcConf struct {
	autostart health.Tri
	links     []string // host interfaces it needs, sorted
	logFile   string
	console   string
	files     []string // all that was read, folders of includes too: what the mark is made of
	mark      string
}

// readLXCConf reads a container's configuration and what it includes, as liblxc does: lxc.include names a file, or a
// folder of which all *.conf are read. What cannot be read leaves autostart unknown.
func readLXCConf(path string) lxcConf {
	r := lxcReader{keys: map[string]string{}, whole: true}
	r.file(path)
	c := lxcConf{files: r.files, logFile: r.keys["lxc.log.file"], console: r.keys["lxc.console.logfile"]}
	switch v := r.keys["lxc.start.auto"]; {
	case !r.whole:
	case v == "" || v == "0":
		c.autostart = health.No
	default:
		c.autostart = health.Yes
	}
	c.links = lxcLinks(r.keys)
	c.mark = lxcConfMark(c.files)
	return c
}

// lxcReader gathers keys over files; the last word wins.
type lxcReader struct {
	keys  map[string]string
	files []string
	whole bool // nothing was missed
}

func (r *lxcReader) file(path string) {
	if !filepath.IsAbs(path) || len(r.files) >= lxcConfFiles {
		r.whole = false
		return
	}
	r.files = append(r.files, path)
	if entries, err := os.ReadDir(path); err == nil {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				r.file(filepath.Join(path, e.Name()))
			}
		}
		return
	}
	b, err := readBounded(path, lxcConfMax)
	if err != nil {
		r.whole = false
		return
	}
	for line := range strings.Lines(string(b)) {
		r.line(line)
	}
}

func (r *lxcReader) line(line string) {
	k, v, ok := lxcLine(line)
	switch {
	case !ok:
	case k == "lxc.include":
		r.file(v)
	case k == "lxc.net" || strings.HasPrefix(k, "lxc.net.") && strings.Count(k, ".") == 2:
		// without a value it takes back all that was said of the networks, or of one
		if v == "" {
			maps.DeleteFunc(r.keys, func(have, _ string) bool { return strings.HasPrefix(have, k+".") })
		}
	default:
		r.keys[k] = v
	}
}

// lxcLine reads "key = value" as liblxc's parse_line does: blanks around both are dropped, and one pair of quotes.
func lxcLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	key, value, ok = strings.Cut(line, "=")
	value = strings.TrimSpace(value)
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return strings.TrimSpace(key), value, ok
}

// lxcLinks gives the host's interfaces that the container hangs on. One of type phys moves into the container while it
// runs, so its absence from the host proves nothing and it is left out.
func lxcLinks(keys map[string]string) []string {
	var links []string
	for k, link := range keys {
		net, isLink := strings.CutSuffix(k, ".link")
		if !isLink || !strings.HasPrefix(k, "lxc.net.") || link == "" {
			continue
		}
		switch keys[net+".type"] {
		case "veth", "macvlan", "ipvlan", "vlan":
			links = append(links, link)
		}
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// lxcConfMark changes when a file does: its inode, size or time of change.
func lxcConfMark(files []string) string {
	h := fnv.New64a()
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Stat(f, &st); err != nil {
			fmt.Fprintf(h, "%s %v;", f, err)
			continue
		}
		fmt.Fprintf(h, "%s %d %d %d.%d;", f, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// readBounded reads a regular file of at most limit bytes. Anything else could block, or never end.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %q: not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %q: longer than %d bytes", path, limit)
	}
	return b, err
}

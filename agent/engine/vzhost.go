package engine

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Bounds of what is read of vzctl's files, in bytes.
const (
	vzConfMax = 256 << 10
	vzLogTail = 256 << 10
	vzUBCMax  = 8 << 20 // 24 lines a container
)

// vzHost is what is read of the host's own files about containers of vzctl, 4 or 7, below Spec.Root. None of it starts a
// process: one list may ask it about a thousand containers.
type vzHost struct {
	base
	pidFile string              // of an init, with $VEID
	keyOf   func(string) string // the id that the core knows a container by, of the one on a command line

	mu    sync.Mutex
	confs map[string]vzConf
	log   vzLogRead
	fails map[string]vzFails
	ran   map[string]time.Time // when it was last seen running
	own   map[string]ownRun    // the last command of ours about it
	ended map[string]ownRun    // the last that ended it
	lies  map[string]time.Time // since when a container has been called running whose init is gone
	stuck map[string]bool      // vzctl could not end what is left of it
	areas map[string]*vzAreaRead
	slow  map[string]bool // those about which vzlist gave no answer
}

// vzConf is the configuration of one container.
type vzConf struct {
	mark string // of the file; another one means: read it again
	keys map[string]string
	ok   bool
}

// vzLogRead is the log as it was last read.
type vzLogRead struct {
	size  int64
	mod   time.Time
	stops map[string]vzStop
}

// vzFails are a container's beancounters when this life of it was first seen.
type vzFails struct {
	init  health.Process
	first map[string]uint64
}

func newVZHost(s Spec, r Runner, pidFile string) *vzHost {
	return &vzHost{
		base: base{spec: s, run: r}, pidFile: pidFile, keyOf: func(id string) string { return id }, confs: map[string]vzConf{}, fails: map[string]vzFails{},
		own: map[string]ownRun{}, ended: map[string]ownRun{}, ran: map[string]time.Time{}, lies: map[string]time.Time{}, stuck: map[string]bool{}, areas: map[string]*vzAreaRead{}, slow: map[string]bool{},
	}
}

// global reads the host's vz.conf, with what vzctl assumes where it says nothing.
func (h *vzHost) global() map[string]string {
	keys := map[string]string{}
	if b, err := readBounded(h.file("/etc/vz/vz.conf"), vzConfMax); err == nil {
		keys = parseVZConf(b)
	}
	for k, v := range map[string]string{
		"LOCKDIR": "/vz/lock", "LOGFILE": "/var/log/vzctl.log", "VE_PRIVATE": "/vz/private/$VEID", "DUMPDIR": "/vz/dump",
	} {
		if keys[k] == "" {
			keys[k] = v
		}
	}
	return keys
}

func (h *vzHost) confPath(id string) string { return h.file("/etc/vz/conf/" + id + ".conf") }

func (h *vzHost) defined(id string) bool { _, err := os.Stat(h.confPath(id)); return err == nil }

// conf reads a container's configuration, anew when the file has changed.
func (h *vzHost) conf(id string) vzConf {
	mark := lxcConfMark([]string{h.confPath(id)})
	h.mu.Lock()
	c := h.confs[id]
	h.mu.Unlock()
	if c.mark == mark {
		return c
	}
	b, err := readBounded(h.confPath(id), vzConfMax)
	c = vzConf{mark: mark, keys: parseVZConf(b), ok: err == nil}
	h.mu.Lock()
	h.confs[id] = c
	h.mu.Unlock()
	return c
}

// private is the folder of a container's private area.
func (h *vzHost) private(id string, global map[string]string) string {
	for _, p := range []string{h.conf(id).keys["VE_PRIVATE"], global["VE_PRIVATE"]} {
		if filepath.IsAbs(p) {
			return h.file(vzID(p, id))
		}
	}
	return ""
}

// folderMark tells a folder from one that was made anew under its name: by inode and, where the kernel (4.11) and the file
// system keep it, by birth.
func folderMark(path string) string {
	var st unix.Stat_t
	if path == "" || unix.Stat(path, &st) != nil {
		return ""
	}
	mark := strconv.FormatUint(st.Ino, 10)
	var x unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &x) == nil && x.Mask&unix.STATX_BTIME != 0 {
		mark += fmt.Sprintf("-%d.%09d", x.Btime.Sec, x.Btime.Nsec)
	}
	return mark
}

// init reads the pid of a container's init. left is that of an init that is no more, when the file still names one.
func (h *vzHost) init(id string) (p health.Process, left int) {
	b, err := readBounded(h.file(vzID(h.pidFile, id)), 64)
	if err != nil {
		return health.Process{}, 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return health.Process{}, 0
	}
	if p, ok := identify(pid); ok && h.bornBefore(p, h.file(vzID(h.pidFile, id))) {
		return p, 0
	}
	return health.Process{}, pid
}

// bornBefore tells whether a process is older than a file that names it: a younger one has only got the same number. A
// second of doubt is granted, since a process starts just before it is written down.
func (h *vzHost) bornBefore(p health.Process, path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	return !bootTime().Add(ticks(p.Start)).After(info.ModTime().Add(time.Second))
}

// ticks is a number of clock ticks as /proc has them, 100 a second on every kernel that Linux is built for here.
func ticks(n uint64) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

// bootTime is when the host started, to some milliseconds.
func bootTime() time.Time {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(t.Nano()))
}

// readTail reads the last bytes of a regular file, from the beginning of a line.
func readTail(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %q: not a regular file", path)
	}
	from := max(0, info.Size()-limit)
	b := make([]byte, info.Size()-from)
	n, err := f.ReadAt(b, from)
	if n == 0 && err != nil && len(b) > 0 {
		return nil, err
	}
	b = b[:n]
	if from > 0 {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return b, nil
}

// refused says which beancounters of a container have refused something since this life of it was first seen.
func (h *vzHost) refused(id string, init health.Process, now map[string]uint64) string {
	if now == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.fails[id]
	if !ok || f.init != init {
		h.fails[id] = vzFails{init: init, first: now}
		return ""
	}
	var words []string
	for _, name := range sortedKeys(now) {
		if n := now[name]; n > f.first[name] {
			words = append(words, fmt.Sprintf("%s %d times", name, n-f.first[name]))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "its beancounters refused since it was first seen: " + strings.Join(words, ", ")
}

// beancounters reads those of all containers; nil on kernels that have none.
func (h *vzHost) beancounters() map[string]map[string]uint64 {
	for _, p := range []string{"/proc/bc/resources", "/proc/user_beancounters"} {
		if b, err := readProc(h.file(p)); err == nil {
			return parseBeancounters(b)
		}
	}
	return nil
}

// maxLie is how long a container may be called running whose init is gone, before that is more than its ending.
const maxLie = 20 * time.Second

// lied judges a container that is called running. Its init is known to be gone: either it is just ending, which takes
// moments, or tasks are left that do not die (samples/vzctl-cannot-stop-or-restart.txt: it can be neither started, stopped
// nor restarted). That is nothing to restart, and a person has to know.
func (h *vzHost) lied(id string, left int, now time.Time) (health.RunState, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since, ok := h.lies[id]
	if !ok {
		since = now
		h.lies[id] = now
	}
	if !h.stuck[id] && now.Sub(since) < maxLie {
		return health.Unknown, fmt.Sprintf("called running, but its init %d is gone: it is just ending", left)
	}
	return health.Broken, fmt.Sprintf("called running, but its init %d is gone since %s: tasks are left in it that do not die, so it can be neither started nor stopped", left, since.UTC().Format(time.RFC3339))
}

// truthful forgets the lie about a container.
func (h *vzHost) truthful(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lies, id)
	delete(h.stuck, id)
}

// cannotStop remembers that vzctl could not end what is left of a container (exit 33).
func (h *vzHost) cannotStop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stuck[id] = true
}

// sawRunning and lastRan keep when a container was last seen running.
func (h *vzHost) sawRunning(id string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ran[id] = at
}

func (h *vzHost) lastRan(id string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ran[id]
}

// forget drops what is known of containers that are gone.
func (h *vzHost) forget(listed map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.confs {
		if !listed[id] {
			delete(h.confs, id)
			delete(h.fails, id)
			delete(h.ran, id)
			delete(h.lies, id)
			delete(h.stuck, id)
			delete(h.slow, id)
			delete(h.areas, id)
		}
	}
}

// readProc reads a file of /proc, which has no size, or one that stands for it.
func readProc(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, vzUBCMax))
}

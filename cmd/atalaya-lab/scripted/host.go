package scripted

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// TB is what a Host needs of a test; *testing.T and *testing.B are one.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// A Container is what a player keeps of one container. Which fields it uses is its own matter.
type Container struct {
	ID      string            `json:"id"`
	Name    string            `json:"name,omitempty"`
	UUID    string            `json:"uuid,omitempty"`
	Type    string            `json:"type,omitempty"`  // "CT", "VM", …
	State   string            `json:"state,omitempty"` // in the player's own words, such as "running"
	Says    string            `json:"says,omitempty"`  // a lie: this state is shown, whatever is true
	PID     int               `json:"pid,omitempty"`   // of its init
	Start   uint64            `json:"start,omitempty"` // start time of that process
	Addrs   []string          `json:"addrs,omitempty"`
	Lock    string            `json:"lock,omitempty"` // the operation that holds it
	LockPID int               `json:"lock_pid,omitempty"`
	Keys    map[string]string `json:"keys,omitempty"` // anything else
}

// Key gives one of Keys.
func (c Container) Key(name string) string { return c.Keys[name] }

// Alive tells whether its init lives.
func (c Container) Alive() bool {
	start, ok := startOf(c.PID)
	return ok && start == c.Start
}

// A Host is one scripted engine. Several processes use it at once: the test, and the tools it is played by.
type Host struct {
	t   TB // nil inside a tool
	dir string
	hostConfig
}

// hostConfig is what a tool must know of its host; kept in host.json.
type hostConfig struct {
	Engine  string `json:"engine"`  // the player
	Replies string `json:"replies"` // folder of its reply files, absolute
	Test    int    `json:"test"`    // the test's process, by pid and start time
	Since   uint64 `json:"since"`
}

// RepliesEnv names the environment variable that, when set, is the folder in which each engine's reply files are looked
// for instead, as ENGINE/NAME.reply: the mutated ones. PatienceEnv is how long a test waits for what must come; shorter
// where most runs are meant to fail.
const (
	RepliesEnv  = "ATALAYA_REPLIES"
	PatienceEnv = "ATALAYA_PATIENCE"
)

// Patience is how long a test waits for what must come: usual, unless the mutation run says otherwise.
func Patience(usual time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(PatienceEnv)); err == nil && d > 0 {
		return d
	}
	return usual
}

// New makes a host of the named engine (see players) with no containers, whose reply files are in the folder replies.
// When the test ends, every process that was started for it is killed.
func New(t TB, engine, replies string) *Host {
	t.Helper()
	if mutated := os.Getenv(RepliesEnv); mutated != "" {
		replies = filepath.Join(mutated, engine)
	}
	replies, err := filepath.Abs(replies)
	if err != nil {
		t.Fatalf("find the replies of %q: %v", engine, err)
	}
	h := &Host{t: t, dir: t.TempDir(), hostConfig: hostConfig{Engine: engine, Replies: replies, Test: os.Getpid()}}
	h.Since, _ = startOf(h.Test)
	p, ok := players()[engine]
	if !ok {
		t.Fatalf("scripted: no player %q", engine)
	}
	self := os.Getenv(ToolEnv)
	if self == "" {
		self, err = os.Executable()
		h.must(err)
	}
	for _, d := range []string{h.Bin(), h.Root(), h.path("containers")} {
		h.must(os.MkdirAll(d, 0o755))
	}
	for tool := range p.tools {
		h.must(os.Symlink(self, filepath.Join(h.Bin(), tool)))
	}
	h.must(h.write("host.json", h.hostConfig))
	t.Cleanup(h.killAll)
	if p.prepare != nil {
		h.must(p.prepare(h))
	}
	return h
}

// With gives the same host, ending another test when something fails.
func (h *Host) With(t TB) *Host { c := *h; c.t = t; return &c }

// Bin is the folder of the engine's commands; for Spec.Bin.
func (h *Host) Bin() string { return h.path("bin") }

// Root is where the host's files are; for Spec.Root.
func (h *Host) Root() string { return h.path("root") }

// File is the place of a host file below Root.
func (h *Host) File(path string) string { return filepath.Join(h.Root(), path) }

// WriteFile makes a host file below Root.
func (h *Host) WriteFile(path, text string) {
	h.must(os.MkdirAll(filepath.Dir(h.File(path)), 0o755))
	h.must(os.WriteFile(h.File(path), []byte(text), 0o644))
}

// RemoveFile removes a host file or folder; it may be absent.
func (h *Host) RemoveFile(path string) { h.must(os.RemoveAll(h.File(path))) }

func (h *Host) path(elem ...string) string { return filepath.Join(append([]string{h.dir}, elem...)...) }

// must ends the test. In a tool it ends the tool, loudly: exit 70 is in no engine's table.
func (h *Host) must(err error) {
	if err == nil {
		return
	}
	if h.t != nil {
		h.t.Helper()
		h.t.Fatalf("scripted %s: %v", h.Engine, err)
		return
	}
	fmt.Fprintln(os.Stderr, "scripted:", err)
	os.Exit(70)
}

// Locked runs f while no other process changes the containers.
func (h *Host) Locked(f func()) {
	l, err := os.OpenFile(h.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	h.must(err)
	defer l.Close()
	h.must(syscall.Flock(int(l.Fd()), syscall.LOCK_EX))
	f()
}

// Put adds or replaces a container.
func (h *Host) Put(c Container) { h.must(h.write(filepath.Join("containers", fileOf(c.ID)), c)) }

// Get finds a container by id, UUID (braces are no part of it) or name; nil when there is none.
func (h *Host) Get(id string) *Container {
	bare := strings.Trim(id, "{}")
	for _, c := range h.All() {
		if c.ID == id || bare != "" && c.UUID == bare || c.Name != "" && c.Name == id {
			return &c
		}
	}
	return nil
}

// Update changes a container that exists.
func (h *Host) Update(id string, f func(*Container)) {
	h.Locked(func() {
		c := h.Get(id)
		if c == nil {
			h.must(fmt.Errorf("no container %q", id))
			return
		}
		f(c)
		h.Put(*c)
	})
}

// Delete forgets a container and kills its init.
func (h *Host) Delete(id string) {
	if c := h.Get(id); c != nil {
		kill(c.PID, c.Start)
		h.must(os.Remove(h.path("containers", fileOf(c.ID))))
	}
}

// All gives the containers, sorted by id.
func (h *Host) All() []Container {
	var out []Container
	entries, err := os.ReadDir(h.path("containers"))
	h.must(err)
	for _, e := range entries {
		var c Container
		if strings.HasPrefix(e.Name(), ".") {
			continue // being written
		}
		switch err := h.read(filepath.Join("containers", e.Name()), &c); {
		case err == nil:
			out = append(out, c)
		case !errors.Is(err, fs.ErrNotExist):
			h.must(err)
		}
	}
	slices.SortFunc(out, func(a, b Container) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID) // 99 before 100
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func fileOf(id string) string { return fmt.Sprintf("%x.json", id) }

func (h *Host) read(name string, v any) error {
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// write replaces a file whole: others read it meanwhile.
func (h *Host) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dir, base := filepath.Split(h.path(name))
	tmp, err := os.CreateTemp(dir, "."+base+"-*")
	if err != nil {
		return err
	}
	if _, err := tmp.Write(b); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), h.path(name))
}

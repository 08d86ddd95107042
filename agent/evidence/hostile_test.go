package evidence

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// What a container can put where its log should be. Each is the real thing, tried as a path of the host's and as one
// below the container's root; none is opened, none hangs, and each is named with the reason.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root")
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mkfifo(at("fifo"), 0o600))
	must(unix.Mknod(at("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))) // zero: endless
	must(os.Mkdir(at("folder"), 0o700))
	must(os.Symlink("/etc/shadow", at("link")))
	must(os.Symlink("log", at("inner")))
	must(os.Symlink("../../../../../../../../etc/shadow", at("climber")))
	must(os.WriteFile(at("log"), []byte("a line\n"), 0o600))
	must(os.Symlink("loop", at("loop")))
	l, err := net.Listen("unix", at("socket"))
	must(err)
	defer func() { _ = l.Close() }()

	for name, want := range map[string]string{
		"fifo": "a FIFO", "device": "a device", "folder": "a folder", "link": "a symbolic link", "inner": "a symbolic link",
		"climber": "a symbolic link", "loop": "a symbolic link", "socket": "a socket", "nothing": "no such file",
		"folder/../fifo": "a FIFO", "link/x": "", "climber/x": "",
	} {
		for _, i := range []Item{{Path: at(name)}, {Root: root, Path: name}, {Root: root, Path: "/" + name}} {
			began := time.Now()
			f := readFile(t.Context(), i)
			if f.err == nil || len(f.data) > 0 || !strings.Contains(f.err.Error(), want) {
				t.Errorf("%+v: %q, %v; want %q", i, f.data, f.err, want)
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("%+v took %v", i, d)
			}
		}
	}
	for _, path := range []string{"log", "/log", "folder/../log", "../../log"} {
		if f := readFile(t.Context(), Item{Root: root, Path: path}); string(f.data) != "a line\n" {
			t.Errorf("%q below the root: %q, %v", path, f.data, f.err)
		}
	}
}

// Below the root of a running container lie /proc and /sys; what the kernel makes up there is not the container's.
func TestKernelFilesAreNotTheContainers(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/proc/self/environ", "/sys/kernel/notes", "/proc/kcore"} {
		f := readFile(t.Context(), Item{Root: "/", Path: path})
		if f.err == nil || len(f.data) > 0 {
			t.Errorf("%s: read %d bytes, %v", path, len(f.data), f.err)
		}
	}
	if f := readFile(t.Context(), Item{Path: "/proc/meminfo"}); !strings.Contains(string(f.data), "MemTotal") {
		t.Errorf("a host's own /proc file: %q, %v", f.data, f.err)
	}
}

// Ten gigabytes cost what 64 KiB cost, the end is kept in whole lines, and the manifest says what was cut.
func TestHugeFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "huge.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const size = 10 << 30
	tail := "\n" + strings.Repeat("a line of the log\n", 5000) + "the last line\n"
	if _, err := f.WriteAt([]byte(tail), size-int64(len(tail))); err != nil {
		t.Fatal(err)
	}
	s, m := capture(t, newRecorder(t), Item{Name: "huge.log", Path: path, Max: 64 << 10})
	text := string(content(t, s.Path, "before/huge.log"))
	if !strings.HasPrefix(text, "a line of the log\n") || !strings.HasSuffix(text, "the last line\n") || len(text) > 64<<10 {
		t.Errorf("kept %d bytes: %.40q", len(text), text)
	}
	rec := m.record(t, "before/huge.log")
	if !strings.Contains(rec.Cut, "KiB of 10 GiB: the last part") || rec.Size != int64(len(text)) || rec.Source != path {
		t.Errorf("the manifest says %+v", rec)
	}
}

// A container that exchanges a file for a FIFO while it is read: whichever is met, nothing hangs.
func TestExchangedWhileRead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path, pipe := filepath.Join(root, "log"), filepath.Join(root, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, pipe, unix.RENAME_EXCHANGE)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	met := map[bool]int{}
	for range 2000 {
		f := readFile(t.Context(), Item{Root: root, Path: "log"})
		if f.err == nil && string(f.data) != "a line\n" {
			t.Fatalf("read %q", f.data)
		}
		met[f.err == nil]++
	}
	if met[true] == 0 || met[false] == 0 {
		t.Logf("only one of the two was met: %v", met)
	}
}

// stuckFIFO blocks a thread in open(2), as a read in uninterruptible sleep does: no context ends it. It is let go when
// the test is over.
func stuckFIFO(t *testing.T) func(context.Context) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stuck")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			time.AfterFunc(5*time.Second, func() { _ = unix.Close(fd) }) // until every reader has come through
		}
	})
	return func(context.Context) ([]byte, error) {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		return []byte("too late"), err
	}
}

// Hanging, panicking and failing pieces cost their bound and no more; what is behind them is taken in time.
func TestNothingHangsTheCapture(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	stuck := stuckFIFO(t)
	var items []Item
	for range 5 {
		items = append(items, Item{Name: "stuck", Func: stuck, Volatile: true, Timeout: 600 * time.Millisecond})
	}
	items = append(items,
		Item{Name: "panics", Func: func(context.Context) ([]byte, error) { panic("a nil map") }, Volatile: true},
		Item{Name: "sleeps", Argv: []string{"sleep", "60"}, Timeout: 200 * time.Millisecond},
		Item{Name: "no-such-tool", Argv: []string{"no-such-tool-anywhere"}},
		Item{Name: "shapeless"},
		Item{Name: "good.txt", Data: []byte("taken\n"), Volatile: true},
		Item{Name: "empty.txt", Data: []byte{}},
	)
	began := time.Now()
	c := r.Begin(request(items...))
	c.Volatile(t.Context())
	if d := time.Since(began); d < 250*time.Millisecond || d > 2*time.Second {
		t.Errorf("the action was held up for %v, the budget is %v", d, DefaultBefore)
	}
	s, m := seal(t, c, Report{})
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v to seal", d)
	}
	for name, want := range map[string]string{
		"stuck": "no answer within 600ms", "panics": "panicked: a nil map", "sleeps": "no answer within",
		"no-such-tool": "not found", "shapeless": "names no command",
	} {
		if why := m.missing(name); !strings.Contains(why, want) {
			t.Errorf("%s: %q, want %q", name, why, want)
		}
	}
	if got := string(content(t, s.Path, "before/good.txt")); got != "taken\n" {
		t.Errorf("the item behind those that hang: %q", got)
	}
	if m.record(t, "before/good.txt").Note != "" || m.record(t, "before/empty.txt").Size != 0 {
		t.Errorf("records: %+v", m.Files)
	}
	if n := r.hung.Load(); n != 5 {
		t.Errorf("%d pieces are counted as hung, 5 are", n)
	}
}

// However much hangs for good, only so much is left behind; then it is said and not tried.
func TestHungPiecesAreBounded(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	stuck := stuckFIFO(t)
	var items []Item
	for range maxHung + 20 {
		items = append(items, Item{Name: "stuck", Func: stuck, Timeout: 10 * time.Millisecond})
	}
	_, m := capture(t, r, items...)
	if n := r.hung.Load(); n > maxHung+10 { // those that were under way when the bound was reached come on top
		t.Errorf("%d pieces hang, the bound is %d", n, maxHung)
	}
	refused := 0
	for _, rec := range m.Missing {
		if strings.Contains(rec.Missing, "earlier pieces of evidence still hang") {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("only %d were refused: %+v", refused, m.Missing)
	}
}

// A late volatile piece is kept, and it is said that the action had begun.
func TestLateIsKeptAndSaid(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, func(o *Options) { o.Tuning.Budget.Before = 20 * time.Millisecond })
	goOn := make(chan struct{})
	c := r.Begin(request(Item{Name: "late.txt", Volatile: true, Timeout: 10 * time.Second, Func: func(context.Context) ([]byte, error) {
		<-goOn
		return []byte("late\n"), nil
	}}))
	c.Volatile(t.Context())
	close(goOn)
	_, m := seal(t, c, Report{})
	if rec := m.record(t, "before/late.txt"); !strings.Contains(rec.Note, "the action had begun") {
		t.Errorf("%+v", rec)
	}
}

// The second round ends with its budget, whatever hangs in it.
func TestAfterEndsWithItsBudget(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, func(o *Options) { o.Tuning.Budget.After = 300 * time.Millisecond })
	c := r.Begin(request())
	began := time.Now()
	c.After([]Item{
		{Name: "stuck", Func: stuckFIFO(t), Timeout: time.Minute}, {Name: "sleeps", Argv: []string{"sleep", "60"}, Timeout: time.Minute},
		{Name: "good", Data: []byte("x")},
	})
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	_, m := seal(t, c, Report{})
	if m.missing("stuck") == "" || m.missing("sleeps") == "" || m.record(t, "after/good.txt").Size != 1 {
		t.Errorf("%+v", m)
	}
}

// A budget that is changed counts for what is taken from then on.
func TestTune(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, func(o *Options) { o.Tuning.Budget = Budget{Before: time.Minute, After: time.Minute} })
	r.Tune(Tuning{Budget: Budget{Before: -1, After: 100 * time.Millisecond}, Level: 12})
	goOn := make(chan struct{})
	c := r.Begin(request(Item{Name: "late.txt", Volatile: true, Timeout: 10 * time.Second, Func: func(context.Context) ([]byte, error) {
		<-goOn
		return []byte("late\n"), nil
	}}))
	began := time.Now()
	c.Volatile(t.Context())
	close(goOn)
	c.After([]Item{{Name: "stuck", Func: stuckFIFO(t), Timeout: time.Minute}})
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	seal(t, c, Report{})
}

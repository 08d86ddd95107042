package evidence

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode().Perm()
}

// Bundles are their owner's alone, also in a folder that was open before; what an interrupted sealing left goes.
func TestFolderAndModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "odd [name]*")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, tempPrefix+"123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, func(o *Options) { o.Dir = dir })
	s, _ := capture(t, r)
	if mode(t, dir) != 0o700 || mode(t, s.Path) != 0o600 {
		t.Errorf("modes %v and %v", mode(t, dir), mode(t, s.Path))
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the half-written bundle is still there")
	}
	if names := ls(t, dir); len(names) != 1 || names[0] != "20261124-031209-web1-p1.zip" {
		t.Errorf("the folder holds %q", names)
	}
}

func ls(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Somebody removes the folder while evidence is taken: it is made again.
func TestFolderVanished(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	if err := os.RemoveAll(r.o.Dir); err != nil {
		t.Fatal(err)
	}
	c := r.Begin(request(Item{Name: "x", Data: []byte("x")}))
	if s, _ := seal(t, c, Report{}); mode(t, filepath.Dir(s.Path)) != 0o700 {
		t.Error("the folder is open")
	}
}

// Two captures of one incident at once, and many of others: each gets a bundle of its own, none replaces another.
func TestCapturesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	paths := map[string]string{}
	for n := range 12 {
		wg.Go(func() {
			q := request(Item{Name: "who", Data: []byte(fmt.Sprint(n)), Volatile: true})
			if n > 1 {
				q.Incident = fmt.Sprintf("incident-%d", n/2)
			}
			c := r.Begin(q)
			c.Volatile(t.Context())
			s, err := c.Seal(t.Context(), Report{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || paths[s.Path] != "" {
				t.Errorf("%d: %+v, %v, had %q", n, s, err, paths[s.Path])
			}
			paths[s.Path] = fmt.Sprint(n)
		})
	}
	wg.Wait()
	for path, who := range paths {
		if got := string(content(t, path, "before/who.txt")); got != who {
			t.Errorf("%s holds %q, sealed was %q", path, got, who)
		}
	}
}

// A sealed part is never changed: the same part again becomes the next one, inside and outside.
func TestSealedPartIsNeverReplaced(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	first, _ := capture(t, r, Item{Name: "x", Data: []byte("first")})
	second, m := capture(t, r, Item{Name: "x", Data: []byte("second")})
	if first.Part != 1 || second.Part != 2 || m.Part != 2 || string(content(t, first.Path, "before/x.txt")) != "first" {
		t.Errorf("%+v, %+v", first, second)
	}
	if err := writeNew(first.Path, []byte("x")); err == nil {
		t.Error("a bundle was replaced")
	}
	if names := ls(t, r.o.Dir); len(names) != 2 {
		t.Errorf("left behind: %q", names)
	}
}

// A full disk is named, leaves nothing half-written, and costs no evidence: there is room again, and Seal works.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root")
	dir := t.TempDir()
	if err := unix.Mount("evidence-test", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := newRecorder(t, func(o *Options) { o.Dir = dir })
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	c := r.Begin(request(Item{Name: "noise", Data: noise}))
	_, err := c.Seal(t.Context(), Report{})
	if err == nil || !strings.Contains(err.Error(), "no space left on device: free some space") {
		t.Fatalf("a full disk: %v", err)
	}
	if names := ls(t, dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
	if err := unix.Mount("evidence-test", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Seal(t.Context(), Report{}); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Fatalf("a read-only disk: %v", err)
	}
	if err := unix.Mount("evidence-test", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	s, _ := seal(t, c, Report{})
	if !bytes.Equal(content(t, s.Path, "before/noise.txt"), noise) {
		t.Error("what was taken is not in the bundle")
	}
	if _, err := c.Seal(t.Context(), Report{}); err == nil {
		t.Error("it was sealed twice")
	}
}

// The bundle stays within its bound: what can be taken again goes first, what was tried last, and all of it is said.
func TestBundleBound(t *testing.T) {
	t.Parallel()
	const limit = 200 << 10
	r := newRecorder(t, func(o *Options) { o.MaxBytes = limit })
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return b
	}
	c := r.Begin(request(
		Item{Name: "first", Data: noise(60 << 10)}, Item{Name: "small", Data: []byte("small")}, Item{Name: "second", Data: noise(250 << 10)}))
	c.Add("tried", "", noise(40<<10))
	c.After([]Item{{Name: "third", Data: noise(250 << 10)}})
	s, m := seal(t, c, Report{})
	if s.Size > limit {
		t.Errorf("the bundle has %d bytes, its bound is %d", s.Size, limit)
	}
	for file, want := range map[string]string{
		"after/third.txt": "KiB of 250 KiB: the first part is kept (the bundle may have 200 KiB)", "before/second.txt": "KiB of 250 KiB",
		"before/first.txt": "", "before/small.txt": "", "action/tried.txt": "",
	} {
		if rec := m.record(t, file); !strings.Contains(rec.Cut, want) || (want == "") != (rec.Cut == "") {
			t.Errorf("%s: %q, want %q", file, rec.Cut, want)
		}
	}
	r.o.MaxBytes = 20 << 10
	c = r.Begin(request(Item{Name: "a", Data: noise(15 << 10)}, Item{Name: "b", Data: noise(15 << 10)}))
	c.Add("tried", "", noise(8<<10))
	s, m = seal(t, c, Report{})
	if s.Size > 20<<10 || !strings.Contains(m.missing("before/b.txt"), "left out") || m.record(t, "action/tried.txt").Cut != "" {
		t.Errorf("%d bytes; %+v", s.Size, m)
	}
}

// The same members give the same bytes, whatever the machine does meanwhile.
func TestArchiveIsDeterministic(t *testing.T) {
	t.Parallel()
	_, names, files := sealedFiles(t)
	var made [2][]byte
	for i := range made {
		p, err := newPacker(DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		var members []*member
		for _, n := range names {
			m := &member{rec: Record{File: n}, data: files[n]}
			if err := m.pack(p); err != nil {
				t.Fatal(err)
			}
			members = append(members, m)
		}
		if made[i], err = writeZip(members, time.Date(2026, 11, 24, 4, 12, 8, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two archives of the same differ")
	}
}

// A case that came to nothing keeps nothing, and what still runs for it is ended.
func TestDrop(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	started, ended := make(chan struct{}), make(chan struct{})
	c := r.Begin(request(Item{Name: "waits", Timeout: time.Minute, Func: func(ctx context.Context) ([]byte, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}))
	<-started
	c.Drop()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
	c.Add("x", "", nil)
	c.After([]Item{{Name: "y", Data: []byte("y")}})
	if _, err := c.Seal(t.Context(), Report{}); err == nil || !strings.Contains(err.Error(), "sealed or dropped") {
		t.Errorf("it was sealed: %v", err)
	}
	if names := ls(t, r.o.Dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// What is still under way when the caller will wait no longer is named, and the rest is sealed.
func TestSealDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	c := r.Begin(request(Item{Name: "slow", Func: stuckFIFO(t), Timeout: time.Minute}, Item{Name: "good", Data: []byte("x")}))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s, err := c.Seal(ctx, Report{})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(content(t, s.Path, ManifestName)); !strings.Contains(text, "still under way when the bundle was sealed") {
		t.Error(text)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	r := newRecorder(t, func(o *Options) { o.Registerer = reg })
	capture(t, r, Item{Name: "a", Data: []byte("a")}, Item{Name: "b"}, Item{Name: "c", Data: make([]byte, 10), Max: 1},
		Item{Name: "d", Argv: []string{"sleep", "60"}, Timeout: 20 * time.Millisecond})
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	for outcome, want := range map[string]float64{outcomeTaken: 1, outcomeFailed: 1, outcomeCut: 1, outcomeLate: 1} {
		if got := testutil.ToFloat64(r.metrics.items.WithLabelValues(outcome)); got != want {
			t.Errorf("%s: %v, want %v", outcome, got, want)
		}
	}
	if _, err := New(Options{Dir: t.TempDir(), Runner: r.o.Runner, Tuning: Tuning{Level: 12}}); err == nil {
		t.Error("level 12 was taken")
	}
}

// A graceful restart asks twice, before the stop and before the start that follows it some seconds later: evidence held it
// up once, and what came in between the two is late.
func TestTheHoldIsMeasuredOnce(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	r := newRecorder(t, func(o *Options) { o.Registerer, o.Tuning.Budget.Before = reg, 20*time.Millisecond })
	release := make(chan struct{})
	slow := Item{Name: "slow", Volatile: true, Func: func(context.Context) ([]byte, error) { <-release; return []byte("x"), nil }}
	c := r.Begin(request(slow))
	c.Volatile(t.Context())
	first := c.released
	close(release)
	c.After(nil)
	<-c.volatile
	c.Volatile(t.Context())
	if !c.released.Equal(first) {
		t.Errorf("the action was let go at %s, and again at %s", first, c.released)
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if h := m.GetMetric()[0].GetHistogram(); m.GetName() == "atalaya_evidence_hold_seconds" && h.GetSampleCount() != 1 {
			t.Errorf("%d holds, %v s in all", h.GetSampleCount(), h.GetSampleSum())
		}
	}
	_, m := seal(t, c, Report{})
	if note := m.record(t, "before/slow.txt").Note; !strings.Contains(note, "the action had begun") {
		t.Errorf("note: %q", note)
	}
}

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// need says what is absent: a person's laptop skips, CI fails.
func need(t *testing.T, tools ...string) {
	t.Helper()
	absent := ""
	if os.Geteuid() != 0 {
		absent = "root"
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			absent = tool
		}
	}
	switch {
	case absent == "":
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s", absent)
	default:
		t.Skipf("this test needs %s", absent)
	}
}

func mount(t *testing.T, source, fstype, options string, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(source, dir, fstype, flags, options); err != nil {
		t.Fatalf("mount %s: %v", fstype, err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill leaves no byte free and gives what makes room again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	f.Close()
	return func() { os.Remove(path) }
}

func notesOf(t *testing.T, s *store.Store, id string) (texts []string) {
	t.Helper()
	_, notes, err := s.Incident(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		texts = append(texts, n.Text)
	}
	return texts
}

// numbered is a batch that tells whether it arrived, and how often.
func numbered(n int) store.Batch {
	i := incident(0, web1)
	i.Attempts = n
	return store.Batch{At: epoch.Add(time.Duration(n) * time.Second), States: []health.State{state(web1, fmt.Sprint(n))}, Incidents: []health.Incident{i},
		Notes:  []store.Note{{Ref: web1, Incident: i.ID, At: epoch.Add(time.Duration(n) * time.Second), Kind: "n", Text: fmt.Sprint(n)}},
		Alerts: []store.Queued{queued("ops", i, n, health.AlertUpdate, epoch)}}
}

func everythingOnce(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var want []string
	for k := range n {
		want = append(want, fmt.Sprint(k))
	}
	if got := notesOf(t, s, incident(0, web1).ID); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("notes %v, want each of %v once and in order", got, want)
	}
	out, err := s.Outbox(t.Context(), true)
	if err != nil || len(out) != n {
		t.Errorf("%d alerts, want %d (%v)", len(out), n, err)
	}
	for k, d := range out {
		if d.Alert.Seq != k {
			t.Fatalf("alert %d stands at place %d of its line", d.Alert.Seq, k)
		}
	}
	l := load(t, s)
	if len(l.States) != 1 || l.States[0].Why != fmt.Sprint(n-1) || len(l.Open) != 1 || l.Open[0].Attempts != n-1 || !l.LastAt.Equal(epoch.Add(time.Duration(n-1)*time.Second)) {
		t.Errorf("memory and disk differ after batch %d: %+v", n-1, l)
	}
}

func TestFullDisk(t *testing.T) {
	need(t)
	dir := mount(t, "tmpfs", "tmpfs", "size=8m,mode=0700", 0)
	var log bytes.Buffer
	s, _ := open(t, store.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	commit(t, s, numbered(0))
	free := fill(t, dir)
	n, failures := 1, 0
	for ; failures < 5; n++ {
		if n > 2000 {
			t.Fatal("the disk never became full")
		}
		b := numbered(n)
		b.Notes[0].Data = fmt.Appendf(nil, "%q", strings.Repeat("x", 2000))
		err := s.Commit(t.Context(), b)
		if err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatalf("batch %d: %v", n, err)
		}
		if err != nil {
			failures++
		}
	}
	if err := s.Health(); !errors.Is(err, store.ErrFull) {
		t.Errorf("health: %v", err)
	}
	if c := strings.Count(log.String(), "level=ERROR"); c != 2 {
		t.Errorf("said %d times that the disk is full (the reserve; what is owed):\n%s", c, log.String())
	}
	if n < 10 {
		t.Errorf("the reserve lasted for %d batches", n)
	}
	if _, err := s.Load(t.Context()); err != nil {
		t.Errorf("reading from a full disk: %v", err)
	}
	free()
	commit(t, s, store.Batch{})
	if err := s.Health(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	everythingOnce(t, s, n)
}

func TestFullDiskAtTheStart(t *testing.T) {
	need(t)
	dir := mount(t, "tmpfs", "tmpfs", "size=1m,mode=0700", 0)
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, numbered(0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	free := fill(t, dir)
	s, r := open(t, store.Options{Dir: dir})
	if r.Fresh || !r.Orderly {
		t.Fatalf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, "ballast")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it opened without its reserve: %v", err)
	}
	if l := load(t, s); len(l.States) != 1 {
		t.Errorf("loaded %+v", l)
	}
	free()
	commit(t, s, numbered(1))
	everythingOnce(t, s, 2)

	none := mount(t, "tmpfs", "tmpfs", "size=64k,mode=0700", 0)
	fill(t, none)
	if _, _, err := store.Open(store.Options{Dir: none}); err == nil || !strings.Contains(err.Error(), "space") {
		t.Errorf("a first install on a full disk: %v", err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	need(t)
	dir := mount(t, "tmpfs", "tmpfs", "size=4m,mode=0700", 0)
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, numbered(0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Open(store.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "read-only file system") || !strings.Contains(err.Error(), dir) {
		t.Errorf("an agent on a read-only disk: %v", err)
	}
	ro, err := store.OpenReadOnly(dir)
	if err != nil {
		t.Fatalf("reading a read-only disk: %v", err)
	}
	defer ro.Close()
	everythingOnce(t, ro, 1)
}

// A disk under a frozen file system answers nothing at all, to nobody, until it is thawed.
func TestStalledDisk(t *testing.T) {
	need(t, "mkfs.ext4", "fsfreeze", "mount", "umount")
	img, dir := filepath.Join(t.TempDir(), "img"), t.TempDir()
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 64<<20); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", img)
	run("mount", "-o", "loop", img, dir)
	thaw := func() { exec.Command("fsfreeze", "-u", dir).Run() }
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	state := filepath.Join(dir, "state")
	s, _ := open(t, store.Options{Dir: state, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(thaw) // before the store is closed
	commit(t, s, numbered(0))
	out, err := s.Outbox(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}

	run("fsfreeze", "-f", dir)
	within := func(what string, limit time.Duration, f func() error) {
		t.Helper()
		began := time.Now()
		if err := f(); !errors.Is(err, store.ErrStalled) {
			t.Fatalf("%s on a stalled disk: %v", what, err)
		}
		if took := time.Since(began); took > limit {
			t.Fatalf("%s took %v", what, took) // at once: while the disk is frozen, a test that times out leaves it frozen
		}
	}
	const given, slack = 700 * time.Millisecond, 2 * time.Second
	within("the first commit", given+slack, func() error { return s.Commit(background(t, given), numbered(1)) })
	n := 2
	for ; n < 300; n++ { // known to be stuck: nobody waits for it again
		within("a later commit", 500*time.Millisecond, func() error { return s.Commit(background(t, 5*time.Second), numbered(n)) })
	}
	within("a receipt", given+slack, func() error { return s.Sent(background(t, given), out[0].ID, epoch, "ok") })
	if err := s.Health(); !errors.Is(err, store.ErrStalled) {
		t.Errorf("health: %v", err)
	}
	runtime.GC() // a stuck system call must not hold up the world
	if l, err := s.Load(background(t, given)); err != nil && !errors.Is(err, store.ErrStalled) {
		t.Errorf("reading beside a stalled commit: %+v, %v", l, err)
	}
	within("opening another", given+slack, func() error {
		_, _, err := store.Open(store.Options{Dir: filepath.Join(dir, "other"), OpenWithin: given})
		return err
	})

	thaw()
	for deadline := time.Now().Add(20 * time.Second); s.Health() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after the thaw: %v", s.Health())
		}
	}
	commit(t, s, numbered(n))
	n++
	everythingOnce(t, s, n)
	if err := s.Advance(t.Context(), "none", 1, epoch); err != nil { // whatever was queued before is done after it
		t.Fatal(err)
	}
	if out, err := s.Outbox(t.Context(), false); err != nil || len(out) != n {
		t.Errorf("a receipt that was withdrawn took effect: %d undelivered of %d, %v", len(out), n, err)
	}
}

// smash overwrites part of a file.
func smash(t *testing.T, path string, at int64, size int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	garbage := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(garbage)
	if _, err := f.WriteAt(garbage, at); err != nil {
		t.Fatal(err)
	}
}

func TestCorruptDatabaseIsSetAside(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, db string){
		"header": func(t *testing.T, db string) { smash(t, db, 0, 100) },
		"pages":  func(t *testing.T, db string) { smash(t, db, 4096, 4*4096) },
		"cut":    func(t *testing.T, db string) { os.Truncate(db, 5000) },
		"text":   func(t *testing.T, db string) { os.WriteFile(db, []byte(strings.Repeat("hello\n", 5000)), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, store.Options{Dir: dir})
			for n := range 200 {
				commit(t, s, numbered(n))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			harm(t, filepath.Join(dir, "atalaya.db"))
			var log bytes.Buffer
			s, r := open(t, store.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if !r.Fresh || !strings.HasPrefix(r.SetAside, dir+"/atalaya-malformed-2") {
				t.Fatalf("%+v", r)
			}
			if _, err := os.Stat(r.SetAside); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), r.SetAside) {
				t.Errorf("not said loudly: %s", log.String())
			}
			if l := load(t, s); len(l.States) != 0 {
				t.Errorf("it is not new: %+v", l)
			}
			commit(t, s, numbered(0))
			everythingOnce(t, s, 1)
		})
	}
}

// damaged is a store whose file is damaged while it is open: all of it that is not in a cache, but for the first page.
func damaged(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, _ := open(t, store.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	for n := range 500 {
		commit(t, s, numbered(n))
	}
	checkpoint(t, dir) // nothing is left in the log
	db := filepath.Join(dir, "atalaya.db")
	fi, err := os.Stat(db)
	if err != nil {
		t.Fatal(err)
	}
	smash(t, db, 4096, int(fi.Size())-4096)
	return s
}

func TestCorruptLaterNoticedByAReader(t *testing.T) {
	dir := t.TempDir()
	s := damaged(t, dir)
	if _, err := s.Outbox(t.Context(), true); err == nil {
		t.Fatal("garbage was read as alerts")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if out, err := s.Outbox(t.Context(), true); err == nil && len(out) == 0 {
			break // it is set aside, and reading works again without anybody having written
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody acted on it")
		}
	}
	var lost *store.LostError
	if err := s.Commit(t.Context(), store.Batch{}); !errors.As(err, &lost) {
		t.Errorf("the next commit does not say so: %v", err)
	}
}

// The file is damaged while it is open: nothing is lost that the agent still holds.
func TestCorruptLater(t *testing.T) {
	dir := t.TempDir()
	s := damaged(t, dir)
	var lost *store.LostError
	for n := range 500 {
		i := incident(n+1, web2)
		err := s.Commit(t.Context(), store.Batch{At: epoch, Incidents: []health.Incident{i}, States: []health.State{state(health.Ref{Engine: "lxc", ID: i.ID}, "")}})
		if errors.As(err, &lost) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Runs(t.Context(), web1, epoch)
		s.Outbox(t.Context(), true) // a reader may be the first to notice
	}
	if lost == nil {
		t.Fatal("the damage was never noticed")
	}
	if _, err := os.Stat(lost.SetAside); err != nil {
		t.Error(err)
	}
	l := load(t, s)
	before := len(l.Open)
	commit(t, s, numbered(0)) // the agent's answer: everything it holds
	if l = load(t, s); len(l.Open) != before+1 {
		t.Errorf("the new database holds %d incidents, want %d", len(l.Open), before+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, r := open(t, store.Options{Dir: dir}); r.Fresh || !r.Orderly || r.SetAside != "" {
		t.Errorf("the next agent finds %+v", r)
	}
}

func TestANewerDatabaseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, numbered(0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execSQL(t, dir, "PRAGMA user_version = 4711")
	_, _, err := store.Open(store.Options{Dir: dir})
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "4711") {
		t.Fatal(err)
	}
	if aside, _ := filepath.Glob(dir + "/*malformed*"); len(aside) != 0 {
		t.Errorf("it was set aside: %v", aside)
	}
	execSQL(t, dir, "PRAGMA user_version = 2")
	s, _ = open(t, store.Options{Dir: dir})
	everythingOnce(t, s, 1)
}

func TestOneBadRowDoesNotKeepTheOthersFromBeingWatched(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, store.Options{Dir: dir})
	commit(t, s, store.Batch{States: []health.State{state(web1, "x"), state(web2, "y")}})
	s.Close()
	execSQL(t, dir, `UPDATE state SET doc = '{' WHERE ref = 'lxc/web1'`)
	s, _ = open(t, store.Options{Dir: dir})
	if l := load(t, s); len(l.States) != 1 || l.States[0].Ref != web2 {
		t.Errorf("loaded %+v", l)
	}
}

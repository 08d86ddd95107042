package hostexec

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// predecessor starts an agent of its own process that runs script as a changing command, waits until it is under way,
// and kills the agent.
func predecessor(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command(self(t), dir, string(PlaceDirect), "op/1", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=change")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "its command is on record", func() bool { rs := folder{dir}.list(); return len(rs) == 1 && rs[0].PID != 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// knowsEndings says whether this kernel tells how a process ended to others than its parent.
func knowsEndings(t *testing.T) bool {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := pidfdOpen(cmd.Process.Pid)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_ = cmd.Wait()
	_, ok := exitOf(fd)
	return ok
}

func TestSuccessorAwaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	predecessor(t, dir, "echo early; read x < "+fifo+"; echo late; echo err >&2; exit 9")

	h := New(Options{Dir: dir, Place: PlaceDirect})
	left := h.Unfinished()
	if len(left) != 1 || left[0].Op != start("op/1") || left[0].PID == 0 || time.Since(left[0].Started) > patience {
		t.Fatalf("unfinished: %+v", left)
	}
	if got := h.Change(t.Context(), start("op/1"), sh("true")); !strings.Contains(got.Failure, "still under way") {
		t.Errorf("the operation is done again: %+v", got)
	}
	write(t, fifo)
	got := h.Await(t.Context(), left[0])
	if string(got.Stdout) != "early\nlate\n" || string(got.Stderr) != "err\n" {
		t.Error(got.Text())
	}
	if want := knowsEndings(t); want && got.Exit != 9 || !want && (got.Exit != -1 || got.Failure != errNotChild.why) {
		t.Errorf("exit %d, kernel knows: %v, failure %q", got.Exit, want, got.Failure)
	}
	empty(t, dir)
}

// Killed between the start and the pid's being written down, an agent leaves nothing that its successor cannot find.
func TestSuccessorFindsWhatHasNoPid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t), dir, "op", "sh", "-c", "sleep 0.01; echo $$; read x < "+fifo)
	cmd.Env = append(os.Environ(), "HOSTEXEC_ROLE=half")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if rs := (folder{dir}).list(); len(rs) != 1 || rs[0].PID != 0 {
		t.Fatalf("records: %+v", rs)
	}
	h := New(Options{Dir: dir, Place: PlaceDirect})
	left := h.Unfinished()
	if len(left) != 1 || left[0].PID == 0 || !alive(left[0].PID, left[0].Start) {
		t.Fatalf("unfinished: %+v", left)
	}
	write(t, fifo)
	got := h.Await(t.Context(), left[0])
	var pid int
	if err := json.Unmarshal(got.Stdout, &pid); err != nil || pid != left[0].PID {
		t.Errorf("found %d, it was %s", left[0].PID, got.Stdout)
	}
	empty(t, dir)
}

// What no longer runs is taken off the record, whatever the record says.
func TestSuccessorDropsWhatIsGone(t *testing.T) {
	t.Parallel()
	us, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	good := newKept(start("1"), []string{"true"}).rec
	good.PID, good.Start = os.Getpid(), us.start
	for name, change := range map[string]func(r *record){
		"pid reused":        func(r *record) { r.Start++ },
		"before this boot":  func(r *record) { r.Boot = "another" },
		"never started":     func(r *record) { r.PID = 0 },
		"no such pid":       func(r *record) { r.PID = 1 << 22 },
		"of a later format": func(r *record) { r.Version++ },
		"half written":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := good
			if change != nil {
				change(&r)
			}
			outs, err := folder{dir}.begin(r)
			if err != nil {
				t.Fatal(err)
			}
			outs.close()
			if change == nil {
				if err := os.WriteFile(filepath.Join(dir, "1.json"), []byte(`{"version":1,"op`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if left := New(Options{Dir: dir, Place: PlaceDirect}).Unfinished(); len(left) != 0 {
				t.Errorf("unfinished: %+v", left)
			}
			empty(t, dir)
		})
	}
	t.Run("and keeps what is not", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		outs, err := folder{dir}.begin(good)
		if err != nil {
			t.Fatal(err)
		}
		outs.close()
		if left := New(Options{Dir: dir, Place: PlaceDirect}).Unfinished(); len(left) != 1 || left[0].PID != os.Getpid() {
			t.Errorf("unfinished: %+v", left)
		}
	})
}

package hostexec

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// frozen is a mounted file system on which every write sleeps until thaw is called. It is thawed and unmounted when the
// test ends, whatever happens.
func frozen(t *testing.T) (dir string, thaw func()) {
	t.Helper()
	need(t, "root", "mkfs.ext4", "fsfreeze", "losetup")
	image, dir := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "mnt")
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	run("truncate", "-s", "16M", image)
	run("mkfs.ext4", "-q", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", dir).Run() // fails when it is thawed already
		until(t, "unmounted", func() bool { return exec.Command("umount", dir).Run() == nil })
	})
	run("fsfreeze", "-f", dir)
	return dir, func() { t.Helper(); run("fsfreeze", "-u", dir) }
}

// A child that not even SIGKILL ends does not hold up its caller.
func TestChildInUninterruptibleSleep(t *testing.T) {
	t.Parallel()
	dir, thaw := frozen(t)
	registry := prometheus.NewPedanticRegistry()
	h := New(Options{Dir: t.TempDir(), Registerer: registry, Place: PlaceDirect})
	begun := time.Now()

	read := h.Read(t.Context(), Command{Argv: []string{"sh", "-c", "echo before; exec touch " + dir + "/a"}, Timeout: 300 * time.Millisecond})
	if !read.Abandoned || !read.TimedOut || read.Exit != -1 || string(read.Stdout) != "before\n" {
		t.Errorf("%+v", read)
	}
	change := h.Change(t.Context(), start("1"), Command{Argv: []string{"touch", dir + "/b"}, Timeout: 300 * time.Millisecond})
	if !change.Abandoned || !change.TimedOut || change.Exit != -1 {
		t.Errorf("%+v", change)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("the callers were kept for %v", took)
	}

	pids := func(list []Pending) (out []int) {
		for _, p := range list {
			out = append(out, p.PID)
		}
		return out
	}
	if got := pids(h.Stuck()); !slices.Equal(got, []int{read.PID, change.PID}) {
		t.Errorf("stuck: %v, want %d and %d", got, read.PID, change.PID)
	}
	if got := pids(h.Unfinished()); !slices.Equal(got, []int{change.PID}) {
		t.Errorf("unfinished: %v", got)
	}
	if got := gauge(t, registry, "atalaya_hostexec_stuck_commands"); got != 2 {
		t.Errorf("metric: %v", got)
	}

	thaw()
	until(t, "nothing is stuck any more", func() bool { return len(h.Stuck()) == 0 && len(h.Unfinished()) == 0 })
	until(t, "the abandoned child is reaped", func() bool { _, err := readStat(read.PID); return err != nil })
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %q", name)
	return 0
}

package bench

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// lab builds the lab's binary, which is the floor program too.
func lab(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "atalaya-lab")
	if out, err := exec.Command("go", "build", "-o", bin, "..").CombinedOutput(); err != nil {
		t.Fatalf("build the lab: %v\n%s", err, out)
	}
	return bin
}

// TestFloorHealsAndIsMeasured runs the floor's share of the benchmark on real containers.
func TestFloorHealsAndIsMeasured(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	var printed bytes.Buffer
	r := &run{Options: Options{Lab: lab(t), Out: &printed, Windows: 1, Window: time.Second}, lxc: rig.NewLXC(t, rig.LXCOptions{N: 3})}
	for _, name := range r.lxc.Names() {
		r.lxc.WaitHTTP(name, time.Minute)
	}

	kills, err := r.floorBlock(context.Background(), r.lxc.Names())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kills {
		if took := k.detected.Sub(k.at); took < 0 || took > 10*time.Second {
			t.Errorf("%s: detected %s after the kill", k.name, took)
		}
		if !k.back.After(k.detected) {
			t.Errorf("%s: served at %s, before its death was detected at %s", k.name, k.back, k.detected)
		}
	}
	r.printKills([]*contender{{name: "floor", kills: kills}})
	if !strings.Contains(printed.String(), "floor") || strings.Contains(printed.String(), "never said") {
		t.Errorf("printed:\n%s", printed.String())
	}
}

// TestCostCountsWaitedChildren burns CPU in a child and finds it in the parent's account.
func TestCostCountsWaitedChildren(t *testing.T) {
	t.Parallel()
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=64K", "count=40000").CombinedOutput()
	if err != nil {
		t.Fatalf("dd: %v\n%s", err, out)
	}
	after, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < 20*time.Millisecond {
		t.Errorf("a busy child added %s", after-before)
	}
	if rss, err := rssOf(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("RSS of this process: %d, %v", rss, err)
	}
}

// TestServedProbesAreCounted runs the floor against a loopback server and divides.
func TestServedProbesAreCounted(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "lxc", "busybox")
	s, err := serveHTTP("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	bin := lab(t)
	dir := t.TempDir()
	urls := filepath.Join(dir, "urls")
	if err := os.WriteFile(urls, []byte("http://"+s.addr+"/\nhttp://"+s.addr+"/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := launch(dir, "floor", bin, "floor", "--urls", urls, "--every", "100ms")
	if err != nil {
		t.Fatal(err)
	}
	p.drain()
	err = p.await(context.Background(), time.Minute, "six probes arrive", func() bool { return s.served.Load() >= 6 })
	if err != nil {
		t.Error(err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	s := sample{5, 1, 4, 2, 3}
	if s.median() != 3 || s.at(0.99) != 5 || s.at(0) != 1 {
		t.Errorf("median %v, p99 %v, p0 %v", s.median(), s.at(0.99), s.at(0))
	}
	if low, high := s.extremes(); low != 1 || high != 5 {
		t.Errorf("extremes %v, %v", low, high)
	}
	if (sample{}).median() != 0 || ratio(1, 0) != 0 {
		t.Error("an empty sample, or no floor, is not 0")
	}
}

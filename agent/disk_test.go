package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// mounted gives a folder of its own file system.
func mounted(t *testing.T, source, fstype, options string) string {
	t.Helper()
	rig.Require(t, "root")
	dir := t.TempDir()
	if err := unix.Mount(source, dir, fstype, 0, options); err != nil {
		t.Fatalf("mount a %s: %v", fstype, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// failing waits until the agent says that its store cannot be written, while orders make it try.
func (r *running) failing(words string, harm func()) {
	r.t.Helper()
	r.until("the store fails", func(v health.View) bool {
		harm()
		_, _ = r.agent.Order(context.Background(), "web3", false, health.Order{Kind: health.OrderUnwant, By: fmt.Sprint(time.Now())})
		return strings.HasPrefix(v.Store, "healing goes on from memory, one attempt per container: ") && strings.Contains(v.Store, words)
	})
}

// healsOnceFromMemory kills two containers: each is started once. One of them dies again and has to wait.
func (r *running) healsOnceFromMemory(t *testing.T, l *rig.LXC) {
	t.Helper()
	for _, name := range []string{"web1", "web2"} {
		kill9(t, l, name)
		r.up("lxc/" + name)
		l.WaitHTTP(name, patience)
	}
	kill9(t, l, "web1")
	c := r.phase("lxc/web1", health.Waiting)
	if want := "the store cannot be written, and one attempt was made already"; c.Why != want || c.Next != "attempt as soon as there is room" {
		t.Errorf("why: %q, next: %q", c.Why, c.Next)
	}
	r.always("it waits", 2*time.Second, func(v health.View) bool { return of(v, "lxc/web1").Phase == health.Waiting })
	if v := r.view(); of(v, "lxc/web3").Phase != health.Up {
		t.Errorf("%+v", of(v, "lxc/web3"))
	}
}

// recovered checks that nothing was lost and nothing is there twice.
func (r *running) recovered(t *testing.T, l *rig.LXC) {
	t.Helper()
	r.until("the store is well", func(v health.View) bool { return v.Store == "ok" })
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	l.WaitHTTP("web1", patience)
	r.resolved("lxc/web1", 2)
	r.resolved("lxc/web2", 1)
	r.alerted("lxc/web1", health.AlertOpen, health.AlertResolved, health.AlertOpen, health.AlertResolved)
	r.alerted("lxc/web2", health.AlertOpen, health.AlertResolved)
	r.until("all six are delivered", func(health.View) bool {
		b, _ := os.ReadFile(filepath.Join(r.plan.Dir, "alerts.jsonl"))
		return strings.Count(string(b), `"schema":"`+health.AlertSchema) == 6
	})
	r.until("none is left", func(health.View) bool {
		out, err := r.store.Outbox(t.Context(), false)
		return err == nil && len(out) == 0
	})
}

// A full disk does not keep a customer down.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 3})
	p := planFor(t, l)
	disk := mounted(t, "tmpfs", "tmpfs", "size=2m,mode=0700")
	p.State = filepath.Join(disk, "not", "there", "yet")
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	filler := fill(t, disk)
	r.failing("the disk under the store is full: free some space", func() {})
	r.healsOnceFromMemory(t, l)
	filler.stop()
	r.recovered(t, l)
}

// A filling takes every byte of a disk, also those that the store gives back to it: a log made shorter, a reserve thrown
// overboard.
type filling struct {
	dir   string
	end   chan struct{}
	ended sync.WaitGroup
}

func fill(t *testing.T, dir string) *filling {
	f := &filling{dir: dir, end: make(chan struct{})}
	f.ended.Go(func() {
		for n := 0; ; n++ {
			if err := os.WriteFile(f.path(n), make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("fill the disk: %v", err)
				return
			}
			if info, err := os.Stat(f.path(n)); err == nil && info.Size() == 0 {
				n-- // nothing was free
			}
			select {
			case <-f.end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	return f
}

func (f *filling) path(n int) string { return filepath.Join(f.dir, fmt.Sprintf("filler%d", n)) }

// stop gives the room back.
func (f *filling) stop() {
	close(f.end)
	f.ended.Wait()
	found, _ := filepath.Glob(f.path(0)[:len(f.path(0))-1] + "*")
	for _, path := range found {
		_ = os.Remove(path)
	}
}

// A disk that does not answer holds nobody up: not the loop, not the healing. When it answers again, everything that
// happened is on it once.
func TestAStalledDisk(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "mkfs.ext4", "fsfreeze", "losetup")
	l := newRig(t, rig.LXCOptions{N: 3})
	p := planFor(t, l)
	disk := loopDisk(t)
	p.State = filepath.Join(disk, "state")
	r := p.start(t)
	freeze, thaw := freezer(t, disk) // thawed before the agent ends
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	freeze()
	r.failing("the disk under the store does not answer", func() {})
	r.healsOnceFromMemory(t, l)
	if err := r.agent.Alive(5 * time.Second); err != nil {
		t.Error(err)
	}
	thaw()
	r.recovered(t, l)
}

// Who stopped a container is seen at its death, also when the commit of that death takes its full second: whoever stops is
// gone by then.
func TestAPersonStopsWhileTheDiskStalls(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "mkfs.ext4", "fsfreeze", "losetup")
	l := newRig(t, rig.LXCOptions{N: 1})
	p := planFor(t, l)
	disk := loopDisk(t)
	p.State = filepath.Join(disk, "state")
	r := p.start(t)
	freeze, thaw := freezer(t, disk)
	r.up("lxc/web1")
	freeze()
	if out, err := exec.Command("lxc-stop", "-k", "-P", l.Path(), "web1").CombinedOutput(); err != nil {
		t.Fatalf("lxc-stop: %v: %s", err, out)
	}
	c := r.phase("lxc/web1", health.Off)
	if !strings.HasPrefix(c.Why, "stopped on purpose by 'lxc-stop ") {
		t.Errorf("why: %q", c.Why)
	}
	thaw()
	r.lists()
	r.phase("lxc/web1", health.Off)
	r.untouched("lxc/web1")
}

// freezer gives what freezes a disk and thaws it. It is thawed at the end of the test, and also if the test is killed.
func freezer(t *testing.T, disk string) (freeze, thaw func()) {
	t.Helper()
	thaw = func() { _ = exec.Command("fsfreeze", "-u", disk).Run() } // it may be thawed already
	t.Cleanup(thaw)
	guard := exec.Command(os.Args[0])
	guard.Env = append(os.Environ(), thawEnv+"="+disk)
	in, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = guard.Wait() })
	return func() {
		t.Helper()
		if out, err := exec.Command("fsfreeze", "-f", disk).CombinedOutput(); err != nil {
			t.Fatalf("fsfreeze: %v: %s", err, out)
		}
	}, thaw
}

// loopDisk is an ext4 of its own, mounted.
func loopDisk(t *testing.T) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "img")
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, 64<<20)); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", img}, {"mount", "-o", "loop,errors=remount-ro", img, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// A file system that turns read-only under the agent, as ext4 does at an error of its disk.
func TestADiskThatTurnsReadOnly(t *testing.T) {
	t.Parallel()
	rig.Require(t, "root", "mkfs.ext4", "mount")
	l := newRig(t, rig.LXCOptions{N: 3})
	p := planFor(t, l)
	disk := loopDisk(t)
	p.State = filepath.Join(disk, "state")
	trigger := filepath.Join("/sys/fs/ext4", loopOf(t, disk), "trigger_fs_error")
	r := p.start(t)
	r.brokenDisk = true
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	if err := os.WriteFile(trigger, []byte("atalaya's test"), 0); err != nil {
		t.Fatal(err)
	}
	r.failing("", func() {})
	t.Logf("it says: %s", r.view().Store)
	r.healsOnceFromMemory(t, l)
}

// loopOf is the name of the device behind a mount.
func loopOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 8 && f[4] == dir {
			return filepath.Base(f[len(f)-2])
		}
	}
	t.Fatalf("%s is not mounted", dir)
	return ""
}

// A database that is no database any more is set aside, loudly, and the agent starts as at a first install.
func TestACorruptDatabaseAtTheStart(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	r.stop()
	smash(t, filepath.Join(p.state(), "atalaya.db"))
	kill9(t, l, "web1")
	r = p.start(t)
	if !r.opened.Fresh || !strings.HasPrefix(filepath.Base(r.opened.SetAside), "atalaya-malformed-"+time.Now().UTC().Format("2006")) {
		t.Errorf("opened: %+v", r.opened)
	}
	if _, err := os.Stat(r.opened.SetAside); err != nil {
		t.Error(err)
	}
	if n := r.log.count(`level=ERROR msg="store: the database was malformed: it is set aside and the agent starts as at a first install"`); n != 1 {
		t.Errorf("said %d times", n)
	}
	r.up("lxc/web2")
	r.lists()
	if c := of(r.view(), "lxc/web1"); c.Phase != health.New || l.State("web1") != "STOPPED" {
		t.Errorf("%+v", c)
	}
	kill9(t, l, "web2")
	r.resolved("lxc/web2", 1)
}

// A database that turns out to be malformed while it is used: what is in memory goes into a new one, so an open incident
// is not lost.
func TestACorruptDatabaseLater(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 2})
	p := planFor(t, l)
	p.Policy.Attempts, p.Policy.RetryMin = 2, time.Hour
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2")
	l.DeleteBridge()
	kill9(t, l, "web1")
	r.phase("lxc/web1", health.Exhausted)
	id := of(r.view(), "lxc/web1").Incident
	smash(t, filepath.Join(p.state(), "atalaya.db"))
	smash(t, filepath.Join(p.state(), "atalaya.db-wal"))
	const said = `level=ERROR msg="store: the database was malformed while in use: it is set aside and a new one is begun"`
	r.until("it is set aside", func(health.View) bool {
		r.order("web2", health.Order{Kind: health.OrderUnwant, By: time.Now().String()})
		_, _ = r.store.Load(t.Context())
		return r.log.count(said) == 1
	})
	r.until("both are in the new one", func(health.View) bool { s, err := r.store.Load(t.Context()); return err == nil && len(s.States) == 2 })
	r.stop()
	r = p.start(t)
	r.phase("lxc/web1", health.Exhausted)
	l.RestoreBridge()
	if in := r.resolved("lxc/web1", 1)[0]; in.ID != id {
		t.Errorf("incident: %+v, it was %s", in, id)
	}
}

// smash overwrites all but the first page of a file.
func smash(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := info.Size() - 4096; n > 0 {
		if _, err := f.WriteAt([]byte(strings.Repeat("smashed!", int(n/8))), 4096); err != nil {
			t.Fatal(err)
		}
	}
}

package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// What is well says nothing; each thing that is not is said in a sentence, and is over only when it is clearly better.
func TestStrain(t *testing.T) {
	t.Parallel()
	well := reading{at: time.Unix(1e9, 0), total: 8 << 30, available: 4 << 30, connsMax: 1000, conns: 10,
		disks: []diskUse{{at: "/", freeBytes: 50 << 30, free: 40, freeInodes: 90, wasOpen: true}}}
	if s := judgeStrain(well, Strain{}); len(s.Faults) != 0 || s.Choking != "" {
		t.Errorf("well: %+v", s)
	}
	for want, c := range map[string]struct {
		edit, half func(*reading) // what makes it so, and what is better, yet not well
	}{
		"the host's memory is exhausted": {
			func(r *reading) { r.available, r.memory.avg10 = 100<<20, 12 }, func(r *reading) { r.available, r.memory.avg10 = 100<<20, 8 }},
		"the kernel is killing processes for want of memory": {func(r *reading) { r.oomAt = r.at.Add(-30 * time.Second) }, nil},
		"the host's disks do not keep up: all that reads or writes stalls": {
			func(r *reading) { r.io = pressure{85, 50} }, func(r *reading) { r.io = pressure{60, 30} }},
		"the table of tracked connections is full: new ones are dropped": {func(r *reading) { r.conns = 990 }, func(r *reading) { r.conns = 950 }},
		"the file system / is full":                                      {func(r *reading) { r.disks[0].free, r.disks[0].freeBytes = 0.1, 1<<20 }, func(r *reading) { r.disks[0].free, r.disks[0].freeBytes = 0.6, 1<<20 }},
		"the file system / has no inodes left":                           {func(r *reading) { r.disks[0].freeInodes = 0 }, nil},
		"the file system / has become read-only":                         {func(r *reading) { r.disks[0].readOnly = true }, nil},
	} {
		bad := well
		bad.disks = slices.Clone(well.disks)
		c.edit(&bad)
		s := judgeStrain(bad, Strain{})
		if !slices.Equal(s.Faults, []string{want}) {
			t.Errorf("%q: %+v", want, s)
		}
		if c.half != nil {
			half := well
			half.disks = slices.Clone(well.disks)
			c.half(&half)
			if again := judgeStrain(half, s); !slices.Equal(again.Faults, []string{want}) {
				t.Errorf("%q is over too soon: %+v", want, again)
			}
			if fresh := judgeStrain(half, Strain{}); len(fresh.Faults) != 0 {
				t.Errorf("%q is said too soon: %+v", want, fresh)
			}
		}
		if s := judgeStrain(well, s); len(s.Faults) != 0 {
			t.Errorf("%q does not end: %+v", want, s)
		}
	}
	if s := judgeStrain(reading{}, Strain{}); len(s.Faults) != 0 || s.Choking != "" {
		t.Errorf("nothing could be read: %+v", s)
	}
}

func TestPressureAndMounts(t *testing.T) {
	t.Parallel()
	if p := parsePressure("some avg10=99.00 avg60=1.00 avg300=0.06 total=267846349\nfull avg10=12.34 avg60=5.60 avg300=0.02 total=61085376\n"); p != (pressure{12.34, 5.6}) {
		t.Errorf("%+v", p)
	}
	if p := parsePressure("full avg10=x avg60=1e9 nonsense"); p != (pressure{}) {
		t.Errorf("%+v", p)
	}
	mounts := parseMounts(`22 27 0:21 / /proc rw,nosuid - proc proc rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
35 27 254:2 / /var/lib/my\040disk ro,relatime - xfs /dev/vdb rw,attr2
36 27 0:40 / /srv rw - nfs4 server:/srv ro,vers=4
`)
	if m, ok := mountOf(mounts, "/var/lib/my disk/x"); !ok || m.at != "/var/lib/my disk" || m.readOnly || m.kind != "xfs" {
		t.Errorf("%+v: a mount that is read-only is no file system that is", m)
	}
	if m, ok := mountOf(mounts, "/var/library"); !ok || m.at != "/" {
		t.Errorf("%+v", m)
	}
	if m, _ := mountOf(mounts, "/srv/x"); m.local() || !m.readOnly {
		t.Errorf("%+v", m)
	}
}

// A file system that really fills up is said to be full, and no more when there is room again.
func TestAFullDisk(t *testing.T) {
	rig.Require(t, "root")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=64"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	g := newGauge("/")
	g.dirs = []string{dir}
	take := func() string {
		g.take(context.Background(), time.Now())
		return strings.Join(g.now().Faults, "; ")
	}
	if s := take(); s != "" {
		t.Fatalf("at first: %s", s)
	}
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("it does not fill up")
	}
	if s := take(); s != "the file system "+dir+" is full" {
		t.Errorf("full: %q", s)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if s := take(); s != "" {
		t.Errorf("emptied: %q", s)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if s := take(); s != "the file system "+dir+" has become read-only" {
		t.Errorf("read-only: %q", s)
	}
}

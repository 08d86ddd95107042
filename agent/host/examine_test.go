package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

func TestJudgements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		got  health.Finding
		want health.Grade
	}{
		{"root", judgeUser(0), health.GradeOK},
		{"somebody", judgeUser(1000), health.GradeStop},
		{"an agent", judgeAgent(7), health.GradeOK},
		{"no agent", judgeAgent(0), health.GradeNote},
		{"a service, v2", judgeUnit("0::/system.slice/atalaya.service"), health.GradeOK},
		{"a service, hybrid", judgeUnit("9:name=systemd:/system.slice/atalaya.service\n5:memory:/x\n0::/system.slice/other.scope"), health.GradeOK},
		{"a login", judgeUnit("0::/user.slice/user-0.slice/session-3.scope"), health.GradeWarn},
		{"nowhere", judgeUnit(""), health.GradeNote},
		{"a container", judgeUnit("0::/lxc.payload.web1"), health.GradeNote},
		{"synchronised", judgeClock(unix.TIME_OK, 0, nil), health.GradeOK},
		{"not synchronised", judgeClock(unix.TIME_ERROR, 0, nil), health.GradeWarn},
		{"not synchronised, by its status", judgeClock(unix.TIME_OK, unix.STA_UNSYNC, nil), health.GradeWarn},
		{"no answer", judgeClock(0, 0, unix.EPERM), health.GradeNote},
		{"v2", judgeCgroups(nil, true, false), health.GradeOK},
		{"hybrid", judgeCgroups(nil, false, true), health.GradeOK},
		{"v1", judgeCgroups(nil, false, false), health.GradeNote},
		{"no cgroups", judgeCgroups(errors.New("no"), false, false), health.GradeWarn},
		{"pings for all", judgePing("0\t2147483647", 5, false), health.GradeOK},
		{"pings for nobody, as root", judgePing("1\t0", 0, true), health.GradeOK},
		{"pings for nobody", judgePing("1\t0", 0, false), health.GradeWarn},
		{"pings for others", judgePing("100 200", 99, false), health.GradeWarn},
		{"no such setting", judgePing("", 0, false), health.GradeWarn},
		{"many files", judgeFiles(524288), health.GradeOK},
		{"few files", judgeFiles(1024), health.GradeWarn},
		{"systemd", judgeManager(true), health.GradeOK},
		{"no systemd", judgeManager(false), health.GradeNote},
	} {
		whole(t, c.name, c.got, c.want)
	}
}

func whole(t *testing.T, name string, f health.Finding, want health.Grade) {
	t.Helper()
	if f.Grade != want || f.Check == "" || f.What == "" {
		t.Errorf("%s: %+v, want %s", name, f, want)
	}
	if f.Grade != health.GradeOK && (f.Why == "" || f.Do == "") {
		t.Errorf("%s: does not say why it matters and what to do: %+v", name, f)
	}
}

func TestJudgeDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		usage        disk.UsageStat
		room, inodes health.Grade
	}{
		{"room", disk.UsageStat{Free: 9 << 30, UsedPercent: 50, InodesTotal: 1e6, InodesFree: 5e5}, health.GradeOK, health.GradeOK},
		{"no bytes", disk.UsageStat{Free: 100 << 20, UsedPercent: 10, InodesTotal: 1e6, InodesFree: 5e5}, health.GradeWarn, health.GradeOK},
		{"no share", disk.UsageStat{Free: 9 << 30, UsedPercent: 99, InodesTotal: 1e6, InodesFree: 5e5}, health.GradeWarn, health.GradeOK},
		{"no inodes", disk.UsageStat{Free: 9 << 30, UsedPercent: 50, InodesTotal: 1e6, InodesFree: 5}, health.GradeOK, health.GradeWarn},
		{"btrfs", disk.UsageStat{Free: 9 << 30, UsedPercent: 50}, health.GradeOK, ""},
	} {
		got := judgeDisk("/var/lib/atalaya", &c.usage)
		whole(t, c.name, got[0], c.room)
		if c.inodes != "" {
			whole(t, c.name, got[1], c.inodes)
		} else if len(got) != 1 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestExamineState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for path, mode := range map[string]os.FileMode{open: 0o755, closed: 0o700} {
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]health.Grade{
		closed: health.GradeOK, open: health.GradeWarn, file: health.GradeWarn, file + "/below": health.GradeWarn, dir + "/absent": health.GradeNote,
	} {
		whole(t, path, examineState(path)[0], want)
	}
}

// On whatever machine this runs, every check is made, once, and says all that it has to.
func TestExamine(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Examine(t.Context(), Patient{StateDir: filepath.Join(t.TempDir(), "a/b"), Agent: os.Getpid()}) {
		if seen[f.Check] {
			t.Errorf("%s twice", f.Check)
		}
		seen[f.Check] = true
		whole(t, f.Check, f, f.Grade)
	}
	for _, want := range []string{"user", "agent", "control group", "state folder", "disk", "clock", "cgroups", "ping_group_range", "nofile", "systemd"} {
		if !seen[want] {
			t.Errorf("%s was not looked at", want)
		}
	}
}

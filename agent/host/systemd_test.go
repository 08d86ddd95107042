package host

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

const helperPath = "/root/host.test" // in the host

// tower is a host with systemd, LXC's own service and one container, and the helper in it.
func tower(t *testing.T) *rig.Systemd {
	t.Helper()
	rig.Require(t, "root", "lxc", "busybox", "debootstrap")
	s := rig.NewSystemd(t, rig.SystemdOptions{N: 1, LXCService: true})
	self, err := os.Executable()
	must(t, err)
	s.CopyIn(self, helperPath)
	return s
}

// reporter starts a helper in a unit of its own, by a name that is also that of its report.
func reporter(t *testing.T, s *rig.Systemd, name, init string) {
	t.Helper()
	s.MustExec("systemd-run", "--quiet", "--unit="+name, "-p", "TimeoutStopSec=30",
		"-E", helperEnv+"=report", "-E", "REPORT=/root/"+name, "-E", "INIT="+init, helperPath)
	want := "start"
	if init != "" {
		want = "holding"
	}
	await(t, s, name, func(l line) bool { return l.Event == want })
}

// await waits for a line of a report, and gives it with all lines so far.
func await(t *testing.T, s *rig.Systemd, name string, ok func(line) bool) (line, []line) {
	t.Helper()
	var found line
	var all []line
	if !poll(func() bool {
		all = lines(t, s, name)
		for _, l := range all {
			if ok(l) {
				found = l
				return true
			}
		}
		return false
	}) {
		t.Fatalf("no such line within a minute: %+v\n%s", all, s.Exec("journalctl", "-n", "50", "--no-pager", "-u", name).Stdout)
	}
	return found, all
}

func lines(t *testing.T, s *rig.Systemd, name string) (all []line) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Root(), "root", name))
	if err != nil {
		return nil
	}
	for each := range bytes.Lines(text) {
		var l line
		if json.Unmarshal(each, &l) == nil {
			all = append(all, l)
		}
	}
	return all
}

// TestSystemd goes through the days of a host: an ordinary death, a restart of the engine's service, a stop of it, a
// shutdown, a boot.
func TestSystemd(t *testing.T) {
	s := tower(t)
	web := s.Names()[0]

	t.Run("both ways say the same", func(t *testing.T) {
		s := s.With(t)
		out := strings.Split(s.MustExec("env", helperEnv+"=compare", helperPath), "\n")
		if len(out) < 3 || out[0] != out[1] || out[0] != "running active active inactive" {
			t.Fatalf("got %q", out)
		}
		t.Logf("Ask: %s", out[2])
	})
	t.Run("an ordinary death", func(t *testing.T) {
		s := s.With(t)
		_, init := s.GuestInit(web)
		reporter(t, s, "ordinary", itoa(init))
		s.Kill9(web)
		l, all := await(t, s, "ordinary", func(l line) bool { return l.Event == "death" })
		if want := (Word{Boot: l.Word.Boot}); l.Word != want || l.Cached != want || all[0].Word != want {
			t.Fatalf("got %+v", all)
		}
		t.Logf("asked within %v of the death", l.Took)
		s.WaitState(web, "STOPPED", time.Minute)
		s.MustExec("lxc-start", "-n", web)
	})
	t.Run("systemctl restart", func(t *testing.T) {
		s := s.With(t)
		_, init := s.GuestInit(web)
		reporter(t, s, "restart", itoa(init))
		s.MustExec("systemctl", "restart", lxcService)
		l, _ := await(t, s, "restart", func(l line) bool { return l.Event == "death" })
		want := Word{Boot: l.Word.Boot, Closed: "lxc.service is being restarted", Going: true}
		if l.Word != want || l.Cached != want {
			t.Fatalf("at the death: %+v", l)
		}
		t.Logf("asked within %v of the death", l.Took)
		await(t, s, "restart", func(l line) bool { return l.Event == "change" && l.Word == want })
		open, all := await(t, s, "restart", func(l line) bool { return l.Event == "change" && l.Word.Closed == "" })
		if open.Word.Going || open.Word.Booting {
			t.Fatalf("the end of the restart: %+v", all)
		}
	})
	t.Run("systemctl stop", func(t *testing.T) {
		s := s.With(t)
		reporter(t, s, "stop", "")
		s.MustExec("systemctl", "stop", lxcService)
		await(t, s, "stop", func(l line) bool {
			return !l.Word.Going && strings.HasPrefix(l.Word.Closed, "lxc.service was stopped at ") &&
				strings.HasSuffix(l.Word.Closed, " and has not been started again")
		})
		s.MustExec("systemctl", "daemon-reexec") // every connection is lost
		s.MustExec("systemctl", "start", lxcService)
		await(t, s, "stop", func(l line) bool { return l.Event == "change" && l.Word.Closed == "" })
	})
	t.Run("a scheduled shutdown", func(t *testing.T) {
		s := s.With(t)
		reporter(t, s, "scheduled", "")
		file := filepath.Join("/run", "systemd", "shutdown", "scheduled") // logind writes it, and is masked here
		s.MustExec("mkdir", "-p", filepath.Dir(file))
		soon := time.Now().Add(3 * time.Minute)
		s.MustExec("sh", "-c", "printf 'USEC=%s\nMODE=reboot\n' "+itoa(int(soon.UnixMicro()))+" > "+file)
		l, _ := await(t, s, "scheduled", func(l line) bool { return l.Word.Closed != "" })
		if l.Word.Going || !strings.HasSuffix(l.Word.Closed, "(reboot, scheduled)") {
			t.Fatalf("got %+v", l)
		}
		s.MustExec("rm", file)
		await(t, s, "scheduled", func(l line) bool { return l.Event == "change" && l.Word.Closed == "" })
	})
	t.Run("systemctl poweroff", func(t *testing.T) {
		s := s.With(t)
		_, init := s.GuestInit(web)
		reporter(t, s, "poweroff", itoa(init))
		s.Poweroff()
		l, all := await(t, s, "poweroff", func(l line) bool { return l.Event == "death" })
		want := Word{Boot: l.Word.Boot, Closed: "the host is shutting down (systemd is stopping)", Going: true}
		if l.Word != want || l.Cached != want {
			t.Fatalf("at the death: %+v", all)
		}
	})
	t.Run("boot", func(t *testing.T) {
		s := s.With(t)
		before := lines(t, s, "poweroff")[0].Word.Boot
		s.Write("/etc/systemd/system/early.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart="+helperPath+
			"\nEnvironment="+helperEnv+"=report REPORT=/root/early\n[Install]\nWantedBy=sysinit.target\n")
		wants := filepath.Join(s.Root(), "etc/systemd/system/sysinit.target.wants")
		must(t, os.MkdirAll(wants, 0o755))
		must(t, os.Symlink("/etc/systemd/system/early.service", filepath.Join(wants, "early.service")))
		s.Boot()
		open, all := await(t, s, "early", func(l line) bool { return l.Word.Closed == "" })
		if first := all[0].Word; !first.Booting || first.Going || !strings.Contains(first.Closed, " and lxc.service is still starting its containers") {
			t.Fatalf("at boot: %+v", all)
		}
		if open.Word.Booting || open.Word.Boot == before {
			t.Fatalf("after boot %q: %+v", before, open)
		}
	})
}

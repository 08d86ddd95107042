package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/scripted"
)

// A vzLab is one container, web1, that runs on a scripted host of vzctl of its own.
type vzLab struct {
	*testing.T
	i  *engine.Instance
	id string // of web1
}

func (l *vzLab) do(verb health.Verb) engine.Answer {
	return l.i.Do(context.Background(), verb, l.id, 0)
}

func (l *vzLab) must(verb health.Verb) {
	l.Helper()
	if a := l.do(verb); a.Err != "" || a.Already {
		l.Fatalf("%s: %+v", verb, a)
	}
}

func (l *vzLab) see() health.Sighting { l.Helper(); return look(l.T, l.i, l.id) }

func (l *vzLab) listed() health.Sighting {
	l.Helper()
	return find(l.T, list(l.T, l.i), l.id)
}

// both has the list and a look agree.
func (l *vzLab) both(what string, ok func(health.Sighting) bool) {
	l.Helper()
	for _, s := range []health.Sighting{l.listed(), l.see()} {
		if !ok(s) {
			l.Errorf("%s: %+v, lock %+v", what, s, s.Lock)
		}
	}
}

// openIn opens an instance whose own files are in a folder that outlives it.
func openIn(t *testing.T, s engine.Spec, runDir string) *engine.Instance {
	t.Helper()
	s.RunDir = runDir
	i, err := engine.Open(s, hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// person runs a command as somebody at the keyboard would.
func person(t *testing.T, h *scripted.Host, argv ...string) {
	t.Helper()
	if out, err := exec.Command(filepath.Join(h.Bin(), argv[0]), argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
}

// sleeper is a process that may hold a lock.
func sleeper(t *testing.T) (pid int, end func()) {
	t.Helper()
	c := exec.Command("/bin/sleep", "300")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() { _, _ = c.Process.Kill(), c.Wait() }
	t.Cleanup(end)
	return c.Process.Pid, end
}

// lateSuccess orders something that its command does only after the caller has gone: that is no failure, and a look says so.
func (l *vzLab) lateSuccess(verb health.Verb, then health.RunState) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if a := l.i.Do(ctx, verb, l.id, 0); !a.Transcript.Abandoned {
		l.Errorf("%s was to take longer: %+v", verb, a)
	}
	awaitState(l.T, l.i, l.id, then)
}

// stall puts storage that never answers at a folder, as a network file system is whose server is gone, until mend.
func stall(t *testing.T, path string) (mend func()) {
	t.Helper()
	sweepStalled()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("stalled", path, "fuse", unix.MS_NODEV|unix.MS_NOSUID, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", f.Fd())); err != nil {
		t.Fatal(err)
	}
	mend = func() {
		_ = f.Close() // who waits for an answer gets an error
		_ = unix.Unmount(path, unix.MNT_DETACH)
	}
	t.Cleanup(mend)
	return mend
}

// sweepStalled unmounts what killed tests left: there an error comes at once, where others hang.
func sweepStalled() {
	b, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "stalled" || !strings.HasPrefix(f[2], "fuse") {
			continue
		}
		left := make(chan bool, 1)
		go func() {
			_, err := os.Stat(f[1])
			left <- errors.Is(err, unix.ENOTCONN)
		}()
		select {
		case dead := <-left:
			if dead {
				_ = unix.Unmount(f[1], unix.MNT_DETACH)
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reads gives what a source of evidence shows.
func (l *vzLab) reads(s engine.Source) string {
	l.Helper()
	if len(s.Argv) > 0 {
		t := l.i.Runner().Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 10 * time.Second})
		return string(t.Stdout) + string(t.Stderr)
	}
	info, err := os.Lstat(s.Path)
	if err != nil || !info.Mode().IsRegular() {
		l.Errorf("%+v: %v", s, err)
		return ""
	}
	b, err := os.ReadFile(s.Path)
	if err != nil {
		l.Error(err)
	}
	return string(b)
}

// evidence holds that the sources are these, in this order, that each lies below the root, and that each shows what it is to.
func (l *vzLab) evidence(root string, names []string, shows map[string]string) {
	l.Helper()
	var got []string
	for _, s := range l.i.Evidence(l.id, l.see()) {
		got = append(got, s.Name)
		if s.Path != "" && !strings.HasPrefix(s.Path, root) {
			l.Errorf("%+v is outside of the root", s)
		}
		if text := l.reads(s); shows[s.Name] == "" || !strings.Contains(text, shows[s.Name]) {
			l.Errorf("%s shows %.300q, want %q in it", s.Name, text, shows[s.Name])
		}
	}
	if !slices.Equal(got, names) {
		l.Errorf("%q, want %q", got, names)
	}
	if l.i.Place() == "" || len(l.i.Blind()) == 0 {
		l.Error("place or blind spots are missing")
	}
	x := l.i.Examine(context.Background())
	if !strings.Contains(x.Version, " version ") || !x.Reachable || x.Running != 1 || slices.ContainsFunc(x.Findings, func(f health.Finding) bool { return f.Grade == health.GradeStop }) {
		l.Errorf("%+v", x)
	}
}

// hostile has the host's files be what they should not be: nothing hangs, and nothing is read without bound.
func (l *vzLab) hostile(h *scripted.Host, env string) {
	l.Helper()
	before := l.listed()
	for what, make := range map[string]func(path string) error{
		"a FIFO":          func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a link":          func(p string) error { return os.Symlink("/dev/zero", p) },
		"a folder":        func(p string) error { return os.Mkdir(p, 0o700) },
		"sparse, 10 GB":   func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 10<<30)) },
		"not to be found": func(string) error { return nil },
	} {
		for _, path := range []string{"/var/log/vzctl.log", "/vz/lock/" + env + ".lck", "/proc/user_beancounters"} {
			h.RemoveFile(path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(h.File(path)), 0o755), make(h.File(path))); err != nil {
				l.Fatal(err)
			}
		}
		l.both(what, func(s health.Sighting) bool {
			return s.State == health.Running && s.Init == before.Init && s.Lock == nil
		})
		for _, path := range []string{"/var/log/vzctl.log", "/vz/lock/" + env + ".lck", "/proc/user_beancounters"} {
			h.RemoveFile(path)
		}
	}
}

// scriptedTrial makes a trial out of a test on a scripted host, which it does not share: such hosts cost nothing.
func scriptedTrial(run func(*testing.T)) func(struct{}, *testing.T) { return alone[struct{}](run) }

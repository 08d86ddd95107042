package engine_test

import (
	"context"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What the tests of LXD and Incus share.

// foundIn holds that an engine is found by itself where the folders from stand in the host's places, and not elsewhere.
func foundIn(t *testing.T, name string, from map[string]string) {
	t.Helper()
	before, after := discoveredIn(t, name, from)
	if len(before) != 0 || len(after) != 1 || after[0].Path != "" || after[0].Instance != "" {
		t.Errorf("found %+v, and before it was there %+v", after, before)
	}
}

// discoveredIn discovers where /var/lib is empty, and where the folders from stand in the host's places: in a mount
// namespace of one thread, which ends with it.
func discoveredIn(t *testing.T, name string, from map[string]string) (before, after []engine.Spec) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- func() error {
			if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
				return err
			}
			if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := syscall.Mount("none", "/var/lib", "tmpfs", 0, ""); err != nil {
				return err
			}
			before = discovered(t, name)
			for dir, place := range from {
				if err := os.MkdirAll(place, 0o755); err != nil {
					return err
				}
				if err := syscall.Mount(dir, place, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
					return err
				}
			}
			after = discovered(t, name)
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return before, after
}

func discovered(t *testing.T, name string) (out []engine.Spec) {
	for _, s := range engine.Discover(context.Background(), runnerOf(t)) {
		if s.Engine == name {
			out = append(out, s)
		}
	}
	return out
}

// retold is a Runner whose answers are changed on their way, to what a tool of another version might print.
type retold struct {
	engine.Runner
	change func(string) string
}

func (r *retold) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	t := r.Runner.Read(ctx, c)
	if r.change != nil {
		t.Stdout = []byte(r.change(string(t.Stdout)))
		t.StdoutSize = int64(len(t.Stdout))
	}
	return t
}

// strangeAnswers has the answers about a container that runs changed, in list and look.
func strangeAnswers(t *testing.T, id string, open func(*retold) *engine.Instance) {
	w := &retold{}
	i := open(w)
	plain := func(what string) health.Sighting {
		t.Helper()
		l := list(t, i)
		a, b := find(t, l, id), look(t, i, id)
		if a.At, b.At = (time.Time{}), (time.Time{}); !reflect.DeepEqual(a, b) || len(l.Notes) != 0 {
			t.Errorf("%s: list %+v, look %+v, notes %q", what, a, b, l.Notes)
		}
		return a
	}
	was := plain("as it is")
	for what, c := range map[string][2]string{
		"numbers as strings": {`("status_code"|"pid"): ?(\d+)`, `$1:"$2"`},
		"strings as numbers": {`("boot\.autostart"): ?"(\w+)"`, `$1:$2`},
		"a new field":        {`("status_code"):`, `"brand_new":{"a":[1,null]},$1:`},
		"a doubled key":      {`("status_code"):`, `$1:102,$1:`},
	} {
		n := 0
		re := regexp.MustCompile(c[0])
		w.change = func(s string) string { n += len(re.FindAllString(s, -1)); return re.ReplaceAllString(s, c[1]) }
		if got := plain(what); !reflect.DeepEqual(got, was) || n < 2 {
			t.Errorf("%s, %d times: %+v, want %+v", what, n, got, was)
		}
	}
	re := regexp.MustCompile(`"status":( ?)"(?:Running|running)"|"status_code":( ?)103`)
	w.change = func(s string) string {
		return re.ReplaceAllStringFunc(s, func(m string) string {
			return map[bool]string{true: `"status_code":777`, false: `"status":"Flying"`}[m[len(m)-1] == '3']
		})
	}
	l := list(t, i)
	if s := find(t, l, id); s.State != health.Unknown || s.Init != was.Init || len(l.Notes) != 1 {
		t.Errorf("an unknown state: %+v, notes %q", s, l.Notes)
	}
	if s := look(t, i, id); s.State != health.Unknown || s.Init != was.Init {
		t.Errorf("an unknown state: %+v", s)
	}
	if l := list(t, i); len(l.Notes) != 0 {
		t.Errorf("told twice: %q", l.Notes)
	}
}

// showsAll holds that each source of evidence is there and shows what is true of a container, and that its log is among them.
func showsAll(t *testing.T, i *engine.Instance, id string, shown map[string]string) {
	t.Helper()
	for _, s := range i.Evidence(id, health.Sighting{}) {
		var text []byte
		if s.Path != "" {
			text, _ = os.ReadFile(s.Path)
		} else {
			out := i.Runner().Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 20 * time.Second})
			if text = out.Stdout; !out.OK() {
				t.Errorf("%s: %q %v", s.Name, out.Stderr, out.Err())
			}
		}
		if want, ok := shown[s.Name]; !ok || !strings.Contains(string(text), want) || len(text) > 1<<20 {
			t.Errorf("%s: no %q in %d bytes: %.300s", s.Name, want, len(text), text)
		}
		delete(shown, s.Name)
	}
	if len(shown) != 0 {
		t.Errorf("there was no %v", shown)
	}
	if logs := i.Logs(id); len(logs) != 1 || logs[0].Name != "console.txt" {
		t.Errorf("%+v", logs)
	}
}

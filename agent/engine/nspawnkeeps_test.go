package engine_test

import (
	"context"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What systemd keeps of its machines, and what it might print one day.

func (b *nspawnBench) keeps(t *testing.T) {
	b = b.beside(t)
	b.made(t, "flood")
	b.Prepend("flood", "echo its last words > /dev/console\n")
	b.up(t, "flood")
	b.Inside("flood", "sh", "-c", "yes $(head -c 1000 /dev/zero | tr '\\0' x) | head -n 3000 > /dev/console")
	b.Inside("flood", "sh", "-c", "echo its very last words > /dev/console")
	shown := map[string]string{
		"journal.txt": "its very last words", "unit.txt": "Id=systemd-nspawn@flood.service", "unit-file.txt": "ExecStart=systemd-nspawn",
		"machines.json": `"machine":"flood"`, "status.txt": "systemd-nspawn@flood.service", "settings.nspawn": "Bridge=br0",
	}
	for _, s := range b.i.Evidence("flood", look(t, b.i, "flood")) {
		read := func() string {
			if s.Path != "" {
				text, _ := os.ReadFile(s.Path)
				return string(text)
			}
			out := b.w.Read(context.Background(), hostexec.Command{Argv: s.Argv, Timeout: 20 * time.Second, MaxOut: 4 << 20})
			if !out.OK() {
				t.Errorf("%s: %q %v", s.Name, out.Stderr, out.Err())
			}
			return string(out.Stdout)
		}
		want, ok := shown[s.Name]
		eventually(t, s.Name+" shows "+want, func() bool { return ok && strings.Contains(read(), want) })
		if size := len(read()); size > 1<<20 {
			t.Errorf("%s: %d bytes", s.Name, size)
		}
		delete(shown, s.Name)
	}
	if len(shown) != 0 {
		t.Errorf("there was no %v", shown)
	}
	if logs := b.i.Logs("flood"); len(logs) != 1 || logs[0].Name != "journal.txt" {
		t.Errorf("%+v", logs)
	}
	b.hostile(t, "flood")
}

// Settings that are no file, a file without end, or another's, neither hang a list nor are evidence of what is not theirs.
func (b *nspawnBench) hostile(t *testing.T, id string) {
	path := "/etc/systemd/nspawn/" + id + ".nspawn"
	for what, make := range map[string]func() error{
		"a FIFO":       func() error { return syscall.Mkfifo(path, 0o644) },
		"a link":       func() error { return os.Symlink("/etc/shadow", path) },
		"without end":  func() error { return os.WriteFile(path, nil, 0o644) },
		"a folder":     func() error { return os.Mkdir(path, 0o755) },
		"not anywhere": func() error { return nil },
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if what == "without end" {
			if err := os.Truncate(path, 10<<30); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if s := find(t, list(t, b.i), id); s.State != health.Running || len(s.Links) != 0 || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %+v after %s", what, s, time.Since(began))
		}
	}
	_ = os.RemoveAll(path)
}

// A property more, one given twice, one without a name, and words that nobody knows yet; numbers as strings, and strings as
// numbers in what is JSON.
func (b *nspawnBench) strange(t *testing.T) {
	b = b.on(t)
	b.up(t, "db1")
	w := &retold{Runner: runnerOf(t)}
	fresh := func() *engine.Instance {
		i, err := engine.Open(engine.Spec{Engine: "nspawn", RunDir: t.TempDir()}, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	sees := func(i *engine.Instance, what string) (s health.Sighting, notes []string) {
		t.Helper()
		l := list(t, i)
		a, c := find(t, l, "db1"), look(t, i, "db1")
		if a.At, c.At = (time.Time{}), (time.Time{}); !reflect.DeepEqual(a, c) {
			t.Errorf("%s: list %+v, look %+v", what, a, c)
		}
		return a, l.Notes
	}
	was, _ := sees(fresh(), "as it is")
	for what, c := range map[string][2]string{
		"a new property":       {`(?m)^(ActiveState=.*)$`, "BrandNew=a=b c\n$1"},
		"one given twice":      {`(?m)^(ActiveState=.*)$`, "ActiveState=inactive\n$1"},
		"no property":          {`(?m)^(ActiveState=.*)$`, "what is this\n$1"},
		"carriage returns":     {`(?m)^(ActiveState=.*)$`, "$1\r"},
		"a new field":          {`"machine":`, `"brand_new":{"a":[1,null]},"machine":`},
		"a doubled key":        {`"machine":`, `"machine":7,"machine":`},
		"a string as a number": {`"class":"container"`, `"class":7`},
	} {
		n := 0
		re := regexp.MustCompile(c[0])
		w.change = func(s string) string { n += len(re.FindAllString(s, -1)); return re.ReplaceAllString(s, c[1]) }
		if got, notes := sees(fresh(), what); !reflect.DeepEqual(got, was) || n == 0 || len(notes) != 0 {
			t.Errorf("%s, %d times: %+v, want %+v, notes %q", what, n, got, was, notes)
		}
	}
	for old, now := range map[string]string{"ActiveState=active": "ActiveState=hovering", "LoadState=loaded": "LoadState=novel"} {
		w.change = func(s string) string { return strings.ReplaceAll(s, old, now) }
		i := fresh()
		got, notes := sees(i, now)
		if state := map[bool]health.RunState{true: health.Unknown, false: health.Running}[now == "ActiveState=hovering"]; got.State != state || got.Init != was.Init || len(notes) != 1 {
			t.Errorf("%s: %+v, notes %q", now, got, notes)
		}
		if _, notes := sees(i, now); len(notes) != 0 {
			t.Errorf("%s: told twice: %q", now, notes)
		}
	}
	for what, lost := range map[string]string{"a state": "ActiveState=", "a name": "Id="} {
		w.change = func(s string) string { return strings.ReplaceAll(s, lost, "Lost=") }
		if l, err := fresh().List(context.Background(), nil); err == nil {
			t.Errorf("without %s: %+v", what, l)
		}
	}
}

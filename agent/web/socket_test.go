package web_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atalaya/agent/web"
)

func TestControlSocketIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, dangling, live := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "live")
	for from, to := range map[string]string{link: victim, dangling: filepath.Join(dir, "fresh")} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		victim:                     "is a file, not a socket of ours",
		link:                       "is a symbolic link, not a socket of ours",
		dangling:                   "is a symbolic link, not a socket of ours",
		live:                       fmt.Sprintf("another agent answers there (pid %d)", os.Getpid()),
		filepath.Join(open, "s"):   "everybody may write to",
		filepath.Join(victim, "s"): "is not a folder",
		filepath.Join(dir, strings.Repeat("x", 120)): "choose a shorter control.socket",
	} {
		o, _ := control(t)
		o.Path = path
		c, err := web.ListenControl(o)
		if err == nil {
			c.Close()
			t.Errorf("%s was taken", path)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", path, err, want)
		}
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("the file that was there holds %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "fresh")); err == nil {
		t.Error("a symbolic link was followed")
	}
}

func TestControlReplacesAStaleSocket(t *testing.T) {
	t.Parallel()
	o, _ := control(t)
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		t.Fatal(err)
	}
	leave(t, o.Path)
	o.Group = "no-such-group"
	c, err := web.ListenControl(o)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(o.Path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("without a group the socket is %v, %v", fi.Mode(), err)
	}
	t.Run("serving", func(t *testing.T) {
		during(t, c.Run)
		if _, err := web.Dial(o.Path).View(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Lstat(o.Path); err == nil {
		t.Error("the socket is there after the end")
	}
}

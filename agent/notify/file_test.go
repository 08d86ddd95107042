package notify_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"atalaya/agent/notify"
	"atalaya/agent/store"
)

func fileChannel(t *testing.T, path string) notify.Channel {
	t.Helper()
	c, err := notify.NewFile(notify.FileSpec{Name: "log", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lines(t *testing.T, path string) (docs [][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if !json.Valid(s.Bytes()) {
			t.Errorf("not a document: %q", s.Bytes())
		}
		docs = append(docs, []byte(s.Text()))
	}
	return docs
}

func TestFileAppendsOneLinePerAlert(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alerts.jsonl")
	c := fileChannel(t, path)
	b := store.Bundle{Part: 1, Path: "/var/lib/atalaya/evidence/x.zip", SHA256: "abcd", Size: 7, Sealed: epoch}
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() {
			a := testAlert()
			a.Summary = "line\nbreak\r\n" + strings.Repeat("long ", 5000)
			if _, err := c.Send(t.Context(), notify.Message{Alert: a, Key: "k", Bundles: []store.Bundle{b}}); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	docs := lines(t, path)
	if len(docs) != 20 {
		t.Fatalf("%d lines", len(docs))
	}
	validDocument(t, docs[0])
	if !strings.Contains(string(docs[0]), `"path":"/var/lib/atalaya/evidence/x.zip"`) || !strings.Contains(string(docs[0]), `"sha256":"abcd"`) {
		t.Errorf("no path or digest: %s", docs[0])
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

func TestFileFollowsRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alerts.jsonl")
	c := fileChannel(t, path)
	send := func() {
		t.Helper()
		if _, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	send()
	send()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send()
	if old, now := len(lines(t, path+".1")), len(lines(t, path)); old != 2 || now != 1 {
		t.Errorf("%d lines in the old file, %d in the new one", old, now)
	}
}

func TestFileWritesToRegularFilesOnly(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"symlink":          func(p string) error { os.WriteFile(p+".to", nil, 0o600); return os.Symlink(p+".to", p) },
		"dangling symlink": func(p string) error { return os.Symlink(p+".nowhere", p) },
		"hard link":        func(p string) error { os.WriteFile(p+".to", nil, 0o600); return os.Link(p+".to", p) },
		"fifo":             func(p string) error { return unix.Mkfifo(p, 0o600) },
		"fifo with a reader": func(p string) error {
			if err := unix.Mkfifo(p, 0o600); err != nil {
				return err
			}
			f, err := os.OpenFile(p, os.O_RDWR|unix.O_NONBLOCK, 0)
			t.Cleanup(func() { f.Close() })
			return err
		},
		"folder": func(p string) error { return os.Mkdir(p, 0o700) },
		"device": func(p string) error { return os.Symlink("/dev/null", p) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alerts")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			_, err := fileChannel(t, path).Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"})
			if !errors.As(err, &notify.Refused{}) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
			if b, err := os.ReadFile(path + ".to"); err == nil && len(b) > 0 {
				t.Error("it wrote through the link")
			}
		})
	}
	_, err := fileChannel(t, filepath.Join(t.TempDir(), "none", "alerts")).Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"})
	if err == nil || errors.As(err, &notify.Refused{}) {
		t.Errorf("a folder that may come back is worth another try: %v", err)
	}
	if _, err := notify.NewFile(notify.FileSpec{Name: "log", Path: "alerts"}); err == nil {
		t.Error("a relative path was taken")
	}
}

// A full disk leaves no half line behind.
func TestFileOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs root, to mount a tmpfs")
		}
		t.Skip("this test needs root, to mount a tmpfs")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "alerts.jsonl")
	c, whole := fileChannel(t, path), 0
	a := testAlert()
	a.Summary = strings.Repeat("long ", 2000)
	for {
		_, err := c.Send(t.Context(), notify.Message{Alert: a, Key: "k"})
		if err != nil {
			if !errors.Is(err, unix.ENOSPC) || errors.As(err, &notify.Refused{}) {
				t.Errorf("%v", err)
			}
			break
		}
		if whole++; whole > 100 {
			t.Fatal("the disk never became full")
		}
	}
	if n := len(lines(t, path)); n != whole {
		t.Errorf("%d lines, want the %d whole ones", n, whole)
	}
}

package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"atalaya/agent/secret"
)

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile is subject to the umask
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("SECRET_TEST_LOAD", "from-env\n")
	if err := os.WriteFile(filepath.Join(dir, "hook"), []byte("from-systemd\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"file:" + write(t, "from-file\r\n", 0o600): "from-file",
		"file:" + write(t, "two\nlines\n", 0o640):  "two\nlines",
		"env:SECRET_TEST_LOAD":                     "from-env",
		"credential:hook":                          "from-systemd",
		"whsec_abc":                                "whsec_abc",
		"user:password":                            "user:password",
	} {
		v, err := secret.Load(ref)
		if err != nil || v.Reveal() != want {
			t.Errorf("Load(%q): %q, %v; want %q", ref, v.Reveal(), err, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("SECRET_TEST_EMPTY", "\n")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	open := write(t, "k", 0o644)
	big := write(t, strings.Repeat("x", secret.MaxSize+1), 0o600)
	for ref, want := range map[string]string{
		"":                              "it is empty",
		"file:relative":                 "must be absolute",
		"file:/nonexistent/key":         "no such file",
		"file:" + open:                  "its mode 0644 opens it to everybody on this host: run chmod 0640 " + open,
		"file:" + dir:                   "not a regular file (a folder)",
		"file:" + pipe:                  "not a regular file (a named pipe)",
		"file:" + big:                   "more than 65536 bytes",
		"file:" + write(t, "\n", 0o600): "it is empty",
		"env:SECRET_TEST_NOT_SET":       `no variable "SECRET_TEST_NOT_SET"`,
		"env:SECRET_TEST_EMPTY":         "it is empty",
		"credential:../etc/shadow":      "is not the name of a credential",
		"credential:":                   "is not the name of a credential",
		"credential:none":               "no such file",
	} {
		v, err := secret.Load(ref)
		if err == nil || !strings.Contains(err.Error(), want) || !v.IsZero() {
			t.Errorf("Load(%q): error %v; want one with %q", ref, err, want)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := secret.Load("credential:hook"); err == nil || !strings.Contains(err.Error(), "LoadCredential=hook:") {
		t.Errorf("without credentials: %v", err)
	}
}

func TestReferences(t *testing.T) {
	for ref, want := range map[string]bool{"file:/k": true, "env:K": true, "credential:k": true, "whsec_x": false, "a:b": false, "file": false} {
		if secret.References(ref) != want {
			t.Errorf("References(%q) is not %v", ref, want)
		}
	}
}

package secret

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// MaxSize bounds a secret, in bytes.
const MaxSize = 64 << 10

// Load gives the secret that ref names:
//
//	file:/absolute/path   the content of a regular file that others (the last digit of its mode) may not touch
//	env:NAME              an environment variable
//	credential:NAME       a systemd credential, LoadCredential= in the unit, below $CREDENTIALS_DIRECTORY
//	anything else         the text itself
//
// Line ends at the end are cut off, because editors put them there. A secret is never empty and has at most MaxSize
// bytes. Errors name the reference, never its content.
func Load(ref string) (Value, error) {
	kind, rest, found := strings.Cut(ref, ":")
	if !found {
		return literal(ref)
	}
	switch kind {
	case "file":
		return loadFile(ref, rest)
	case "env":
		return loadEnv(ref, rest)
	case "credential":
		return loadCredential(ref, rest)
	}
	return literal(ref)
}

// References says whether ref names a place that holds the secret, rather than being the secret itself.
func References(ref string) bool {
	kind, _, found := strings.Cut(ref, ":")
	return found && (kind == "file" || kind == "env" || kind == "credential")
}

func literal(text string) (Value, error) {
	if text == "" {
		return Value{}, fmt.Errorf("load secret: it is empty: give file:/PATH, env:NAME, credential:NAME or the text itself")
	}
	if len(text) > MaxSize {
		return Value{}, fmt.Errorf("load secret: the text has %d bytes, more than %d", len(text), MaxSize)
	}
	return New(text), nil
}

func loadEnv(ref, name string) (Value, error) {
	text, found := os.LookupEnv(name)
	if !found {
		return Value{}, fmt.Errorf("load secret %q: the environment has no variable %q", ref, name)
	}
	return finish(ref, text)
}

func loadCredential(ref, name string) (Value, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return Value{}, fmt.Errorf("load secret %q: $CREDENTIALS_DIRECTORY is not set: add LoadCredential=%s:/PATH to the unit", ref, name)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return Value{}, fmt.Errorf("load secret %q: %q is not the name of a credential", ref, name)
	}
	return loadFile(ref, filepath.Join(dir, name))
}

func loadFile(ref, path string) (Value, error) {
	if !filepath.IsAbs(path) {
		return Value{}, fmt.Errorf("load secret %q: the path must be absolute", ref)
	}
	// Not blocking, or a pipe without a writer would hold us for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Value{}, fmt.Errorf("load secret %q: %w", ref, err)
	}
	defer func() { _ = f.Close() }()
	if err := private(f, path); err != nil {
		return Value{}, fmt.Errorf("load secret %q: %w", ref, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return Value{}, fmt.Errorf("load secret %q: %w", ref, err)
	}
	return finish(ref, string(text))
}

// private asks the opened file, not its path, which could meanwhile name another.
func private(f *os.File, path string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("it is not a regular file (%s)", kind(st.Mode()))
	}
	if perm := st.Mode().Perm(); perm&0o007 != 0 {
		return fmt.Errorf("its mode %04o opens it to everybody on this host: run chmod %04o %s", perm, perm&^0o007, path)
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return m.String()
}

func finish(ref, text string) (Value, error) {
	if len(text) > MaxSize {
		return Value{}, fmt.Errorf("load secret %q: it has more than %d bytes", ref, MaxSize)
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return Value{}, fmt.Errorf("load secret %q: it is empty", ref)
	}
	return from(text, ref), nil
}

package rig

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// inittab keeps a web server on port 80 running in the foreground below init, and says so on the console.
const inittab = "::sysinit:/bin/echo init runs, the web server follows\n::respawn:/bin/httpd -f -p 80 -h /www\n"

// makeRootfs builds a root of 2 MB from the machine's static busybox: init, every
// applet, and /www/index.html served on port 80.
func makeRootfs(root string) error {
	for _, d := range []string{"bin", "sbin", "etc/init.d", "proc", "sys", "dev", "tmp", "www", "run", "root"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return fmt.Errorf("build the containers' root: %w", err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("build the containers' root: no busybox on this machine, install busybox-static: %w", err)
	}
	if err := copyFile(busybox, filepath.Join(root, "bin/busybox"), 0o755); err != nil {
		return err
	}
	applets, err := run(quick, busybox, "--list")
	if err != nil {
		return err
	}
	for applet := range strings.FieldsSeq(applets) {
		if applet == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			return fmt.Errorf("build the containers' root: %w", err)
		}
	}
	if err := os.Symlink("../bin/busybox", filepath.Join(root, "sbin/init")); err != nil {
		return fmt.Errorf("build the containers' root: %w", err)
	}
	return writeFiles(root, map[string]string{
		"etc/inittab":    inittab,
		"www/index.html": "ok\n",
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\n",
		"etc/group":      "root:x:0:\n",
	})
}

func writeFiles(root string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %q: %w", path, err)
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy %q: %w", from, err)
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("copy %q: %w", from, err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close()
		return fmt.Errorf("copy %q to %q: %w", from, to, err)
	}
	if err := dst.Close(); err != nil {
		return fmt.Errorf("copy %q to %q: %w", from, to, err)
	}
	return os.Chmod(to, mode)
}

// copyTree copies a whole root with owners, links and devices.
func copyTree(from, to string) error {
	_, err := run(slow, "cp", "-a", "--reflink=auto", "--", from, to)
	return err
}

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write puts content into a file of its own.
func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded is the configuration of content.
func loaded(t testing.TB, content string) *Config {
	t.Helper()
	c, err := Load(write(t, content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func builtInConfig(t testing.TB) *Config {
	t.Helper()
	c, err := build("", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func render(t testing.TB, c *Config) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

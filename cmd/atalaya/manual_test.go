package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
)

// TestManual: docs/cli.md names every command and every flag that there is.
func TestManual(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(b)
	var each func(*cobra.Command)
	each = func(c *cobra.Command) {
		if c.HasSubCommands() {
			for _, below := range c.Commands() {
				each(below)
			}
			return
		}
		if !strings.Contains(manual, "| `"+c.CommandPath()+"` |") {
			t.Errorf("docs/cli.md has no row for '%s'", c.CommandPath())
		}
	}
	each(root(&options{}))
	for _, flag := range []string{"--config", "--output", "--open", "--since", "--limit", "--for", "--reason", "--all", "--to", "--dry-run"} {
		if !strings.Contains(manual, flag) {
			t.Errorf("docs/cli.md does not name %s", flag)
		}
	}
}

// TestDefaultSocket: where commands ask when no configuration can be read is where the agent listens by default.
func TestDefaultSocket(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/empty.yaml"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Control.Socket != defaultSocket {
		t.Errorf("the agent listens on %q, the commands ask at %q", c.Control.Socket, defaultSocket)
	}
}

// TestInstallByHand: the commands of README.md and docs/systemd.md put the binary where the unit starts it.
func TestInstallByHand(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		b, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	starts := regexp.MustCompile(`(?m)^ExecStart=(\S+)`).FindStringSubmatch(read("systemd/atalaya.service"))
	if starts == nil {
		t.Fatal("the unit starts nothing")
	}
	for _, manual := range []string{"README.md", "docs/systemd.md"} {
		puts := regexp.MustCompile(`(?m)^(?:# )?install -m 755 bin/atalaya (\S+)`).FindStringSubmatch(read(manual))
		if puts == nil || puts[1] != starts[1] {
			t.Errorf("%s installs by %q, the unit starts %q", manual, puts, starts[1])
		}
	}
}

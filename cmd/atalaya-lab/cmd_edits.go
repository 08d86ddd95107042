package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// An edit is one wrong change of the core, which its tests must notice.
type edit struct {
	what, file, from, to string
}

func editsCommand() *cobra.Command {
	var pkg, checks string
	c := &cobra.Command{
		Use:   "edits",
		Short: "make each wrong edit of agent/health/testdata/edits/wrong.txt and see whether the tests notice",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return edits(cmd.Context(), pkg, checks)
		},
	}
	c.Flags().StringVar(&pkg, "package", "agent/health", "folder of the package")
	c.Flags().StringVar(&checks, "checks", "3000", "random timelines for each")
	return c
}

func edits(ctx context.Context, pkg, checks string) error {
	list := filepath.Join(pkg, "testdata", "edits", "wrong.txt")
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("read the wrong edits: %w; run it from the repository's root", err)
	}
	all, err := parseEdits(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	var missed []string
	for _, e := range all {
		by, err := caught(ctx, pkg, checks, e)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", e.what, err)
		case by == "":
			missed = append(missed, e.what)
			fmt.Printf("NOT CAUGHT  %s\n", e.what)
		default:
			fmt.Printf("caught      %s  (by %s)\n", e.what, by)
		}
	}
	fmt.Printf("%d of %d wrong edits were caught\n", len(all)-len(missed), len(all))
	if len(missed) > 0 {
		return fmt.Errorf("%d wrong edits went unnoticed", len(missed))
	}
	return nil
}

// parseEdits reads "## what", the file, and lines that begin with "- " and "+ ": what stands there, and what is to.
func parseEdits(text string) ([]edit, error) {
	var all []edit
	for _, section := range strings.Split("\n"+text, "\n## ")[1:] {
		lines := strings.Split(strings.TrimRight(section, "\n"), "\n")
		if len(lines) < 3 {
			return nil, fmt.Errorf("%q: want its file, and lines with - and +", lines[0])
		}
		e := edit{what: lines[0], file: lines[1]}
		var from, to []string
		for _, l := range lines[2:] {
			switch {
			case strings.HasPrefix(l, "- "):
				from = append(from, l[2:])
			case strings.HasPrefix(l, "+ "):
				to = append(to, l[2:])
			case l != "":
				return nil, fmt.Errorf("%q: %q begins with neither - nor +", e.what, l)
			}
		}
		e.from, e.to = strings.Join(from, "\n"), strings.Join(to, "\n")
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, errors.New("holds no edit")
	}
	return all, nil
}

// caught runs the package's tests with the edit laid over its file, and gives the test that fails; empty: none.
func caught(ctx context.Context, pkg, checks string, e edit) (string, error) {
	file, err := filepath.Abs(filepath.Join(pkg, e.file))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), e.from); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s, not once: correct the edit", e.from, n, e.file)
	}
	dir, err := os.MkdirTemp("", "atalaya-edit-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	wrong, overlay := filepath.Join(dir, "wrong.go"), filepath.Join(dir, "overlay.json")
	laid, err := json.Marshal(map[string]map[string]string{"Replace": {file: wrong}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(wrong, []byte(strings.Replace(string(source), e.from, e.to, 1)), 0o600), os.WriteFile(overlay, laid, 0o600)); err != nil {
		return "", err
	}
	// The pictures in the documents are not to be what catches it.
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-skip", "^TestDiagram$", "-failfast", "-timeout", "5m", "./"+pkg, "-rapid.checks", checks)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", nil
	case !errors.As(err, &failed):
		return "", err
	}
	_, after, ok := strings.Cut(string(out), "--- FAIL: ")
	if !ok {
		return "", fmt.Errorf("the tests do not run: %s", out)
	}
	return strings.Fields(after)[0], nil
}

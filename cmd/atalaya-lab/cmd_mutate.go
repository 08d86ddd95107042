package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atalaya/cmd/atalaya-lab/scripted"
)

// mutation is one run of make mutate: the engine tests, built once, against replies with one thing changed.
type mutation struct {
	pkg    string // folder of the engine package
	binary string
	tool   string // of the scripted engines
	dir    string // of what is made here
	reply  string // only this one is changed; empty: each
}

func mutateCommand() *cobra.Command {
	var only, pkg, reply string
	c := &cobra.Command{
		Use:   "mutate",
		Short: "change each scripted reply in one place and see whether the engine's tests notice",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return mutate(cmd.Context(), pkg, only, reply)
		},
	}
	c.Flags().StringVar(&only, "engine", "", "only this engine")
	c.Flags().StringVar(&reply, "reply", "", "only this reply, by its file's name without .reply")
	c.Flags().StringVar(&pkg, "package", "agent/engine", "folder of the engine package")
	return c
}

func mutate(ctx context.Context, pkg, only, reply string) error {
	dir, err := os.MkdirTemp("", "atalaya-mutate-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := mutation{pkg: pkg, binary: filepath.Join(dir, "engine.test"), dir: dir, reply: reply}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", m.binary, ".")
	build.Dir = pkg
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %q: %w: %s", pkg, err, out)
	}
	tool, err := scripted.BuildTool(dir)
	if err != nil {
		return err
	}
	m.tool = tool
	folders, err := filepath.Glob(filepath.Join(pkg, "testdata", "*", "replies"))
	if err != nil || len(folders) == 0 {
		return fmt.Errorf("find replies below %q: none; run it from the repository's root", pkg)
	}
	survived := 0
	for _, replies := range folders {
		engine := filepath.Base(filepath.Dir(replies))
		if only != "" && only != engine {
			continue
		}
		n, err := m.engine(ctx, engine, replies)
		if err != nil {
			return fmt.Errorf("mutate %s: %w", engine, err)
		}
		survived += n
	}
	if survived > 0 {
		return fmt.Errorf("%d mutants survived: read what they change, or mark it unread where that is right", survived)
	}
	return nil
}

// mutantPatience is how long a test waits for what a mutant keeps from coming.
const mutantPatience = 2 * time.Second

// engine runs all mutants of one engine, one after the other, and gives how many survived.
func (m mutation) engine(ctx context.Context, engine, replies string) (int, error) {
	began := time.Now()
	for _, patience := range []time.Duration{20 * time.Second, mutantPatience} { // else impatience alone would turn mutants red
		if red, out, err := m.run(ctx, engine, replies, scripted.Mutant{}, patience); err != nil || red {
			return 0, errors.Join(err, fmt.Errorf("its tests do not pass as they are, with a patience of %s: %s", patience, out))
		}
	}
	fmt.Printf("%s: its tests take %s\n", engine, time.Since(began).Round(100*time.Millisecond))
	mutants, err := scripted.Mutants(replies)
	if err != nil {
		return 0, err
	}
	mutants = slices.DeleteFunc(mutants, func(mu scripted.Mutant) bool { return m.reply != "" && mu.Reply != m.reply })
	killed, survivors := 0, []string(nil)
	for _, mu := range mutants {
		red, _, err := m.run(ctx, engine, replies, mu, mutantPatience)
		if err != nil {
			return 0, err
		}
		if red {
			killed++
			continue
		}
		survivors = append(survivors, mu.Reply+": "+mu.What)
		fmt.Printf("%s: survived: %s: %s\n", engine, mu.Reply, mu.What)
	}
	fmt.Printf("%s: %d of %d turned red, in %s\n", engine, killed, len(mutants), time.Since(began).Round(time.Second))
	return len(survivors), nil
}

// run runs the engine's tests once against its replies, of which one may be changed.
func (m mutation) run(ctx context.Context, engine, replies string, mu scripted.Mutant, patience time.Duration) (red bool, out []byte, err error) {
	all := filepath.Join(m.dir, "replies")
	if err := os.RemoveAll(all); err != nil {
		return false, nil, err
	}
	if err := os.CopyFS(filepath.Join(all, engine), os.DirFS(replies)); err != nil {
		return false, nil, err
	}
	if mu.Reply != "" {
		if err := os.WriteFile(filepath.Join(all, engine, mu.Reply+".reply"), mu.Text, 0o600); err != nil {
			return false, nil, err
		}
	}
	// What is asked over ssh is read by the same parsers, and takes longer.
	cmd := exec.CommandContext(ctx, m.binary, "-test.run", "^(TestConformance|TestScripted|TestTrials)$/^"+engine+"(_.*)?$", "-test.skip", "^TestConformance$/over_ssh$",
		"-test.failfast", "-test.timeout", "2m")
	cmd.Dir = m.pkg
	cmd.Env = append(os.Environ(), scripted.RepliesEnv+"="+all, scripted.PatienceEnv+"="+patience.String(), scripted.ToolEnv+"="+m.tool)
	out, err = cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, out, ctx.Err()
	case errors.As(err, &failed) && strings.Contains(string(out), "panic: test timed out"):
		return false, out, fmt.Errorf("the tests did not end: the machine is too busy to tell, or they wait for ever: %.300s", out)
	case errors.As(err, &failed):
		return true, out, nil
	case err != nil:
		return false, out, err
	case strings.Contains(string(out), "no tests to run"):
		return false, out, fmt.Errorf("no subtest of TestConformance, TestScripted or TestTrials is named %q", engine)
	}
	return false, out, nil
}

// Command atalaya watches the virtual containers of this host, brings them back, and files alerts with the evidence
// attached. docs/cli.md is its manual.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:]))
}

// The exit codes, as docs/cli.md promises them.
const (
	exitWell   = 0
	exitWrong  = 1 // something is down, differs, or went wrong
	exitUnsure = 2 // cannot tell, or the command line is not understood
)

// An ending is an error with the code to exit with. Without an error everything has been said already.
type ending struct {
	code int
	err  error
}

// Error gives the words of the error, if there are any.
func (e *ending) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the error.
func (e *ending) Unwrap() error { return e.err }

// misused says that a command line is not understood.
func misused(format string, args ...any) error {
	return &ending{exitUnsure, fmt.Errorf(format, args...)}
}

// unsure says that the question cannot be answered.
func unsure(err error) error { return &ending{exitUnsure, err} }

// execute runs one command line and gives the exit code.
func execute(ctx context.Context, args []string) int {
	o := &options{}
	cmd := root(o)
	cmd.SetArgs(args)
	ran, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return exitWell
	}
	e := &ending{code: exitWrong, err: err}
	if !errors.As(err, &e) && !o.begun { // cobra's own: a flag, an argument, a command that is not there
		e = &ending{exitUnsure, err}
	}
	if e.err != nil {
		fmt.Fprintln(os.Stderr, "atalaya:", strings.TrimSpace(e.err.Error()))
		if !o.begun {
			fmt.Fprintf(os.Stderr, "'%s --help' shows how it is used.\n", ran.CommandPath())
		}
	}
	return e.code
}

func root(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atalaya",
		Short: "Watches the virtual containers of this host, brings them back, and proves whose side a failure is on",
		Example: "  atalaya check                                       one look, without an agent\n" +
			"  atalaya status                                      what the running agent knows\n" +
			"  atalaya hold web1 --for 2h --reason \"disk swap\"     hands off\n" +
			"  atalaya incidents --since 7d",
		SilenceUsage: true, SilenceErrors: true,
		Version:           version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return o.begin(cmd) },
	}
	grouped(cmd)
	cmd.PersistentFlags().StringVarP(&o.config, "config", "c", "", "configuration file (default /etc/atalaya/atalaya.yaml, if it exists)")
	cmd.PersistentFlags().StringVarP(&o.output, "output", "o", "table", "how to print: table or json")
	complete(cmd, "output", "table", "json")
	cmd.AddCommand(runCommand(o), checkCommand(o), doctorCommand(o), statusCommand(o), wantCommand(o), unwantCommand(o), holdCommand(o), releaseCommand(o),
		explainCommand(o), incidentsCommand(o), simulateCommand(o), evidenceCommand(o), outboxCommand(o), configCommand(o), versionCommand(o))
	return cmd
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	grouped(cmd)
	cmd.AddCommand(below...)
	return cmd
}

// grouped has a command show its help, and name the nearest of those below it when another word follows.
func grouped(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			text += "; did you mean " + strings.Join(s, " or ") + "?"
		}
		return errors.New(text)
	}
}

// complete names the values of a flag for the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // only fails for a flag that is not there
}

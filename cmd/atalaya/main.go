// Command atalaya watches the virtual containers of this host: it polls their state, probes them over the network,
// starts or restarts what failed, and files alerts with the evidence attached.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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

// An exit is an error that has been shown already, or needs no words, with the code to end with.
type exit int

// Error is never shown.
func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// execute runs one command line and gives the exit code: 0 well, 1 something is down or went wrong, 2 cannot tell, or the
// command line is not understood.
func execute(ctx context.Context, args []string) int {
	cmd := root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "atalaya:", err)
	return 1
}

// options are the flags that every command has.
type options struct {
	config string
	output string
}

func root() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "atalaya",
		Short:         "Watches the virtual containers of this host, brings them back, and proves whose side a failure is on",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	cmd.PersistentFlags().StringVarP(&o.config, "config", "c", "", "configuration file (default /etc/atalaya/atalaya.yaml, if it exists)")
	cmd.AddCommand(runCommand(&o))
	return cmd
}

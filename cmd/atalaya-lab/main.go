// Command atalaya-lab is the project's workshop, and never packaged: it brings up
// rigs of real containers, runs the benchmarks against the floor program, and
// sweeps up what killed runs left behind.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The first signal ends what runs in order, with its cleanup; the second, at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "atalaya-lab:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "atalaya-lab",
		Short:         "rigs, demo and benchmarks of Atalaya",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(benchCommand(), demoCommand(), floorCommand(), mutateCommand(), editsCommand(), rigCommand(), sweepCommand())
	return root
}

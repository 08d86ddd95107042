package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"atalaya/agent/config"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

// options are the flags that every command has, and what follows from them.
type options struct {
	config string
	output string

	begun  bool   // the command line was understood
	screen screen // standard output
}

// begin is called before every command.
func (o *options) begin(cmd *cobra.Command) error {
	if o.output != "table" && o.output != "json" {
		return misused("--output %q: it is table or json", o.output)
	}
	o.begun = true
	o.screen = newScreen(os.Stdout, os.Getenv)
	o.screen.out = cmd.OutOrStdout()
	return nil
}

func (o *options) json() bool { return o.output == "json" }

// say tells something beside the answer, which programs that read the answer do not see.
func (o *options) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "atalaya: "+format+"\n", args...)
}

func (o *options) load() (*config.Config, error) { return config.Load(o.config) }

// defaultSocket is where the agent listens if nothing else is configured; see docs/config.md.
const defaultSocket = "/run/atalaya/control.sock"

// client speaks to the running agent. When the configuration cannot be read (somebody is just editing it, or it is not for
// this user's eyes) the agent with its last good one is still there to be asked: at the default place, unless a file was
// named, which may mean another agent.
func (o *options) client() (*web.Client, error) {
	c, err := o.load()
	if err == nil {
		return web.Dial(c.Control.Socket), nil
	}
	if o.config != "" || os.Getenv(config.PathVariable) != "" {
		return nil, err
	}
	path := os.Getenv("ATALAYA_CONTROL_SOCKET")
	if path == "" {
		path = defaultSocket
	}
	if os.Geteuid() == 0 {
		o.say("the configuration has mistakes ('atalaya config check' shows them); the agent is asked at %q all the same", path)
	}
	return web.Dial(path), nil
}

// store opens the store of the configuration for reading.
func (o *options) store() (*store.Store, *config.Config, error) {
	c, err := o.load()
	if err != nil {
		return nil, nil, err
	}
	s, err := store.OpenReadOnly(c.Store.Dir)
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: be root", err)
	}
	return s, c, err
}

// names completes the names of containers, as the running agent knows them.
func (o *options) names(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	c, err := o.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	v, err := c.View(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, k := range v.Containers {
		out = append(out, called(k.Ref, k.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// Package demo shows the main job on real containers in under a minute: three LXC containers are made, watched by the
// agent, and broken in front of the reader. Every time is taken twice: by the agent, and by the demo's own clock from its
// own kill to its own HTTP 200.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// Options say how the demo is played.
type Options struct {
	Agent string // the atalaya binary
	Out   io.Writer
	Keep  string // folder in which bundles, alerts and metrics stay; empty: a new one in the temporary folder
	Mode  string // of the agent: heal, or observe, in which nothing is healed
}

// Run plays the demo and cleans up, also when ctx ends or something fails. It returns an error when a story did not end
// as it should; to be interrupted is no failure.
func Run(ctx context.Context, o Options) error {
	if lacks := rig.Lacking("root", "lxc", "busybox", "ip"); len(lacks) > 0 {
		return fmt.Errorf("the demo needs %v: 'make demo' installs what is missing, as root", lacks)
	}
	if o.Keep == "" {
		dir, err := os.MkdirTemp("", "atalaya-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for what the demo keeps: %w", err)
		}
		o.Keep = dir
	}
	if o.Mode == "" {
		o.Mode = "heal"
	}
	err := rig.Play(o.Out, func(s *rig.Stage) error {
		d := &demo{Options: o, Stage: s, page: page{o.Out}}
		return d.play(ctx)
	})
	if err != nil && ctx.Err() != nil {
		page{o.Out}.say("\ninterrupted; cleaned up")
		return nil //nolint:nilerr // to be interrupted is no failure
	}
	return err
}

// A demo is one performance.
type demo struct {
	Options
	*rig.Stage
	page
	shop, mail *rig.LXC
	receiver   *receiver
	agent      *watched
}

func (d *demo) play(ctx context.Context) error {
	d.title("Atalaya: three real containers, three failures")
	d.say("An agent on this host watches three LXC containers. They are broken now, one after the other.")
	d.build()
	if err := d.watch(ctx); err != nil {
		return err
	}
	if d.Mode == "observe" {
		return d.observed(ctx)
	}
	for _, story := range []func(context.Context) error{d.killedInit, d.hungServer, d.cannotStart} {
		if err := story(ctx); err != nil {
			return err
		}
	}
	return d.finish(ctx)
}

// build makes the containers: two on one bridge, and one on a bridge of its own, which a story takes away.
func (d *demo) build() {
	began := time.Now()
	// The console log is a file of the host, beside the root and not in it: nothing in the container can put a link there.
	o := rig.LXCOptions{RandomMAC: true, Config: []string{"lxc.console.logfile = $DIR/console.log"}}
	d.shop, d.mail = rig.NewLXC(d, o), rig.NewLXC(d, o)
	for name, l := range map[string]*rig.LXC{"web": d.shop, "api": d.shop, "mail": d.mail} {
		l.Add(name)
		l.Start(name)
	}
	for _, c := range []struct {
		name string
		l    *rig.LXC
	}{{"web", d.shop}, {"api", d.shop}, {"mail", d.mail}} {
		c.l.WaitHTTP(c.name, 10*time.Second)
		d.row("container", fmt.Sprintf("%-5s %-26s init %-7d bridge %s", c.name, c.l.URL(c.name), c.l.InitPID(c.name), c.l.Bridge()))
	}
	d.row("made", fmt.Sprintf("three containers from busybox, running and serving, in %s", short(time.Since(began))))
}

// watch starts the receiver and the agent, and waits until it has seen every probe pass.
func (d *demo) watch(ctx context.Context) error {
	var err error
	if d.receiver, err = newReceiver(filepath.Join(d.Keep, "received")); err != nil {
		return err
	}
	d.Cleanup(d.receiver.close)
	d.agent, err = startAgent(ctx, d.Agent, d.Keep, configuration{
		Mode: d.Mode, Shop: d.shop.Path(), Mail: d.mail.Path(), Hook: d.receiver.url(), Secret: d.receiver.secret, Dir: d.Keep})
	if err != nil {
		return err
	}
	d.Cleanup(d.agent.stop)
	if err := d.agent.ready(ctx, "lxc/web", "lxc/api", "lxc:mail/mail"); err != nil {
		return err
	}
	d.row("agent", fmt.Sprintf("pid %d, configuration %s", d.agent.pid(), d.agent.config))
	d.row("receiver", "a webhook of the demo's own at "+d.receiver.url())
	return nil
}

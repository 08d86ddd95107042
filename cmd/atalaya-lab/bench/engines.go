package bench

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/agent/sentinel"
	"atalaya/cmd/atalaya-lab/rig"
)

// A site is one real engine with containers of its own, as this part measures it.
type site struct {
	name    string
	lacks   []string // what of it is not on this machine
	spec    engine.Spec
	start   func(name string)          // by the engine's own tool
	id      func(name string) string   // by which the engine knows it
	init    func(name string) int      // on this machine
	bare    func(name string) []string // the command line of a bare start
	bareEnv []string
	away    func() error // nil: it is measured here; else by this program on another host, and its line printed
}

// engineLists is how often each engine is asked for its list, and engineKills how often one of its inits is killed by each
// contender.
const (
	engineLists = 20
	engineKills = 20
)

// counting counts the processes that an engine starts to read.
type counting struct {
	*hostexec.Host
	reads atomic.Int64
}

// Read implements engine.Runner.
func (c *counting) Read(ctx context.Context, cmd hostexec.Command) hostexec.Transcript {
	c.reads.Add(1)
	return c.Host.Read(ctx, cmd)
}

// engines measures every real engine that this machine has: what a list costs, how soon a killed init is noticed, and
// how soon its container runs again beside the engine's own bare start.
func (r *run) engines(ctx context.Context) error {
	r.printf("\nper engine, with %d containers: medians of %d lists and of %d kills each\n", fewer, engineLists, engineKills)
	r.printf("%12s%10s%16s%17s%8s%15s%18s%8s\n", "engine", "list ms", "processes/list", "detected ms p50", "p99", "bare start ms", "running again ms", "x bare")
	for _, e := range r.sites() { // a line each as it comes: some take minutes
		if len(r.Engines) > 0 && !slices.Contains(r.Engines, e.name) {
			continue
		}
		if err := rig.Play(r.Out, func(s *rig.Stage) error { return r.engineSite(ctx, e.raise(s)) }); err != nil {
			return err
		}
	}
	r.printf("aim: one process a list, and one long-lived event stream at most\n")
	return nil
}

func (r *run) engineSite(ctx context.Context, s *site) error {
	if len(s.lacks) > 0 {
		r.printf("%12s  not measured, for want of %v\n", s.name, s.lacks)
		return nil
	}
	if s.away != nil {
		return s.away()
	}
	host := &counting{Host: hostexec.New(hostexec.Options{Place: hostexec.PlaceDirect})}
	defer host.Close()
	i, err := engine.Open(s.spec, host, nil)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	for n := range fewer {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.start("web" + strconv.Itoa(n+1))
	}
	lists, processes, err := listCosts(ctx, i, host)
	if err != nil {
		return fmt.Errorf("list %s: %w", s.name, err)
	}
	kills, err := killsOf(ctx, i, s)
	if err != nil {
		return fmt.Errorf("kill in %s: %w", s.name, err)
	}
	r.printf("%12s%10.1f%16.1f%17.2f%8.2f%15.1f%18.1f%8.2f\n", s.name, lists.median(), processes,
		kills.detected.median(), kills.detected.at(0.99), kills.bare.median(), kills.again.median(), ratio(kills.again.median(), kills.bare.median()))
	return nil
}

// listCosts asks for lists as the agent's reader does, with nothing held by pidfds: the dearest kind. The first one, which
// learns everything, is left out.
func listCosts(ctx context.Context, i *engine.Instance, host *counting) (took sample, processes float64, err error) {
	for n := range engineLists + 1 {
		before, began := host.reads.Load(), time.Now()
		l, err := i.List(ctx, nil)
		if err != nil {
			return nil, 0, err
		}
		if len(l.Containers) != fewer {
			return nil, 0, fmt.Errorf("%d containers are listed, not %d", len(l.Containers), fewer)
		}
		if n > 0 {
			took = append(took, ms(time.Since(began)))
			processes += float64(host.reads.Load()-before) / engineLists
		}
	}
	return took, processes, nil
}

// engineKilled are the times after a kill, in milliseconds.
type engineKilled struct{ detected, bare, again sample }

// killsOf kills inits in turns: for a program that only waits by pidfd and runs the bare start, and for our own parts, the
// sentinel's notice, a fresh look, the engine's start, and the look that finds it running.
func killsOf(ctx context.Context, i *engine.Instance, s *site) (k engineKilled, err error) {
	kernel, err := sentinel.New(sentinel.Options{})
	if err != nil {
		return k, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _ = kernel.Run(ctx) }()
	for n := range 2 * engineKills {
		name := "web" + strconv.Itoa(n%fewer+1)
		id := s.id(name)
		if n%2 == 0 {
			took, err := bareKill(ctx, i, s, name, id)
			if err != nil {
				return k, fmt.Errorf("bare start of %q: %w", name, err)
			}
			k.bare = append(k.bare, took)
			continue
		}
		detected, again, err := ourKill(ctx, kernel, i, id)
		if err != nil {
			return k, fmt.Errorf("start of %q: %w", name, err)
		}
		k.detected, k.again = append(k.detected, detected), append(k.again, again)
	}
	return k, nil
}

func bareKill(ctx context.Context, i *engine.Instance, s *site, name, id string) (float64, error) {
	pid := s.init(name)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("hold init %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			break
		}
	}
	// Some engines need a moment to see that it is dead, and answer "already running" until then.
	for ctx.Err() == nil {
		argv := s.bare(name)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(cmd.Environ(), s.bareEnv...)
		out, err := cmd.CombinedOutput()
		if again, err := i.Look(ctx, id, health.Process{}); err == nil && again.State == health.Running && again.Init.PID != pid {
			return ms(time.Since(began)), nil
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("not running after a minute: %w: %.200s", err, out)
		}
	}
	return 0, ctx.Err()
}

func ourKill(ctx context.Context, kernel *sentinel.Sentinel, i *engine.Instance, id string) (detected, again float64, err error) {
	before, err := i.Look(ctx, id, health.Process{})
	if err != nil {
		return 0, 0, err
	}
	if before.Init, err = kernel.Watch(before.Ref, before.Init); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := syscall.Kill(before.Init.PID, syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	select {
	case <-kernel.Events():
		detected = ms(time.Since(began))
	case <-time.After(time.Minute):
		return 0, 0, fmt.Errorf("the end of init %d was not noticed", before.Init.PID)
	}
	for time.Since(began) < time.Minute {
		s, err := i.Look(ctx, id, before.Init)
		switch {
		case err != nil:
		case s.State == health.Running && s.Init != before.Init:
			return detected, ms(time.Since(began)), nil
		case s.State == health.Stopped:
			i.Do(ctx, health.VerbStart, id, 0)
			before.Init = health.Process{} // from here on it is asked anew
		}
	}
	return 0, 0, fmt.Errorf("it does not run after a minute")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

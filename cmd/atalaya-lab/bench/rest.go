package bench

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"atalaya/cmd/atalaya-lab/floor"
)

// cost is what a program took in the measured windows.
type cost struct {
	who      string
	cpu      sample // seconds per minute, all waited children included
	monitors sample // the same of LXC's monitors, which answer lists
	rss      sample // MiB at the end of each window
	served   sample // probes that arrived, per window; only of the probes' part
}

// settle is how long a program runs before the first window, its start-up behind it.
const settle = 15 * time.Second

// watched is what measure needs to know of the program and of its surroundings.
type watched struct {
	who      string
	pid      int
	monitors []int
	served   func() int64
}

// measure takes the windows of one program.
func (r *run) measure(ctx context.Context, p watched) (cost, error) {
	c := cost{who: p.who}
	if err := pause(ctx, settle); err != nil {
		return c, err
	}
	minutes := r.Window.Minutes()
	for range r.Windows {
		cpu, err := cpuOf(p.pid)
		if err != nil {
			return c, err
		}
		monitors, served := monitorsCPU(p.monitors), p.count()
		if err := pause(ctx, r.Window); err != nil {
			return c, err
		}
		after, err := cpuOf(p.pid)
		if err != nil {
			return c, err
		}
		rss, err := rssOf(p.pid)
		if err != nil {
			return c, err
		}
		c.cpu = append(c.cpu, (after-cpu).Seconds()/minutes)
		c.monitors = append(c.monitors, (monitorsCPU(p.monitors)-monitors).Seconds()/minutes)
		c.rss = append(c.rss, float64(rss)/(1<<20))
		c.served = append(c.served, float64(p.count()-served))
	}
	return c, nil
}

func (p watched) count() int64 {
	if p.served == nil {
		return 0
	}
	return p.served()
}

// rest measures both programs, one after the other, with nothing happening but polls
// and one HTTP probe per container every 10 s.
func (r *run) rest(ctx context.Context) error {
	for _, n := range []int{fewer, more} {
		if err := r.containers(ctx, n); err != nil {
			return err
		}
		floorCost, err := r.restFloor(ctx)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		agentCost, err := r.restAgent(ctx)
		if err != nil {
			return fmt.Errorf("atalaya: %w", err)
		}
		r.printRest(n, floorCost, agentCost)
	}
	return nil
}

func (r *run) restFloor(ctx context.Context) (cost, error) {
	dir, err := r.folder()
	if err != nil {
		return cost{}, err
	}
	var urls []string
	for _, name := range r.lxc.Names() {
		urls = append(urls, r.lxc.URL(name))
	}
	f, err := startFloor(ctx, r.Lab, dir, floor.Options{Path: r.lxc.Path(), URLs: urls, Every: probeEvery})
	if err != nil {
		return cost{}, err
	}
	c, err := r.measure(ctx, watched{who: "floor", pid: f.pid(), monitors: r.monitors()})
	return c, firstError(err, f.stop())
}

func (r *run) restAgent(ctx context.Context) (cost, error) {
	dir, err := r.folder()
	if err != nil {
		return cost{}, err
	}
	a, err := startAgent(ctx, r.Agent, dir, setup{engine: lxcEngine(r.lxc.Path()), before: 300 * time.Millisecond,
		probe: "{name: web, kind: http, every: 10s}", running: len(r.lxc.Names())})
	if err != nil {
		return cost{}, err
	}
	c, err := r.measure(ctx, watched{who: "atalaya", pid: a.pid(), monitors: r.monitors()})
	return c, firstError(err, a.stop())
}

func (r *run) monitors() (pids []int) {
	for _, name := range r.lxc.Names() {
		pids = append(pids, r.lxc.MonitorPID(name))
	}
	return pids
}

func (r *run) printRest(n int, costs ...cost) {
	r.printf("\nat rest, %d containers, one HTTP probe each every 10 s: medians of %d windows of %s\n", n, r.Windows, r.Window)
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "who\tCPU s/min\tmin\tmax\tx floor\tRSS MiB\tLXC monitors s/min\t")
	for _, c := range costs {
		low, high := c.cpu.extremes()
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%.2f\t%.1f\t%.3f\t\n", c.who, c.cpu.median(), low, high,
			ratio(c.cpu.median(), costs[0].cpu.median()), c.rss.median(), c.monitors.median())
	}
	_ = w.Flush()
	r.printf("aims: CPU at most the floor's; RSS under 32 MiB\n\n")
}

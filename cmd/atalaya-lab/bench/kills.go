package bench

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"atalaya/cmd/atalaya-lab/floor"
	"atalaya/cmd/atalaya-lab/rig"
)

// kill is one killed init, by the benchmark's own clock.
type kill struct {
	name     string
	at, back time.Time // the signal, and the first HTTP 200 after it
	detected time.Time // by the contender's own clock; zero: it never said
}

// contender is one of those who bring the containers back.
type contender struct {
	name  string
	block func(ctx context.Context, names []string) ([]kill, error)
	kills []kill
}

const blockSize = 20 // kills of one contender before the next one's turn

// kills lets the contenders take turns until each has had its kills.
func (r *run) kills(ctx context.Context) error {
	if err := r.containers(ctx, fewer); err != nil {
		return err
	}
	contenders := []*contender{
		{name: "floor", block: r.floorBlock},
		{name: "atalaya, no evidence awaited", block: r.agentBlock(0)},
		{name: "atalaya, with evidence", block: r.agentBlock(300 * time.Millisecond)},
	}
	names := r.lxc.Names()
	for done := 0; done < r.Kills; done += blockSize {
		for i, c := range contenders {
			block := make([]string, min(blockSize, r.Kills-done))
			for k := range block {
				block[k] = names[(done+k+i*7)%len(names)]
			}
			kills, err := c.block(ctx, block)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.kills = append(c.kills, kills...)
		}
		r.printf("kills: %d of %d by each\n", min(done+blockSize, r.Kills), r.Kills)
	}
	r.printKills(contenders)
	return nil
}

func (r *run) floorBlock(ctx context.Context, names []string) ([]kill, error) {
	dir, err := r.folder()
	if err != nil {
		return nil, err
	}
	f, err := startFloor(ctx, r.Lab, dir, floor.Options{Path: r.lxc.Path(), Every: probeEvery})
	if err != nil {
		return nil, err
	}
	kills, err := r.killEach(ctx, names, func(k *kill) error {
		select {
		case e := <-f.events: // it has said so when lxc-start has answered
			if e.Name == k.name {
				k.detected = e.Detected
			}
			return nil
		case <-time.After(30 * time.Second):
			return fmt.Errorf("the floor never told of the death of %q", k.name)
		}
	})
	return kills, firstError(err, f.stop())
}

// agentBlock is the agent with a fresh state, so that no budget of an earlier block counts.
func (r *run) agentBlock(before time.Duration) func(context.Context, []string) ([]kill, error) {
	return func(ctx context.Context, names []string) ([]kill, error) {
		dir, err := r.folder()
		if err != nil {
			return nil, err
		}
		a, err := startAgent(ctx, r.Agent, dir, setup{engine: lxcEngine(r.lxc.Path()), before: before, running: len(r.lxc.Names())})
		if err != nil {
			return nil, err
		}
		// What it does beside and after a start must not fall into the next kill.
		kills, err := r.killEach(ctx, names, func(*kill) error { return pause(ctx, time.Second) })
		if err == nil {
			err = a.note(kills)
		}
		return kills, firstError(err, a.stop())
	}
}

// note writes the moments the agent noticed into the kills.
func (a *agent) note(kills []kill) error {
	incidents, err := a.incidents()
	if err != nil {
		return err
	}
	for i := range kills {
		k := &kills[i]
		for _, inc := range incidents {
			if inc.Name == k.name && inc.Opened.After(k.at.Add(-time.Second)) && inc.Opened.Before(k.back.Add(time.Second)) {
				k.detected = inc.Opened
			}
		}
	}
	return nil
}

// killEach kills one after another, each when the one before serves again.
func (r *run) killEach(ctx context.Context, names []string, after func(*kill) error) ([]kill, error) {
	var kills []kill
	for _, name := range names {
		k := kill{name: name}
		// A connection just before keeps the host's neighbour entry: without one, the
		// host would ask for the address while the container is down, and again only
		// after a second, which is not the contender's doing.
		if _, err := rig.WaitHTTP(ctx, r.lxc.URL(name), time.Minute); err != nil {
			return kills, err
		}
		death := r.lxc.HoldInit(name)
		_, k.at = r.lxc.Kill9(name)
		if err := death.Wait(10 * time.Second); err != nil {
			return kills, err
		}
		var err error
		if k.back, err = rig.WaitHTTP(ctx, r.lxc.URL(name), time.Minute); err != nil {
			return kills, err
		}
		if err := after(&k); err != nil {
			return kills, err
		}
		kills = append(kills, k)
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return kills, err
		}
	}
	return kills, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) printKills(contenders []*contender) {
	r.printf("\nkill -9 of one init among %d running containers, ms after the kill\n", fewer)
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "who\tkills\tdetected p50\tp99\tmin\tmax\tHTTP 200 p50\tp99\tmin\tmax\tx floor\t")
	var floorBack float64
	for i, c := range contenders {
		var detected, back sample
		for _, k := range c.kills {
			if !k.detected.IsZero() {
				detected = append(detected, millis(k.detected.Sub(k.at)))
			}
			back = append(back, millis(k.back.Sub(k.at)))
		}
		if i == 0 {
			floorBack = back.median()
		}
		dl, dh := detected.extremes()
		bl, bh := back.extremes()
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t\n", c.name, len(c.kills),
			detected.median(), detected.at(0.99), dl, dh, back.median(), back.at(0.99), bl, bh, ratio(back.median(), floorBack))
		if len(detected) != len(c.kills) {
			fmt.Fprintf(w, "\t(%d never said)\t\n", len(c.kills)-len(detected))
		}
	}
	_ = w.Flush()
	r.printf("aims: detected p99 at most the floor's + 5 ms; HTTP 200 p50 at most 1.15 x the floor, with evidence at most 45 ms more\n\n")
}
